"""Training a network: the loop from questions to a folder of checkpoints.

    run = train(TrainConfig("chain", topology="1-1-1", out="runs/first"))
    network = run.network()                                   # the best by validation

One update: Q questions, G episodes of each, all nodes sampled at temperature 1 (rollout.py); advantages from the
shared terminal rewards (reinforce.py, rloo.py, grpo.py); a gradient step of all adapters, or as many as `epochs` says
(learner.py). Around it: a learning-rate schedule, a greedy validation now and then, a row of metrics, an atomic
checkpoint. With a curriculum the questions are those of the level it has reached, and each update's mean reward is the
success that it goes by. On a CPU the run is a function of its configuration: a killed and resumed run writes the
metrics of an uninterrupted one, byte for byte.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuromas_env.budget import Meter
from neuromas_env.errors import NeuromasError, TopologyError, UsageError
from neuromas_env.task import Task, split_size
from neuromas_env.topology import Topology
from neuromas_env.transcripts import TranscriptWriter

from .algorithm import Algorithm, make_algorithm
from .backbone import Backbone, load_backbone
from .checkpoint import TrainState, clean, save_checkpoint
from .config import TrainConfig
from .files import exclusive
from .interrupt import StopRequest
from .learner import NotFiniteError, learn
from .metrics import MetricsLog, Row
from .network import Network
from .optimizer import StackedAdam
from .progress import Reporter
from .rollout import node_statistics, roll_out
from .run import Run, check_free, create_run, reopen_run
from .schedule import learning_rate
from .seeds import derive, question_indices
from .validation import validate, validation_size


class TrainingError(NeuromasError):
    """Training cannot go on. Everything before the update that failed is in the run folder."""


class TrainingStopped(KeyboardInterrupt):
    """Training was asked to stop; the run folder holds a checkpoint of the last finished update."""


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    task: Task | None = None,
    backbone: Backbone | None = None,
    network: Network | None = None,
    progress: bool = False,
    on_update: Callable[[Row], None] | None = None,
) -> Run:
    """Train the network that `config` describes and give back its run folder.

    `resume` goes on with the run in the folder, and starts it where there is none. `task` (an object instead of a
    name), `backbone` (loaded before) and `network` (trained in place, instead of a fresh one) replace what `config`
    would make. `on_update` receives every row of metrics. Everything is checked before the folder is touched.

    Raises UsageError for what cannot be used, TrainingError where a loss is not finite, TrainingStopped on Ctrl-C.
    """
    folder = config.folder
    going_on = check_free(folder, resume)
    algorithm = make_algorithm(config.algorithm, config.options)
    if task is not None and config.curriculum is not None:
        raise UsageError("a curriculum makes its own tasks: give the name of a (registered) task, and no Task object")
    task = config.make_task() if task is None else task
    levels = config.make_levels()
    config = replace(config, task=task.name)
    for each in (task, *levels.values()):
        _check_split(each)
        each.check_scoring()
    algorithm.prepare(
        samples=config.samples, epochs=config.epochs, max_tokens=_longest_message(config, task, *levels.values())
    )
    topology = resolve_topology(config.topology) if network is None else network.topology
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        if network is not None:
            backbone = network.backbone
        elif backbone is None:
            backbone = load_backbone(config.backbone, dtype=config.dtype, device=resolve_device(config.device))
        if network is None:
            network = Network.create(topology, backbone, rank=config.rank, alpha=config.alpha, seed=config.seed)
        record = _record(config, task, levels, network, algorithm)
        run = reopen_run(folder, record) if going_on else create_run(folder, record, topology.to_json())
        with exclusive(folder):
            clean(folder)
            return Trainer(config, task, levels, network, algorithm, run, progress, on_update).train()
    finally:
        torch.set_num_threads(threads)


class Trainer:
    """The loop of one run; `state` says which updates are done and is what a checkpoint holds."""

    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        levels: Mapping[str, Task],
        network: Network,
        algorithm: Algorithm,
        run: Run,
        progress: bool,
        on_update: Callable[[Row], None] | None,
    ) -> None:
        self.config, self.task, self.levels, self.algorithm, self.run = config, task, levels, algorithm, run
        self.progress, self.on_update = progress, on_update
        self.network = network
        self.state = TrainState(update=-1)
        curriculum = config.make_curriculum()
        self.curriculum = curriculum.start() if curriculum else None
        saved = run.latest
        if saved is not None:
            self.state = saved.state()
            self.network = saved.network(network.backbone)
            algorithm.restore(self.state.algorithm)
            self.curriculum = curriculum.resume(self.state.curriculum) if curriculum else None
        if self.network.adapters is None:
            raise UsageError("a network without adapters (rank 0) has nothing to train")
        self.optimizer = StackedAdam(self.network.adapters, config.learning_rate, betas=config.betas)
        if saved is not None:
            saved.load_optimizer(self.optimizer)
        self.validation_size = validation_size(task, config.validation_questions)

    def train(self) -> Run:
        config, state = self.config, self.state
        if state.update >= config.updates:
            return self.run
        log = MetricsLog(self.run.folder, state.update, tensorboard=config.tensorboard)
        title = f"{self.task.name} {self.network.topology}"
        reporter = Reporter(title, config.updates, max(state.update, 0), enabled=self.progress)
        try:
            with StopRequest() as stop, reporter:
                started, first = time.perf_counter(), state.update
                while state.update < config.updates and not stop.asked:
                    row, timings = self._untrained() if state.update < 0 else self._update(state.update + 1)
                    log.append(row, timings)
                    if self._checkpoint_due():
                        self._save(log)
                    spent = (time.perf_counter() - started) / (state.update - first)
                    reporter.row(row, spent * (config.updates - state.update))
                    if self.on_update is not None:
                        self.on_update(row)
                self._save(log)
        except NotFiniteError as error:
            self._save(log)
            raise TrainingError(
                f"update {state.update + 1}: {error}. Training stopped; everything up to update {state.update} is kept "
                f"in {self.run.folder}. A lower --learning-rate or a longer --warmup may help"
            ) from None
        finally:
            log.close()
        if state.update < config.updates:
            raise TrainingStopped(f"stopped after update {state.update}; add --resume to go on ({self.run.folder})")
        return self.run

    # ------------------------------------------------------------------ the parts of an update

    def _untrained(self) -> tuple[Row, dict[str, float]]:
        """Update 0: the network before training, judged."""
        started = time.perf_counter()
        row: Row = {"update": 0, **self._validate(0)}
        self._done(0, row)
        return row, {"validation_seconds": time.perf_counter() - started}

    def _update(self, update: int) -> tuple[Row, dict[str, float]]:
        config, network, curriculum = self.config, self.network, self.curriculum
        task = self.levels[curriculum.level] if curriculum else self.task
        started = time.perf_counter()
        indices = question_indices(config.seed, update, config.questions, task.size("train"))
        meter = Meter(**self.state.spent)
        rollout = roll_out(
            network,
            task,
            [task.question("train", index) for index in indices],
            config.samples,
            temperature=config.temperature,
            seed=derive(config.seed, "sample", update),
            max_tokens=config.max_tokens,
            instructions=config.instructions,
            meter=meter,
        )
        sampled = time.perf_counter()
        rate = learning_rate(
            update,
            config.updates,
            config.learning_rate,
            schedule=config.schedule,
            warmup=config.warmup,
            final=config.final_learning_rate,
        )
        advantages_QG = self.algorithm.advantages(rollout.rewards_QG)
        report = learn(
            network,
            self.optimizer,
            self.algorithm,
            rollout,
            advantages_QG,
            learning_rate=rate,
            temperature=config.temperature,
            clip=config.clip,
            micro_batch_tokens=config.micro_batch_tokens,
            mask_truncated=config.mask_truncated,
            epochs=config.epochs,
        )
        learnt = time.perf_counter()
        nodes = node_statistics(rollout, network.topology.nodes)
        for node, norm in zip(network.topology.nodes, report.gradient_norm_N, strict=True):
            nodes.setdefault(node, {})["gradient_norm"] = float(norm)
        for node, columns in report.statistics.items():
            nodes[node] |= columns
        row: Row = {
            "update": update,
            **({"level": curriculum.index + 1, "difficulty": curriculum.level} if curriculum else {}),
            "learning_rate": rate,
            "reward": float(rollout.rewards_QG.mean()),
            "unparsed": rollout.unparsed,
            "questions_with_signal": float(np.mean(np.ptp(rollout.rewards_QG, axis=1) > 0)),
            "loss": report.loss,
            "trained": report.trained / max(1, len(rollout.samples)),
            "mismatch": report.mismatch,
            **self.algorithm.logs(rollout.rewards_QG, advantages_QG),
            "calls": meter.calls,
            "prompt_tokens": meter.prompt_tokens,
            "sampled_tokens": meter.sampled_tokens,
            "nodes": nodes,
        }
        if update % config.validation_every == 0 or update == config.updates:
            row |= self._validate(update)
        self.state.spent = {name: row[name] for name in ("calls", "prompt_tokens", "sampled_tokens")}
        self.curriculum = curriculum.record(row["reward"]) if curriculum else None
        self._done(update, row)
        timings = {
            "sample_seconds": sampled - started,
            "learn_seconds": learnt - sampled,
            "validation_seconds": time.perf_counter() - learnt,
            "samples_per_second": len(rollout.samples) / (learnt - started),
        }
        return row, timings

    def _validate(self, update: int) -> dict[str, float]:
        if not self.validation_size:
            return {}
        config = self.config
        path = self.run.folder / "transcripts" / f"validation_{update}.jsonl"
        limit = config.transcript_episodes
        with TranscriptWriter(path, method=config.algorithm, seed=config.seed, limit=limit) as transcript:
            return validate(
                self.network,
                self.task,
                self.validation_size,
                max_tokens=config.max_tokens,
                instructions=config.instructions,
                transcript=transcript if limit else None,
            )

    def _done(self, update: int, row: Row) -> None:
        """`update` is finished: from here on a checkpoint holds it."""
        state, accuracy = self.state, row.get("validation_accuracy")
        state.update, state.algorithm = update, self.algorithm.state()
        state.curriculum = self.curriculum.to_json() if self.curriculum else {}
        if accuracy is not None and (state.best_accuracy is None or accuracy > state.best_accuracy):
            state.best_update, state.best_accuracy = update, accuracy

    def _checkpoint_due(self) -> bool:
        update = self.state.update
        is_best = update == self.state.best_update
        return update % self.config.checkpoint_every == 0 or is_best or update == self.config.updates

    def _save(self, log: MetricsLog) -> None:
        log.sync()
        save_checkpoint(self.run.folder, self.network, self.optimizer, self.state, self.config.keep_checkpoints)


# ---------------------------------------------------------------------- what a configuration resolves to


def resolve_topology(text: str) -> Topology:
    """The topology that `text` spells, or that the .json file `text` holds."""
    if not text.endswith(".json"):
        return Topology.parse(text)
    try:
        return Topology.from_json(json.loads(Path(text).read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError) as error:
        raise TopologyError(f"the topology file {text} cannot be read: {error}") from None


def resolve_device(name: str) -> str:
    """`name`, or the GPU where there is one for "auto". Raises UsageError for a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"the device {name!r} cannot be used: {reason}") from None
    return name


