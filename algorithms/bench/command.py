"""`neuromas bench`: what this machine does with the engine, in a table and as JSON."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from neuromas_env.errors import UnknownNameError, UsageError

PARTS = ("environment", "sampling", "training", "peers", "learning")
PACKAGES = ("neuromas", "torch", "transformers", "peft", "trl", "comlrl", "vllm")


def bench(
    parts: Annotated[str, arg(metavar="NAME,NAME")] = ",".join(PARTS),
    models: Annotated[str, arg(metavar="NAME,NAME")] = "t1,t5",
    nodes: Annotated[str, arg(metavar="N,N")] = "1,2",
    questions: int = 64,
    samples: int = 8,
    prompt: int = 48,
    new: int = 16,
    steps: int = 5,
    seeds: int = 3,
    threads: int = 1,
    device: str = "auto",
    dtype: str = "float32",
    json: Annotated[Path | None, arg(metavar="FILE")] = None,
) -> None:
    """Measure this machine: steps of environments, sampling, training, and both beside other trainers.

    Sampling and training are told as shares of a floor: the time of the matrix products that the same work needs, and
    nothing else, by the product that is taken and by torch's own. TRL's GRPOTrainer and CoMLRL's MAGRPO take part where
    they are installed, each at its best settings, on the same model, prompts, samples and lengths; steps of all take
    turns, each in a process of its own.

    Args:
        parts: What is measured: environment, sampling, training, peers, learning (rewards beside TRL's).
        models: Random models by their shape: t1 (0.85M parameters), t5 (4.2M), m30 (29M), qwen3-0.6b.
        nodes: Numbers of nodes that are trained beside peers.
        questions: Prompts in a step.
        samples: Messages of each prompt and node.
        prompt: Tokens of a prompt.
        new: Tokens of a message, at most.
        steps: Steps that are timed, after one of warm-up; medians are told.
        seeds: Of the learning curves.
        threads: CPU threads that every trainer has; ours and TRL's also take a process for each, the questions divided.
        device: Where the models run: cpu, cuda, or auto.
        dtype: The number format of the models: float32, or bfloat16 on a GPU.
        json: Write all figures to this file.
    """
    import torch
    from rich.console import Console

    from ..files import write_json
    from ..resolve import resolve_device

    chosen = parts.split(",")
    for name in chosen:
        if name not in PARTS:
            raise UnknownNameError("part of the benchmark", name, PARTS)
    if not all(each.isdecimal() and int(each) >= 1 for each in nodes.split(",")):
        raise UsageError(f"--nodes {nodes!r}: whole numbers from 1, with commas between")
    for name, value in (("questions", questions), ("samples", samples), ("prompt", prompt), ("new", new),
                        ("steps", steps), ("seeds", seeds), ("threads", threads)):  # fmt: skip
        if value < 1:
            raise UsageError(f"--{name} {value}: at least 1 is needed")
    if questions % threads:
        raise UsageError(f"--threads {threads}: {questions} questions do not divide among so many processes")
    from .work import Work

    torch.set_num_threads(threads)
    place, console = resolve_device(device), Console()
    works = [
        Work(model, int(count), questions, samples, prompt, new, place, dtype)
        for model in models.split(",")
        for count in nodes.split(",")
    ]
    found: dict[str, Any] = {"machine": machine(place, dtype, threads)}
    console.print(", ".join(f"{name} {value}" for name, value in found["machine"].items()), highlight=False)
    measures = {"environment": environment, "sampling": sampling, "training": training, "peers": peers,
                "learning": learning}  # fmt: skip
    for name in PARTS:
        if name in chosen:
            with console.status(name):
                found[name] = measures[name](works, steps, seeds, threads)
            show(console, name, found[name])
            if json:
                write_json(json, found)  # after every part, so that an interrupted benchmark has told something


def machine(device: str, dtype: str, threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from .floors import bandwidth, products_per_second

    told: dict[str, Any] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            told[package] = version(package)
        except PackageNotFoundError:
            continue
    told["device"] = torch.cuda.get_device_name() if device.startswith("cuda") else f"CPU ({processor()})"
    told["threads"] = threads
    told["GB/s of memory"] = round(bandwidth(device) / 1e9, 1)
    told[f"TFLOP/s of {dtype} products"] = round(products_per_second(device, dtype) / 1e12, 3)
    return told


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def environment(works: Sequence[Any], steps: int, seeds: int, threads: int) -> list[dict[str, Any]]:
    """Messages a second that the environment takes from a policy which costs nothing."""
    from neuromas_env.episodes import run_episodes
    from neuromas_env.node import Message

    from .floors import seconds

    class Silent:
        def act(self, requests: Sequence[Any]) -> list[Message]:
            return [Message("= 1", finish_reason="scripted") for _ in requests]

    rows = []
    for topology in ("1-1-1", "2-2-2-1"):
        turns = len(run_episodes("chain", topology, Silent(), range(256)).turns)
        taken = seconds(partial(run_episodes, "chain", topology, Silent(), range(256)), repeats=steps)
        rows.append({"task": "chain", "topology": topology, "messages/s": round(turns / taken)})
    return rows


def sampling(works: Sequence[Any], steps: int, seeds: int, threads: int) -> list[dict[str, Any]]:
    from .floors import sampling_floor
    from .work import Engine

    return [
        _beside_floor(work, Engine(work).sample, sampling_floor, work.messages * work.new, "tokens/s", steps)
        for work in works
    ]


def training(works: Sequence[Any], steps: int, seeds: int, threads: int) -> list[dict[str, Any]]:
    from .floors import training_floor
    from .work import Engine

    rows = []
    for work in works:
        engine = Engine(work)
        batch = engine.sample()
        rows.append(
            _beside_floor(work, partial(engine.learn, *batch), training_floor, work.messages, "samples/s", steps)
        )
    return rows


def _beside_floor(work: Any, run: Any, floor: Any, count: int, unit: str, steps: int) -> dict[str, Any]:
    """Rates of ours and of two floors, taken in turns, and the medians of their ratios.

    The floor of torch's own product is what other code is measured by; ours may take a faster one (products.py), and
    then the lower floor is that one's.
    """
    from statistics import median

    from ..products import linear
    from .floors import plain, seconds

    turns = [(seconds(run, work.device, 1), floor(work, linear), floor(work, plain)) for _ in range(steps)]
    return {
        "model": work.shape,
        "nodes": work.nodes,
        "rows": work.messages,
        unit: round(count / median(own for own, _, _ in turns)),
        f"floor {unit}": round(count / median(least for _, least, _ in turns)),
        "share": round(median(least / own for own, least, _ in turns), 3),
        f"torch's floor {unit}": round(count / median(other for _, _, other in turns)),
        "share of torch's": round(median(other / own for own, _, other in turns), 3),
    }


def peers(works: Sequence[Any], steps: int, seeds: int, threads: int) -> list[dict[str, Any]]:
    """Ours, TRL for one node, CoMLRL for several, and the loop over peft adapters."""
    from .contest import ContestError, alternate, ratio
    from .contestants import comlrl, ours, peft_loop, trl

    rows = []
    for work in works:
        ways = dict.fromkeys((threads, 1)) if work.device == "cpu" else (1,)
        contestants = [*(ours(work, processes) for processes in ways), peft_loop(work)]
        if work.nodes == 1 and importlib.util.find_spec("trl"):
            contestants += [trl(work, processes) for processes in ways]
        if work.nodes > 1 and importlib.util.find_spec("comlrl"):
            contestants.append(comlrl(work))
        try:
            alternate(contestants, steps, threads)
        except ContestError as error:
            rows.append({"model": work.shape, "nodes": work.nodes, "trainer": str(error)})
            continue
        rows += [
            {
                "model": work.shape,
                "nodes": work.nodes,
                "trainer": each.name,
                "messages/s": round(each.per_second, 1),
                "ours is faster by": round(ratio(contestants[0], each), 2),
                "peak MB": round(each.memory / 1e6),
            }
            for each in contestants
        ]
    return rows


def learning(works: Sequence[Any], steps: int, seeds: int, threads: int) -> list[dict[str, Any]]:
    """Mean rewards of each fifth of a short training, ours and TRL's, with the spread over seeds."""
    import numpy as np

    from .learning import curves
    from .work import Work

    if not importlib.util.find_spec("trl"):
        return [{"trainer": "TRL is not installed (pip install trl): nothing to compare with"}]
    found = curves(Work("t1", questions=16, spread=0.06), 40, seeds)
    rows = []
    for name, values in found["fifths"].items():
        mean, low, high = np.mean(values, axis=0), np.min(values, axis=0), np.max(values, axis=0)
        row: dict[str, Any] = {"trainer": name}
        for part in range(5):
            samples = (part + 1) * 8 * found["samples_a_step"]
            row[f"to {samples} samples"] = f"{mean[part]:.3f} ({low[part]:.3f}-{high[part]:.3f})"
        rows.append(row | {"curves": found["curves"][name]})
    return rows


def show(console: Any, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """One table; lists are for the file only."""
    from rich.table import Table

    columns = dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, list))
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*(_written(row.get(name, "")) for name in columns))
    console.print(table)


def _written(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
