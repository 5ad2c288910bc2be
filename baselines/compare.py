"""Comparing methods on one task: the same questions, one meter, equal budgets, and nothing finished is done twice.

1. Every method that trains is trained for every seed, in run folders under `out`.
2. The network compared with (the first `neuromas:...` of the list, else the first trained method) is asked all
   questions: what it samples on a question is the budget of `self-consistency`.
3. Every other method is asked the same questions; networks also with each hidden layer silenced, where wanted.

Each (method, seed) is a *cell*, kept with the outcome of every question under `out/cells/`, and its first episodes with
every message under `out/transcripts/`. A comparison that was interrupted, or that grew by a method or a seed, runs
only the cells and trainings that are missing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from algorithms.engines.choose import TRANSFORMERS
from algorithms.errors import EngineError, TrainingError
from algorithms.files import write_json
from neuromas_env.errors import NeuromasError, UnknownNameError, UsageError
from neuromas_env.task import Question, Task
from neuromas_env.topology import Topology
from neuromas_env.transcripts import TranscriptWriter

from .base import Context, Method, System, make_method, method_factory, method_names
from .evaluate import ask, make_row
from .neuromas import TrainedNetwork
from .results import Outcomes, Row, aggregate
from .self_consistency import SelfConsistency
from .training import TrainedMethod, digest, run_method, slug
from .workers import do_all, train_all

if TYPE_CHECKING:
    from algorithms import TrainConfig
    from algorithms.backbone import Backbone

CELL_FORMAT = 2
DEFAULT_NETWORK = "1-1-1"
"""The network whose budgets `single-rl` gets where no network is compared with it."""

TRANSCRIBED = 24
"""Episodes of each cell written to out/transcripts/ with every message."""

Say = Callable[[str], None]


class UnpreparedError(NeuromasError):
    """A method could not be prepared."""

    def __init__(self, name: str, error: Exception) -> None:
        kind = "" if isinstance(error, NeuromasError) else f"{type(error).__name__}: "
        super().__init__(f"method {name!r} could not be prepared: {kind}{' '.join(str(error).split())}")


class IncompleteError(NeuromasError):
    """Some methods could not be prepared. The others were asked all the same: `rows` and `outcomes` are theirs."""

    def __init__(self, failed: Sequence[UnpreparedError], rows: list[Row], outcomes: dict[str, list[Outcomes]]) -> None:
        self.rows, self.outcomes = rows, outcomes
        super().__init__("; ".join(map(str, failed)))


@dataclass(frozen=True)
class Cell:
    """One method (perhaps with a layer silenced), one seed, all questions."""

    row: Row
    outcomes: Outcomes


@dataclass(frozen=True)
class Comparison:
    """What is compared. `training` holds the options of trained methods; its topology and seed are filled in here.

    `task` is what is asked; trained methods learn the task that `training` names, without the data file.
    """

    task: Task
    split: str
    questions: Sequence[Question]
    methods: Sequence[Method]
    seeds: Sequence[int]
    backbone: Backbone
    training: TrainConfig
    out: Path
    silence_layers: bool = False
    workers: int = 1
    details: dict[str, Any] = field(default_factory=dict)
    """Further columns of every row: the difficulty and the data file, say."""
    wordings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The user's own instructions, by method and name."""

    @cached_property
    def weights(self) -> str:
        """Which frozen weights answer: part of what makes a cell or a run the same again."""
        return self.backbone.weight_hash()

    @property
    def compared(self) -> Method | None:
        """The trained method whose budgets the others get: the first network, else the first trained method."""
        trained = [method for method in self.methods if method.trained]
        networks = [m for m in trained if isinstance(m, TrainedNetwork) and m.topology.num_nodes > 1]
        return next(iter(networks or trained), None)

    def context(self, seed: int, token_budget: float | None = None) -> Context:
        training = dataclasses.replace(self.training, seed=seed, topology=DEFAULT_NETWORK)
        network, compared = self.compared, training
        if isinstance(network, TrainedNetwork) and network.topology.num_nodes > 1:
            compared = network.run.config if network.run else network.training_config(training, training)
        return Context(
            self.task,
            self.questions,
            seed,
            self.backbone,
            self.weights,
            training,
            compared,
            self.out,
            token_budget,
            self.wordings,
        )


