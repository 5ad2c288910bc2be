"""Training for comparisons: run folders that are found again, resumed, and trained side by side."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import re
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.registry import make_task

from .base import Context, Method, System
from .progress import TrainingBars

if TYPE_CHECKING:
    from algorithms import TrainConfig
    from algorithms.backbone import Backbone
    from algorithms.run import Run

# What a comparison decides for all of its methods, and what is no single value.
NOT_OPTIONS = frozenset(
    {"task", "data", "difficulty", "topology", "backbone", "seed", "out", "device", "dtype", "threads", "options",
     "instructions", "betas", "tensorboard", "keep_checkpoints", "transcript_episodes"}
)  # fmt: skip


def option_types() -> dict[str, Any]:
    """The training options that a method's name or `--train` may set, and their types."""
    from algorithms.config import TrainConfig

    return {name: kind for name, kind in get_type_hints(TrainConfig).items() if name not in NOT_OPTIONS}


def with_options(config: TrainConfig, options: Mapping[str, str]) -> TrainConfig:
    """`config` with options as typed: its own fields, and those of its algorithm.

    Raises UnknownNameError for a name that neither knows, UsageError for a value that cannot be read.
    """
    from algorithms.algorithm import algorithm_class, make_algorithm

    kinds = option_types()
    algorithm = options.get("algorithm", config.algorithm)
    own = [entry.name for entry in dataclasses.fields(algorithm_class(algorithm).Config)]
    for name in options:
        if name not in kinds and name not in own:
            raise UnknownNameError("training option", name, [*kinds, *own])
    changes = {name: _read(name, text, kinds[name]) for name, text in options.items() if name in kinds}
    kept = config.options if algorithm == config.algorithm else {}
    algorithm_options = dict(kept) | {name: text for name, text in options.items() if name not in kinds}
    make_algorithm(algorithm, algorithm_options)
    return dataclasses.replace(config, **changes, options=algorithm_options)


def _read(name: str, text: str, kind: Any) -> Any:
    """`text` as `kind`: bool, int, float, str, one of them or None, or a Literal of strings."""
    choices = get_args(kind)
    if choices and type(None) not in choices:
        if text in choices:
            return text
        raise UsageError(f"{name} is one of {', '.join(choices)}, not {text!r}")
    if choices:
        kind = next(choice for choice in choices if choice is not type(None))
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        accepted = "true or false" if kind is bool else {"int": "a whole number", "float": "a number"}[kind.__name__]
        raise UsageError(f"{name} is {accepted}, not {text!r}") from None


class TrainedMethod(Method):
    """A method that trains through `algorithms.train` and is judged as its best-validation checkpoint."""

    trained = True

    def check_options(self) -> None:
        from algorithms.config import TrainConfig

        with_options(TrainConfig(task="chain"), self.spec.options)

    @abstractmethod
    def own_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        """How it trains before the options in its name, given `Context.training` and `Context.compared`."""

    def training_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        return with_options(self.own_config(training, compared), self.spec.options)

    def run_config(self, context: Context) -> TrainConfig:
        """Its configuration with a run folder under `context.out`; equal settings give the same folder."""
        from algorithms.algorithm import make_algorithm
        from algorithms.config import FREE_TO_CHANGE

        config = self.training_config(context.training, context.compared)
        settings = {name: value for name, value in config.to_json().items() if name not in FREE_TO_CHANGE}
        settings["options"] = dataclasses.asdict(make_algorithm(config.algorithm, config.options).config)
        task = make_task(config.task, data=config.data, difficulty=config.difficulty)
        fingerprint = digest([settings, task.id, context.weights])
        name = slug(f"{self.spec.name}-{self.spec.argument}" if self.spec.argument else self.spec.name)
        folder = context.out / "runs" / f"{name}-seed{config.seed}-{fingerprint}"
        return dataclasses.replace(config, out=str(folder))

    def identity(self, context: Context) -> Mapping[str, Any]:
        return {"run": self.run_config(context).folder.name}

    def prepare(self, context: Context) -> System:
        return trained_system(ensure_trained(self.run_config(context), context.backbone), context.backbone)


