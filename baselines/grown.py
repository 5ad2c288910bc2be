"""A network that was grown: `grown:1-1-1+2-2-1+2-2-2-1` trains the first, grows it to the second, and so on.

It gets the training budget that the comparison gives to a network trained from scratch, tokens or updates, for all its
stages together: half of it for the first, half of what is left for the next, and so on; the last two share alike. (A
parent that has not converged does not grow well.) `grown:1-1-1@0.8+2-2-1` says the shares itself, all but the last,
which gets what is left. Each stage starts as the best network of the one before, with what is
new closed, and opens it over about the first quarter of its training (`algorithms/growth.py`). Stages are runs of their
own, so that grown networks which begin alike share them.
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


def parse_stages(text: str) -> tuple[list[str], list[float]]:
    """The topologies in a method's argument, and their shares of the budget. Raises UsageError for bad shares."""
    parts = [part.partition("@") for part in text.split("+")]
    topologies, given = [topology for topology, _, _ in parts], [share for _, at, share in parts if at]
    if not given:
        return topologies, shares(len(parts))
    try:
        own = [float(share) for share in given]
    except ValueError:
        own = []
    if len(own) != len(parts) - 1 or parts[-1][1] or min(own) <= 0 or not sum(own) < 1:
        raise UsageError(
            f"grown:{text}: shares of the budget stand behind all topologies but the last, each above 0 and together "
            "below 1, such as grown:1-1-1@0.8+2-2-1"
        )
    return topologies, [*own, 1 - sum(own)]


def shares(stages: int) -> list[float]:
    """The share of the budget of each stage: 1/2, 1/4, …, the last as much as the one before."""
    halves = [0.5**number for number in range(1, stages)]
    return [*halves, halves[-1] if halves else 1.0]


class GrownNetwork(TrainedMethod):
    name = "grown"
    summary = "a small network, trained, grown and trained on, with the training budget of one from scratch"
    argument = "topologies"

    def __init__(self, spec: MethodName) -> None:
        self.stages, self.shares = parse_stages(spec.argument or "")
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
        first = Topology.parse(self.stages[0])
        configs: list[TrainConfig] = []
        for topology, share in zip(self.stages, self.shares, strict=True):
            updates = max(1, round(whole.updates * share))
            tokens = None if whole.token_budget is None else max(1, round(whole.token_budget * share))
            opening = updates / 4
            if tokens is not None:  # the more nodes, the fewer updates are in as many tokens
                opening *= len(first.nodes) / len(Topology.parse(topology).nodes)
            config = dataclasses.replace(
                whole,
                topology=topology,
                updates=updates,
                token_budget=tokens,
                parent=configs[-1].out if configs else None,
                opening_updates=max(1, round(opening)),
            )
            configs.append(self.in_folder(context, config, f"grown-{topology}"))
        return configs
