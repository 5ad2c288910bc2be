"""Methods that train: their options, their run folders, and the networks in them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from algorithms.engines.choose import TRANSFORMERS
from neuromas_env.errors import CheckpointError, TopologyError, UnknownNameError, UsageError
from neuromas_env.topology import Topology

from .base import Context, Method, MethodName, System
from .workers import ensure_trained

if TYPE_CHECKING:
    from algorithms import TrainConfig
    from algorithms.backbone import Backbone
    from algorithms.run import Run

# What a comparison decides for all of its methods, and what is no single value.
NOT_OPTIONS = frozenset(
    {"task", "data", "task_options", "allow_code_execution", "topology", "backbone", "seed", "out", "parent", "device",
     "dtype", "engine", "threads", "options", "credit_options", "instructions", "betas", "targets", "tensorboard",
     "wandb", "workers", "shard_backbone", "keep_checkpoints", "transcript_episodes"}
)  # fmt: skip

GRAPH = "graph"
"""What stands for a topology that no string spells, in the name of a run's network."""


def option_types() -> dict[str, Any]:
    """The training options that a method's name or `--train` may set, and their types."""
    from algorithms.config import TrainConfig

    return {name: kind for name, kind in get_type_hints(TrainConfig).items() if name not in NOT_OPTIONS}


def with_options(config: TrainConfig, options: Mapping[str, str]) -> TrainConfig:
    """`config` with options as typed: its own fields, and those of its algorithm and of its credit assignment.

    Raises UnknownNameError for a name that neither knows, UsageError for a value that cannot be read.
    """
    from algorithms.algorithm import algorithm_class, make_algorithm
    from algorithms.credit import Credit

    kinds = option_types()
    algorithm = options.get("algorithm", config.algorithm)
    own = [entry.name for entry in dataclasses.fields(algorithm_class(algorithm).Config)]
    of_credit = [entry.name for entry in dataclasses.fields(Credit) if entry.name != "name"]
    for name in options:
        if name not in kinds and name not in own and name not in of_credit:
            raise UnknownNameError("training option", name, [*kinds, *own, *of_credit])
    changes = {name: _read(name, text, kinds[name]) for name, text in options.items() if name in kinds}
    algorithm_options = {name: text for name, text in options.items() if name in own and name not in kinds}
    credit_options = {name: text for name, text in options.items() if name in of_credit and name not in kinds}
    if algorithm == config.algorithm:
        algorithm_options = dict(config.options) | algorithm_options
    if options.get("credit", config.credit) == config.credit:
        credit_options = dict(config.credit_options) | credit_options
    changed = dataclasses.replace(config, **changes, options=algorithm_options, credit_options=credit_options)
    Credit.of(changed, make_algorithm(algorithm, algorithm_options))
    return changed


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

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.run = open_run(Path(spec.options["run"])) if "run" in spec.options else None
        self.topology: Topology = self.graph()
        if self.run is not None and run_topology(self.run) != self.topology:
            raise CheckpointError(
                f"{self.run.folder} holds a network of topology {run_topology(self.run)}, not {self.topology}"
            )

    def check_options(self) -> None:
        from algorithms.config import TrainConfig

        others = {name: value for name, value in self.spec.options.items() if name != "run"}
        if others and len(others) < len(self.spec.options):
            raise UsageError(f"method {str(self.spec)!r}: a run that is given takes no training options")
        with_options(self.base_config(TrainConfig(task="chain")), others)

    @property
    def deterministic(self) -> bool:
        return self.run is not None

    @abstractmethod
    def graph(self) -> Topology:
        """The topology that its name says."""

    def base_config(self, training: TrainConfig) -> TrainConfig:
        """`training` with what the method itself decides: options are read as those of its algorithm."""
        return training

    @abstractmethod
    def own_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        """How it trains before the options in its name, given `Context.training` and `Context.compared`."""

    def training_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        return with_options(self.own_config(training, compared), self.spec.options)

    def run_configs(self, context: Context) -> Sequence[TrainConfig]:
        if self.run is not None:
            return []
        config = self.training_config(context.training, context.compared)
        name = f"{self.spec.name}-{self.spec.argument}" if self.spec.argument else self.spec.name
        return [self.in_folder(context, config, name)]

    def in_folder(self, context: Context, config: TrainConfig, name: str) -> TrainConfig:
        """`config` with a run folder under `context.out`, called by `name`; equal settings give the same folder."""
        from algorithms.algorithm import make_algorithm
        from algorithms.config import FREE_TO_CHANGE, OF_GROWTH
        from algorithms.credit import Credit
        from algorithms.resolve import resolve_topology, training_splits

        free = FREE_TO_CHANGE if config.parent else FREE_TO_CHANGE | OF_GROWTH
        settings = {name: value for name, value in config.to_json().items() if name not in free}
        for option, default in (("engine", TRANSFORMERS), ("staleness", 0)):
            if settings[option] == default:  # so that what was trained before there were others is found
                del settings[option]
        if config.topology.endswith(".json"):
            settings["topology"] = resolve_topology(config.topology).to_json()  # another graph is another run
        if config.parent:
            settings["parent"] = Path(config.parent).name  # which has the settings of the parent in it
        algorithm = make_algorithm(config.algorithm, config.options)
        settings["options"] = dataclasses.asdict(algorithm.config)
        settings["credit"] = dataclasses.asdict(Credit.of(config, algorithm))
        task = config.make_task()
        fingerprint = digest([settings, task.id, training_splits(task), context.weights])
        folder = context.out / "runs" / f"{slug(name)}-seed{config.seed}-{fingerprint}"
        return dataclasses.replace(config, out=str(folder))

    def identity(self, context: Context) -> Mapping[str, Any]:
        configs = self.run_configs(context)
        if configs:
            return {"run": configs[-1].folder.name}
        assert self.run is not None
        return {"run": str(self.run.folder.resolve()), "checkpoint": self.run.checkpoint("best").update}

    def prepare(self, context: Context) -> System:
        run = self.run
        for config in self.run_configs(context):
            run = ensure_trained(config, context.backbone)
        assert run is not None
        if run.record["resolved"]["backbone"] != context.weights:
            name = run.config.backbone
            raise CheckpointError(f"{run.folder} was trained on other weights (of {name}) than {context.backbone.name}")
        return trained_system(run, context.backbone)


