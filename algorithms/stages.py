"""Growing in one command: a run for each stage, each going on from the one before.

    neuromas train chain --grow 1-1-1@80,2-2-1@40,2-2-2-1@plateau

`TOPOLOGY@N` trains N updates of a topology, spelt or in a .json file; `TOPOLOGY@plateau` until the validation has not
become better for `patience` validations (3 where the configuration has none), and at most as long as the configuration
says. Every stage is an ordinary run in a folder of its own below the run's folder, so what was interrupted goes on
where it stood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from neuromas_env.errors import TopologyError, UsageError
from neuromas_env.growth import grown

from .config import TrainConfig, topology_name
from .resolve import resolve_topology

if TYPE_CHECKING:
    from .run import Run

PLATEAU, PATIENCE = "plateau", 3


@dataclass(frozen=True)
class Stage:
    topology: str
    updates: int | None
    """None: until a plateau."""

    def __str__(self) -> str:
        return f"{self.topology}@{self.updates or PLATEAU}"


def parse_stages(text: str) -> list[Stage]:
    """The stages as typed. Raises UsageError for one that cannot be read or that does not grow from the one before."""
    stages: list[Stage] = []
    for part in text.split(","):
        topology, at, length = part.strip().partition("@")
        if not at or not (length == PLATEAU or (length.isdecimal() and int(length) >= 1)):
            raise UsageError(f"--grow: {part.strip()!r} is no stage (accepted: TOPOLOGY@UPDATES or TOPOLOGY@{PLATEAU})")
        stages.append(Stage(topology, None if length == PLATEAU else int(length)))
    try:
        for before, after in pairwise(stages):
            grown(resolve_topology(before.topology), resolve_topology(after.topology))
        resolve_topology(stages[0].topology)
    except TopologyError as error:
        raise UsageError(f"--grow: {error}") from None
    return stages


def stage_configs(config: TrainConfig, stages: list[Stage]) -> list[TrainConfig]:
    """The configuration of every stage's run, in order."""
    if config.parent is not None:
        raise UsageError("--grow begins from nothing, so it cannot go on from a --parent")
    configs: list[TrainConfig] = []
    for number, stage in enumerate(stages, start=1):
        folder = config.folder / f"stage{number}-{topology_name(stage.topology)}"
        own = replace(
            config,
            topology=stage.topology,
            out=str(folder),
            parent=configs[-1].out if configs else None,
            updates=stage.updates or config.updates,
        )
        if stage.updates is None:
            own = replace(own, patience=config.patience or PATIENCE)
        configs.append(own)
    return configs


def train_stages(configs: list[TrainConfig], train: Callable[[TrainConfig], Run]) -> Run:
    """The run of the last stage, all before it trained first, or gone on with, or found finished."""
    from .run import Run, is_finished

    runs = [Run(config.folder) if is_finished(config.folder) else train(config) for config in configs]
    return runs[-1]