def add_equal_budget(methods: Sequence[Method]) -> tuple[list[Method], bool]:
    """`methods` with `self-consistency` at equal sampled tokens wherever something is trained; was it added?"""
    matched = any(isinstance(method, SelfConsistency) and method.matched for method in methods)
    if matched or not any(method.trained for method in methods):
        return list(methods), False
    return [*methods, make_method("self-consistency")], True


def check_engine(methods: Sequence[Method], backbone: Backbone) -> None:
    """Raise UsageError, naming the method, where it needs what the engine of `backbone` has not."""
    for method in methods:
        if method.trained:
            untrained = not (isinstance(method, TrainedMethod) and method.run)
            backbone.engine.check(f"method {str(method)!r}", adapters=True, logprobs=untrained, token_ids=untrained)


def check_names(methods: Sequence[Method]) -> None:
    """Raise UsageError where two methods have one name: their rows could not be told apart."""
    names = [str(method) for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"method {name!r} is given twice")


def check_wordings(wordings: Mapping[str, Mapping[str, str]]) -> None:
    """Raise UnknownNameError for a method that does not exist, or an instruction that it does not have."""
    for name, own in wordings.items():
        known = getattr(method_factory(name), "wordings", {})
        for instruction in own:
            if instruction not in known:
                raise UnknownNameError(f"instruction of method {name!r}", instruction, known)


def run_comparison(comparison: Comparison, say: Say = lambda text: None) -> tuple[list[Row], dict[str, list[Outcomes]]]:
    """All rows (each method's seeds, then its aggregate, in the order of the methods) and the outcomes behind them.

    `say` hears, in words, what is being done. Raises IncompleteError, at the end, where a method could not be prepared;
    one whose budgets the others get ends all at once, with UnpreparedError.
    """
    contexts = {seed: comparison.context(seed) for seed in comparison.seeds}
    runs = [method.run_configs(context) for context in contexts.values() for method in comparison.methods]
    for stage in zip_longest(*runs):  # what a run goes on from is trained before it
        once = {config.folder: config for config in stage if config is not None}
        train_all(list(once.values()), comparison.workers, comparison.backbone)

    compared, budget = comparison.compared, None
    cells: dict[str, list[Cell]] = {}
    if compared is not None:
        ask_at_once(comparison, [compared], contexts, say)
        _ask_method(comparison, compared, contexts, cells, say)
        budget = float(np.mean([cell.row.sampled_tokens for cell in cells[str(compared)]]))
        contexts = {seed: comparison.context(seed, budget) for seed in comparison.seeds}
    others = [method for method in comparison.methods if method is not compared]
    ask_at_once(comparison, others, contexts, say)
    failed = []
    for method in others:
        try:
            _ask_method(comparison, method, contexts, cells, say)
        except UnpreparedError as error:
            failed.append(error)

    rows: list[Row] = []
    names = [name for method in comparison.methods for name in cells if name == str(method) or _is_of(name, method)]
    for name in names:
        seeds = [cell.row for cell in cells[name]]
        rows += [*seeds, aggregate(seeds, [cell.outcomes for cell in cells[name]])]
    outcomes = {name: [cell.outcomes for cell in cells[name]] for name in names}
    if failed:
        raise IncompleteError(failed, rows, outcomes)
    return rows, outcomes


def _is_of(name: str, method: Method) -> bool:
    return name.startswith(f"{method} (")


def hidden_layers(method: Method) -> list[tuple[str, ...]]:
    """The layers of a trained network whose messages other nodes hear."""
    if not method.trained or method.topology is None:
        return []
    return list(method.topology.layers[:-1])


def _ask_method(
    comparison: Comparison, method: Method, contexts: dict[int, Context], cells: dict[str, list[Cell]], say: Say
) -> None:
    """Fill the cells of one method, its silenced variants included."""
    for variant, silence in variants(comparison, method):
        name = f"{method} ({variant})" if variant else str(method)
        cells[name] = [_cell(comparison, method, context, name, variant, silence, say) for context in contexts.values()]


