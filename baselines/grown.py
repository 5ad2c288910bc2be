"""A network that was grown: `grown:1-1-1+2-2-1+2-2-2-1` trains the first, grows it to the second, and so on.

It gets the training budget that the comparison gives to a network trained from scratch, tokens or updates, for all its
stages together: half of it for the first, half of what is left for the next, and so on; the last two share alike. (A
parent that has not converged does not grow well.) Each stage starts as the best network of the one before, with what is
new closed, and opens it over the first quarter of its updates (`algorithms/growth.py`). Stages are runs of their own,
so that grown networks which begin alike share them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from neuromas_env.errors import TopologyError, UsageError
from neuromas_env.growth import grown
from neuromas_env.topology import Topology

from .base import Context, MethodName
from .training import TrainedMethod

if TYPE_CHECKING:
    from algorithms import TrainConfig


def shares(stages: int) -> list[float]:
    """The share of the budget of each stage: 1/2, 1/4, …, the last as much as the one before."""
    halves = [0.5**number for number in range(1, stages)]
    return [*halves, halves[-1] if halves else 1.0]


class GrownNetwork(TrainedMethod):
    name = "grown"
    summary = "a small network, trained, grown and trained on, with the training budget of one from scratch"
    argument = "topologies"

    def __init__(self, spec: MethodName) -> None:
        self.stages = (spec.argument or "").split("+")
        super().__init__(spec)

    @classmethod
    def example(cls) -> str:
        return "grown:1-1-1+2-2-1"

    def graph(self) -> Topology:
        try:
            topology = Topology.parse(self.stages[0])
            for stage in self.stages[1:]:
                topology = grown(topology, stage).topology
        except TopologyError as error:
            raise UsageError(f"method {str(self.spec)!r}: {error}") from None
        return topology

    def own_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        return dataclasses.replace(training, topology=self.stages[-1])

    def run_configs(self, context: Context) -> Sequence[TrainConfig]:
        if self.run is not None:
            return []
        whole = self.training_config(context.training, context.compared)
        configs: list[TrainConfig] = []
        for topology, share in zip(self.stages, shares(len(self.stages)), strict=True):
            updates = max(1, round(whole.updates * share))
            tokens = None if whole.token_budget is None else max(1, round(whole.token_budget * share))
            config = dataclasses.replace(
                whole,
                topology=topology,
                updates=updates,
                token_budget=tokens,
                parent=configs[-1].out if configs else None,
                opening_updates=max(1, updates // 4),
            )
            configs.append(self.in_folder(context, config, f"grown-{topology}"))
        return configs