def _longest_message(config: TrainConfig, *tasks: Task) -> int:
    """The most tokens that a message of the run may have."""
    longest = max(task.max_message_tokens for task in tasks)
    return longest if config.max_tokens is None else min(longest, config.max_tokens)


def _check_split(task: Task) -> None:
    if split_size(task, "train") == 0:
        raise UsageError(
            f"the task {task.id} has no training questions here; give --data a folder that holds them, or divide its "
            "rows with --task-options partition 60-20-20, if it takes that"
            if task.trains_on_data
            else f"the task {task.id} has no training questions; train without --data, or on another task"
        )


def training_splits(task: Task) -> dict[str, str]:
    """The hashes of the splits that a run learns from and is validated on, where these are read from data."""
    if not task.trains_on_data:
        return {}
    return {split: task.split_hash(split) for split in ("train", "validation") if task.size(split)}


def _record(
    config: TrainConfig, task: Task, levels: Mapping[str, Task], network: Network, algorithm: Algorithm
) -> dict[str, Any]:
    """What config.json holds: resuming asks that `config` and `resolved` are the same."""
    versions = {}
    for package in ("neuromas", "torch", "transformers", "peft", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "config": config.to_json(),
        "resolved": {
            "task": task.id,
            "splits": training_splits(task),
            "levels": {level: training_splits(task) for level, task in levels.items()},
            "topology": network.topology.to_json(),
            "backbone": network.backbone.weight_hash(),
            "device": network.backbone.model.device.type,
            "algorithm_options": asdict(algorithm.config),
        },
        "trainable_parameters": network.trainable_parameters,
        "versions": versions,
    }