def variants(comparison: Comparison, method: Method) -> list[tuple[str, tuple[str, ...]]]:
    """What is asked of a method, by name, and the nodes that are silent there: the method itself has no name here."""
    silenced = enumerate(hidden_layers(method), start=1) if comparison.silence_layers else ()
    return [("", ()), *((f"layer {place} silenced", layer) for place, layer in silenced)]


def ask_at_once(comparison: Comparison, methods: Sequence[Method], contexts: Mapping[int, Context], say: Say) -> None:
    """Fill the cells of `methods` that are not on disk yet in several processes, where there is more than one.

    What cannot be done so (a method or a task that another process does not know, one that raises) is left out: it is
    asked, and raises, in this process.
    """
    jobs: dict[tuple[str, int], Job] = {}
    paths: set[Path] = set()
    for method, context in product(methods, contexts.values()):
        for variant, silence in variants(comparison, method):
            name = f"{method} ({variant})" if variant else str(method)
            path, key = _place(comparison, method, context, name, silence)
            if path not in paths and _read_cell(path, key, context.seed) is None:
                paths.add(path)
                jobs[str(method), context.seed] = Job.of(comparison, method, context)
    if min(comparison.workers, len(jobs)) <= 1:
        return
    try:
        pickle.dumps(list(jobs.values()))
    except (pickle.PicklingError, AttributeError, TypeError):
        return
    done = 0

    def ended(job: int, kind: str, text: str) -> None:
        nonlocal done
        done += 1
        say(f"{done} of {len(jobs)} evaluations")
        if kind == "interrupted":
            raise KeyboardInterrupt

    do_all(list(jobs.values()), comparison.workers, ended)


@dataclass(frozen=True)
class Job:
    """The cells of one method and one seed, to be asked in another process, which loads the backbone itself."""

    comparison: Comparison
    """Without its backbone, which does not travel."""
    weights: str
    method: Method
    seed: int
    token_budget: float | None

    @classmethod
    def of(cls, comparison: Comparison, method: Method, context: Context) -> Job:
        light: Any = dataclasses.replace(comparison, backbone=None)  # type: ignore[arg-type]
        return cls(light, comparison.weights, method, context.seed, context.token_budget)

    def __call__(self) -> None:
        import torch

        training = self.comparison.training
        torch.set_num_threads(training.threads)
        backbone = _loaded(training.backbone, training.dtype, training.device, training.engine)
        comparison = dataclasses.replace(self.comparison, backbone=backbone)
        if comparison.weights != self.weights:
            raise UsageError(f"{training.backbone} has other weights than the backbone that is compared")
        context = comparison.context(self.seed, self.token_budget)
        _ask_method(comparison, self.method, {self.seed: context}, {}, lambda text: None)


@cache
def _loaded(name: str, dtype: str, device: str, engine: str) -> Backbone:
    """A backbone, loaded once a process."""
    from algorithms.backbone import load_backbone
    from algorithms.resolve import resolve_device

    return load_backbone(name, dtype, resolve_device(device), engine)


def _place(
    comparison: Comparison, method: Method, context: Context, name: str, silence: tuple[str, ...]
) -> tuple[Path, dict[str, Any]]:
    """Where a cell is kept, and what it is the cell of."""
    key = {
        "format": CELL_FORMAT,
        "method": name,
        "identity": dict(method.identity(context)),
        "seed": None if method.deterministic else context.seed,
        "split": comparison.split,
        "questions": digest([[q.id, q.prompt, q.answer] for q in comparison.questions]),
        "task": [comparison.task.id, comparison.task.instruction, comparison.task.max_message_tokens],
        "backbone": comparison.weights,
        "silence": list(silence),
    }
    if comparison.training.engine != TRANSFORMERS:
        key["engine"] = comparison.training.engine
    return comparison.out / "cells" / f"{cell_name(method, name, context.seed)}-{digest(key)}.json", key


