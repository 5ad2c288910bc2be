"""The stages of growth, truly trained: each is an ordinary run that goes on from the best network of the one before.

A run's folder is named by the whole path that leads to it, so that plans which begin alike share their first stages,
and a stage that was interrupted goes on where it stood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from algorithms.files import write_json
from algorithms.seeds import derive
from neuromas_env.errors import TopologyError
from neuromas_env.search.growth_env import Stage
from neuromas_env.topology import Topology

from ..training import digest
from ..workers import ensure_trained

if TYPE_CHECKING:
    from algorithms import TrainConfig
    from algorithms.backbone import Backbone


class StageTrainer:
    """Trains stages of `stage_tokens` sampled tokens each, with the other options of `training`, below `folder`."""

    def __init__(
        self, training: TrainConfig, stage_tokens: int, folder: Path, backbone: Backbone | None = None
    ) -> None:
        self.training, self.stage_tokens, self.folder, self.backbone = training, stage_tokens, folder, backbone

    def __call__(self, path: Sequence[Topology]) -> Stage:
        for config in self.configs(path):
            run = ensure_trained(config, self.backbone, progress=False)
        validated = {row["update"]: row["validation_accuracy"] for row in run.metrics if "validation_accuracy" in row}
        tokens = run.checkpoint("last").state().spent["sampled_tokens"]
        return Stage(validated[0], validated[run.checkpoint("best").update], int(tokens))

    def configs(self, path: Sequence[Topology]) -> list[TrainConfig]:
        """The configuration of every stage, each grown from the one before."""
        configs: list[TrainConfig] = []
        for length, topology in enumerate(path, start=1):
            name = digest([each.to_json() for each in path[:length]])
            configs.append(
                dataclasses.replace(
                    self.training,
                    seed=derive(self.training.seed, "stage", length),  # else it would be asked the same questions again
                    topology=self._spelled(topology),
                    token_budget=self.stage_tokens,
                    parent=configs[-1].out if configs else None,
                    out=str(self.folder / f"stage{length}-{name}"),
                )
            )
        return configs

    def _spelled(self, topology: Topology) -> str:
        """The text that spells a topology, or a file that holds it."""
        try:
            Topology.parse(topology.name)
            return topology.name
        except TopologyError:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.folder / f"{digest(topology.to_json())}.json"
            write_json(file, topology.to_json())
            return str(file)