def slug(text: str) -> str:
    """`text` as part of a file name."""
    return re.sub(r"[^\w.@-]+", "-", text).strip("-")


def digest(value: Any) -> str:
    """Eight hexadecimal digits that differ where JSON values do."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def trained_system(run: Run, backbone: Backbone) -> System:
    """The best-validation network of a run, greedy, and what its training cost."""
    from algorithms.validation import GreedyPolicy

    network = run.network("best", backbone)
    config = run.config
    return System(
        network.topology,
        GreedyPolicy(network, config.max_tokens),
        config.instructions,
        network.trainable_parameters,
        training_cost(run),
    )


def training_cost(run: Run) -> dict[str, Any]:
    """The updates, sampled tokens and seconds of a run's training, as columns of a results row."""
    metrics, timings = run.metrics, run.timings
    return {
        "training_updates": max((row["update"] for row in metrics), default=0),
        "training_sampled_tokens": max((row.get("sampled_tokens", 0) for row in metrics), default=0),
        "training_seconds": round(sum(v for row in timings for name, v in row.items() if name.endswith("_seconds")), 1),
        "best_update": run.checkpoint("best").update,
    }


def is_finished(config: TrainConfig) -> bool:
    from algorithms.run import Run, is_run

    return is_run(config.folder) and Run(config.folder).finished


def ensure_trained(config: TrainConfig, backbone: Backbone | None = None, *, progress: bool = True) -> Run:
    """The finished run of `config`: trained now, gone on with, or found in its folder.

    `backbone` spares loading the one that `config` names.
    """
    from algorithms import train
    from algorithms.run import Run

    if is_finished(config):
        return Run(config.folder)
    return train(config, resume=True, backbone=backbone, progress=progress)


def train_all(configs: Sequence[TrainConfig], workers: int, backbone: Backbone | None = None) -> None:
    """Train every unfinished run, `workers` at a time; each worker is a process of its own with one bar.

    One worker trains in this process, on `backbone` where it is given. An interrupt or an error ends all workers; their
    checkpoints stay, and the next call goes on from them. Raises TrainingError where a worker failed.
    """
    waiting = [config for config in configs if not is_finished(config)]
    if min(workers, len(waiting)) <= 1:
        for config in waiting:
            ensure_trained(config, backbone)
        return
    context = multiprocessing.get_context("spawn")
    active: list[tuple[TrainConfig, Any, Connection]] = []
    with TrainingBars(waiting) as bars:
        try:
            while waiting or active:
                while waiting and len(active) < workers:
                    config = waiting.pop(0)
                    receiver, sender = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(config.to_json(), sender, os.getpid()), daemon=True)
                    process.start()
                    sender.close()
                    active.append((config, process, receiver))
                time.sleep(0.25)
                bars.update()
                for entry in [entry for entry in active if not entry[1].is_alive()]:
                    active.remove(entry)
                    _check_end(*entry)
        finally:
            for _, process, _ in active:
                process.terminate()
            for _, process, _ in active:
                process.join()


def _check_end(config: TrainConfig, process: Any, receiver: Connection) -> None:
    from algorithms.trainer import TrainingError

    try:
        kind, text = receiver.recv()
    except EOFError:
        kind, text = "error", f"its process ended with exit code {process.exitcode}"
    if kind == "usage":
        raise UsageError(text)
    if kind != "done":
        raise TrainingError(f"training in {config.folder} failed: {text}")


def _work(config_json: Mapping[str, Any], sender: Connection, parent: int) -> None:
    """The body of a worker process: train, and report how it ended."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from algorithms.config import TrainConfig

    try:
        ensure_trained(TrainConfig.from_json(config_json), progress=False)
        sender.send(("done", ""))
    except UsageError as error:
        sender.send(("usage", str(error)))
    except KeyboardInterrupt:
        sender.send(("error", "interrupted"))
    except Exception as error:
        import traceback

        sender.send(("error", f"{error!r}\n{traceback.format_exc()}"))


def _end_with(parent: int) -> None:
    """End this process soon after its parent has gone, even where the parent was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
