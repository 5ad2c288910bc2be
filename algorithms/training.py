"""Training a network: what comes before the loop (trainer.py), and what is left as it was after it.

run = train(TrainConfig("chain", topology="1-1-1", out="runs/first"))
network = run.network()                                   # the best by validation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from neuromas_env.errors import UsageError
from neuromas_env.task import Task

from .algorithm import Algorithm, make_algorithm
from .backbone import Backbone
from .checkpoint import clean
from .config import TrainConfig
from .credit import Credit
from .distributed import Team, TogetherEngine
from .engines import Engine
from .experience import play
from .files import exclusive
from .metrics import Row, import_wandb
from .network import Network
from .resolve import checked, make_backbone, make_network, record_of, resolve_device
from .rollout import leaves_of
from .run import Run, check_free, create_run, reopen_run, stopping_whole
from .sharding import check_shardable, sharded_backbone
from .trainer import Trainer


@dataclass(frozen=True)
class Given:
    """What the caller brings instead of what the configuration would make."""

    task: Task | None = None
    backbone: Backbone | None = None
    network: Network | None = None
    algorithm: Algorithm | type[Algorithm] | None = None


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    task: Task | None = None,
    backbone: Backbone | None = None,
    network: Network | None = None,
    algorithm: Algorithm | type[Algorithm] | None = None,
    progress: bool = False,
    on_update: Callable[[Row], None] | None = None,
) -> Run:
    """Train the network that `config` describes and give back its run folder.

    `resume` goes on with the run in the folder, and starts it where there is none. `task` (an object instead of a
    name), `backbone` (loaded before), `network` (trained in place, instead of a fresh one) and `algorithm` (a class, or
    an object with its options) replace what `config` would make. `on_update` receives every row of metrics. Everything
    is checked before the folder is touched.

    Started by torchrun, all processes train it together (distributed.py); the first one writes the run.

    Raises UsageError for what cannot be used, TrainingError where a loss is not finite or the
    run's files cannot be written, TrainingStopped on Ctrl-C.
    """
    team = Team.join(config.device)
    run_folder = config.folder
    going_on = team.agree(lambda: check_free(run_folder, resume))
    with team.folder(config, going_on) as own:
        _train(own, going_on, team, Given(task, backbone, network, algorithm), progress, on_update)
        team.gather(None)  # the run is whole once the first process is done
    return Run(run_folder)


def _train(
    config: TrainConfig,
    going_on: bool,
    team: Team,
    given: Given,
    progress: bool,
    on_update: Callable[[Row], None] | None,
) -> None:
    """`train` in one process of a team."""
    algorithm = make_algorithm(config.algorithm, config.options) if given.algorithm is None else given.algorithm
    if isinstance(algorithm, type):
        algorithm = algorithm(algorithm.Config())
    if given.task is not None and config.curriculum is not None:
        raise UsageError("a curriculum makes its own tasks: give the name of a (registered) task, and no Task object")
    task = config.make_task() if given.task is None else given.task
    levels, credit = checked(config, task, algorithm)
    config = replace(config, task=task.name, algorithm=algorithm.name)
    if config.wandb is not None:
        import_wandb()
    with torch_threads(config.threads):
        network = network_to_train(config, going_on, team, given)
        with sampling_engine(network, config, team):
            branching = credit.tree(config.samples, network.topology)
            if branching is not None:
                leaves_of(branching, config.samples, network.topology)
            network.backbone.checkpoint_activations(config.checkpoint_activations)
            algorithm.bind(network, seed=config.seed, learning_rate=config.learning_rate)
            if config.shard_backbone:
                check_shardable(algorithm)
            record = record_of(config, task, levels, network, algorithm, credit)
            folder = config.folder
            if not config.micro_batch_tokens:
                kept = Run(folder).record.get("micro_batch_tokens") if going_on else None
                fitting = kept or fitting_micro_batch(config, task, network, algorithm)
                record["micro_batch_tokens"] = team.gather(fitting)[0]
            run = reopen_run(folder, record) if going_on else create_run(folder, record, network.topology.to_json())
            with exclusive(folder):
                clean(folder)
                trainer = Trainer(config, task, levels, network, algorithm, credit, run, team, progress, on_update)
                with stopping_whole(run):
                    trainer.train()


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def network_to_train(config: TrainConfig, going_on: bool, team: Team, given: Given) -> Network:
    """The network that was given, or the one that the run goes on with, or a fresh one.

    Raises UsageError for a network that has nothing to train.
    """
    network, backbone = given.network, given.backbone
    if config.shard_backbone:
        if backbone is not None or network is not None:
            raise UsageError("--shard-backbone divides a backbone that it loads itself: give none")
        backbone = sharded_backbone(config, team, torch.device(resolve_device(config.device)).type)
    if network is None:
        network = network_of(config.folder, config, backbone) if going_on else make_network(config, backbone)
    if network.adapters is None:
        raise UsageError("a network without adapters (rank 0) has nothing to train")
    return network


@contextmanager
def sampling_engine(network: Network, config: TrainConfig, team: Team) -> Iterator[None]:
    """`network` with the engine that samples in this training; afterwards it has its own again.

    Raises UsageError where its own cannot be trained with.
    """
    own = network.engine
    try:
        own.check("training", adapters=True, logprobs=True, token_ids=True)
        if team.size > 1 and not config.shard_backbone:
            network.engine = TogetherEngine(own, team)
        if config.workers:
            network.engine = make_workers(config, network)
        check_staleness(config, network.engine)
        yield
    finally:
        network.engine.close()
        network.engine = own


def network_of(folder: Path, config: TrainConfig, backbone: Backbone | None) -> Network:
    """The network of a run that goes on: its last checkpoint's, so that a parent is not needed again."""
    latest = Run(folder).latest
    if config.parent is None or latest is None:
        return make_network(config, backbone)
    return latest.network(backbone if backbone is not None else make_backbone(config))


def make_workers(config: TrainConfig, network: Network) -> Engine:
    """The workers that `config` asks for."""
    from .engines.ray_workers import RayEngine, parse_workers

    return RayEngine(parse_workers(config.workers or ""), network, config)


def check_staleness(config: TrainConfig, engine: Engine) -> None:
    if config.staleness and not engine.remote:
        raise UsageError(
            f"--staleness {config.staleness} samples elsewhere while this process learns, and the engine "
            f"{engine.name!r} samples here: give --workers ray:N too"
        )


def fitting_micro_batch(config: TrainConfig, task: Task, network: Network, algorithm: Algorithm) -> int:
    """How many tokens of this run's own prompts and messages fit into memory at once in training."""
    from .estimate import find_micro_batch_tokens

    rollout = play(config, network, task, Credit(), 1, questions=1)
    return find_micro_batch_tokens(network, rollout.samples, whole=algorithm.whole_questions)
