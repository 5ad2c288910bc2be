"""Deepening without training: a trained network whose last hidden node is cloned, asked longer questions.

The three-node networks of the experiment on all methods are deepened to more hidden layers, each new node a clone of
the last hidden one, all open at once (`grow(..., init="clone", opening="immediate")`), and asked questions of every
length. Beside them stand networks of the same depth that were never trained, because more calls help by themselves, and
ones whose new layers are fresh: the backbone at work between trained nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from neuromas_env.episodes import run_episodes

from .methods import NETWORK, trained
from .plan import Bench, Compared, TaskPlan
from .report import Section, table

if TYPE_CHECKING:
    from algorithms.network import Network

DEPTHS = (2, 3, 4, 5, 6, 8)
"""Hidden layers; the trained networks have 2."""
QUESTIONS = 200
"""Asked of each length, at most."""
LENGTHS = {"chain": (1, 2, 3, 4, 5, 6), "navigate": (2, 3, 5, 7, 9)}
"""Operations, or instructions, of the questions; the tasks that grade them one by one."""
KINDS = ("clone", "fresh", "untrained")


def run(bench: Bench) -> Section:
    section = Section("deepening", "Deepening without training")
    depths = DEPTHS[::2] if bench.plan.quick else DEPTHS
    parts, section.data["rows"] = [], []
    for task in bench.plan.tasks:
        lengths = LENGTHS.get(task.name)
        if lengths is None:
            continue
        _, found = trained(bench, task, [NETWORK])
        for kind, depth in product(KINDS, depths):
            seeds = bench.plan.seeds[:1] if kind == "untrained" else bench.plan.seeds
            accuracies = [measured(bench, found, task, kind, depth, lengths, seed) for seed in seeds]
            section.data["rows"] += [
                {"task": task.label, "kind": kind, "layers": depth, "length": length, "seeds": list(values)}
                for length, values in zip(lengths, zip(*accuracies, strict=True), strict=True)
            ]
        parts.append(describe(task, [row for row in section.data["rows"] if row["task"] == task.label], lengths))
    section.text = "\n\n".join(parts) or "None of the tasks grades the length of its questions."
    return section


def measured(
    bench: Bench, found: Compared, task: TaskPlan, kind: str, depth: int, lengths: Sequence[int], seed: int
) -> list[float]:
    """The accuracy of one network on questions of each length, measured once."""
    key = {
        "kind": kind,
        "depth": depth,
        "lengths": list(lengths),
        "questions": min(QUESTIONS, bench.plan.questions),
        "run": None if kind == "untrained" else found.runs(NETWORK, seed)[0].folder.name,
        "weights": bench.backbone.weight_hash(),
    }

    def measure() -> list[float]:
        deepened = network(bench, found, kind, depth, seed)
        return [accuracy(bench, deepened, task, length) for length in lengths]

    values: list[float] = bench.kept(f"deepening/{task.folder}", f"{kind} {depth} layers, seed {seed}", key, measure)
    return values


def network(bench: Bench, found: Compared, kind: str, depth: int, seed: int) -> Network:
    from algorithms.growth import grow
    from algorithms.network import Network

    topology = "-".join(["1"] * (depth + 1))
    if kind == "untrained":
        return Network.create(topology, bench.backbone, rank=0)
    parent: Network = found.runs(NETWORK, seed)[0].network("best", bench.backbone)
    if depth == 2:
        return parent
    return grow(parent, topology, init="clone" if kind == "clone" else "fresh", opening="immediate", seed=seed)


def accuracy(bench: Bench, network: Network, task: TaskPlan, length: int) -> float:
    """The share of test questions of one length that it gets right, greedy."""
    from algorithms.validation import GreedyPolicy

    from ..commands import load_task

    problem = load_task(task.name, None, str(length), task.options, False)
    questions = bench.asked(problem, min(QUESTIONS, bench.plan.questions))
    batch = run_episodes(problem, network.topology, GreedyPolicy(network, task.message_tokens), questions)
    return batch.accuracy


def describe(task: TaskPlan, rows: list[dict[str, Any]], lengths: tuple[int, ...]) -> str:
    parts = [f"### {task.label}\n\nAccuracy in per cent, mean over seeds, by the length of the questions."]
    titles = {
        "clone": "the last hidden node cloned",
        "fresh": "fresh nodes, untrained, before the output",
        "untrained": "no node trained",
    }
    for kind in KINDS:
        own = [row for row in rows if row["kind"] == kind]
        lines = []
        for depth in sorted({row["layers"] for row in own}):
            values = {row["length"]: 100 * float(np.mean(row["seeds"])) for row in own if row["layers"] == depth}
            lines.append([f"{depth + 1}", *(f"{values[length]:.1f}" for length in lengths)])
        parts.append(f"*{titles[kind]}*\n\n" + table(["calls", *map(str, lengths)], lines))
    return "\n\n".join(parts)