def open_run(folder: Path) -> Run:
    """The run in `folder`, which has a checkpoint. Raises CheckpointError where its parts do not belong together."""
    from algorithms.run import Run

    run = Run(folder)
    trains, saved = run_topology(run), read_topology(run.checkpoint("best").path / "network.json")
    if trains != saved:
        raise CheckpointError(f"{run.checkpoint('best').path} is of topology {saved}, but {folder} trains {trains}")
    return run


def run_topology(run: Run) -> Topology:
    return read_topology(run.folder / "topology.json")


def read_topology(path: Path) -> Topology:
    """The topology in a JSON file, by itself or as a field. Raises CheckpointError where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Topology.from_json(data.get("topology", data))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a topology: {error}") from None


def run_method(folder: Path) -> MethodName:
    """The name that stands for the network in a run folder: `neuromas:1-1-1:run=FOLDER`, or `single-rl:run=FOLDER`."""
    topology = run_topology(open_run(folder))
    options = {"run": folder.as_posix()}
    if topology.num_nodes == 1:
        return MethodName("single-rl", options=options)
    try:
        Topology.parse(topology.name)
    except TopologyError:
        return MethodName("neuromas", GRAPH, options=options)
    return MethodName("neuromas", topology.name, options=options)


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
    """What a run's training took, as columns of a results row; tokens and seconds are those of its ancestors too."""
    from algorithms.descent import spent_by_ancestors

    metrics, record = run.metrics, run.record
    seconds = run.seconds + sum(ancestor.get("seconds", 0.0) for ancestor in record.get("ancestors", []))
    return {
        "training_updates": max((row["update"] for row in metrics), default=0),
        "training_sampled_tokens": max((row.get("sampled_tokens", 0) for row in metrics), default=0)
        + spent_by_ancestors(record),
        "training_seconds": round(seconds, 1),
        "best_update": run.checkpoint("best").update,
    }