def _cell(
    comparison: Comparison,
    method: Method,
    context: Context,
    name: str,
    variant: str,
    silence: tuple[str, ...],
    say: Say,
) -> Cell:
    """The cell from disk, or asked now and kept."""
    path, key = _place(comparison, method, context, name, silence)
    found = _read_cell(path, key, context.seed)
    if found is not None:
        return found
    say(f"{name}, seed {context.seed}")
    system = _prepared(method, context, name)
    file = transcript_file(comparison.out, method, name, context.seed)
    with TranscriptWriter(file, method=name, seed=context.seed, limit=TRANSCRIBED) as transcript:
        outcomes, meter = ask(
            system,
            comparison.task,
            comparison.split,
            len(comparison.questions),
            silence=silence,
            transcript=transcript,
            progress=lambda done: say(f"{name}, seed {context.seed}: {done} of {len(comparison.questions)} questions"),
        )
    extra = {**comparison.details, "backbone": comparison.backbone.name}
    if silence:
        extra |= {"silenced": list(silence), "silenced_of": str(method), "silenced_name": variant}
    task = comparison.task.name
    row = make_row(name, task, comparison.split, context.seed, system, outcomes, meter, **extra)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"key": key, "row": row.to_json(), "outcomes": outcomes.to_json()})
    return Cell(row, outcomes)


def _prepared(method: Method, context: Context, name: str) -> System:
    """The system of a method. A training or a server that cannot go on stops a comparison, as when it is asked."""
    try:
        return method.prepare(context)
    except (TrainingError, EngineError):
        raise
    except Exception as error:
        raise UnpreparedError(name, error) from error


def cell_name(method: Method, name: str, seed: int) -> str:
    """The file name of a cell; seeds that would give the same answers share one."""
    return slug(name) if method.deterministic else f"{slug(name)}-seed{seed}"


def transcript_file(out: Path, method: Method, name: str, seed: int) -> Path:
    """Where a comparison in `out` keeps the first episodes of `name`: `method`, or a silenced variant of it."""
    return out / "transcripts" / f"{cell_name(method, name, seed)}.jsonl"


def _read_cell(path: Path, key: dict[str, Any], seed: int) -> Cell | None:
    """The cell kept at `path`, as one of `seed`; None where there is none, or one of something else."""
    data = read_kept(path, key)
    if data is None:
        return None
    row = Row.from_json(data["row"])
    return Cell(dataclasses.replace(row, seed=seed), Outcomes.from_json(data["outcomes"]))


def read_kept(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a JSON file holds, if it was written for this `key`; None where there is no such file."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if data.get("key") == dict(key) else None


def parse_methods(text: str) -> list[Method]:
    """Methods as typed, with commas between; a run folder stands for the network in it. Raises UsageError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--methods names no method")
    return [resolve_method(name) for name in names]


def resolve_method(name: str) -> Method:
    """The method called `name`, or the network of the run folder `name`.

    A folder that happens to be called like a method is one only where a run lies in it.
    """
    from algorithms.run import is_run

    folder = Path(name)
    if folder.is_dir() and (is_run(folder) or name not in method_names()):
        return make_method(run_method(folder))
    if os.sep in name and ":" not in name:
        raise UsageError(f"there is no run folder {name}")
    return make_method(name)


def parse_silence(text: str | None, topology: Topology) -> tuple[str, ...]:
    """Node ids with commas between. Raises UsageError for a node that `topology` has not."""
    nodes = tuple(node.strip() for node in (text or "").split(",") if node.strip())
    for node in nodes:
        topology.index(node)
    return nodes


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Raise UsageError where the file (or folder) `path` could not be written, before any work is done."""
    if path.is_dir() != folder and path.exists():
        raise UsageError(f"{path} is a {'file' if folder else 'folder'}; a {'folder' if folder else 'file'} is needed")
    parent = path
    while not parent.exists():
        parent = parent.parent
    home = parent.parent if parent == path and not folder else parent
    try:
        with tempfile.TemporaryFile(dir=home):  # permissions alone do not tell, for root say
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {home} takes no files ({error.strerror})") from None
