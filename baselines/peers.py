"""Other trained systems at the cost of the network they are compared with: what they share.

*Trainable parameters*: each of the peer's adapters has the rank at which all of them together are as large as all of
the network's (a network of 3 nodes at rank 8, a peer of 2 nodes: rank 12), and alpha follows, such that the scale of an
adapter stays. *Sampled messages*: a peer that makes fewer calls in an episode takes as many times more updates, of the
same questions and samples each. How many tokens both did sample, given the lengths they learn, stands in the results
(`training_sampled_tokens`); with `token_budget` among the training options all train until they sampled as many.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from neuromas_env.errors import UsageError
from neuromas_env.topology import Topology

from .base import Context
from .training import TrainedMethod

if TYPE_CHECKING:
    from algorithms import TrainConfig


def at_equal_cost(training: TrainConfig, compared: TrainConfig, topology: Topology) -> TrainConfig:
    """`training` on `topology`, with the trainable parameters and the sampled messages of `compared`."""
    from algorithms.resolve import resolve_topology

    network = resolve_topology(compared.topology)
    rank = max(1, round(compared.rank * network.num_nodes / topology.num_nodes))
    larger = rank / compared.rank
    config = dataclasses.replace(
        training,
        topology=str(topology),
        rank=rank,
        alpha=compared.alpha * (math.sqrt(larger) if compared.lora == "rslora" else larger),
        targets=compared.targets,
        lora=compared.lora,
    )
    more = messages(compared, network) / messages(config, topology)

    def scaled(updates: int) -> int:
        return max(1, round(updates * more))

    return dataclasses.replace(
        config,
        updates=scaled(compared.updates),
        warmup=round(compared.warmup * more),
        validation_every=scaled(compared.validation_every),
        checkpoint_every=scaled(compared.checkpoint_every),
    )


def messages(config: TrainConfig, topology: Topology) -> float:
    """The messages that an update samples, for each episode in it: fewer than the calls where episodes share some."""
    from algorithms.algorithm import make_algorithm
    from algorithms.credit import Credit
    from algorithms.rollout import leaves_of

    branching = Credit.of(config, make_algorithm(config.algorithm, config.options)).tree(config.samples, topology)
    leaves = [1] * topology.horizon if branching is None else leaves_of(branching, config.samples, topology)
    return sum(len(speakers) / shared for speakers, shared in zip(topology.schedule, leaves, strict=True))


class TrainedPeer(TrainedMethod):
    """A system of a fixed shape; its `wordings` are its nodes' instructions."""

    shape: ClassVar[str]
    algorithm: ClassVar[str | None] = None
    """What it is trained by; None: by what trains the network."""
    credit: ClassVar[str | None] = None
    """The credit assignment of `algorithm`; None: the algorithm's own."""
    learning_rate: ClassVar[float | None] = None
    """Its own, chosen on validation questions; None: that of the network."""
    told: ClassVar[dict[str, str]] = {}
    """The instruction of each node that has one: its name in `wordings`, by node."""

    def graph(self) -> Topology:
        return Topology.parse(self.shape)

    def check_options(self) -> None:
        for name in ("algorithm", "credit"):
            if self.algorithm and name in self.spec.options:
                raise UsageError(f"method {str(self.spec)!r}: {self.name} is trained by its own {name}; a network "
                                 "trained by another is neuromas:TOPOLOGY:algorithm=...")  # fmt: skip
        super().check_options()

    def base_config(self, training: TrainConfig) -> TrainConfig:
        if self.algorithm is None:
            return training
        # Options of another algorithm, and of another credit assignment, mean nothing to its own.
        own = dataclasses.replace(training, algorithm=self.algorithm, credit=self.credit, credit_options={})
        return own if training.algorithm == self.algorithm else dataclasses.replace(own, options={})

    def own_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        config = at_equal_cost(self.base_config(training), compared, self.topology)
        return config if self.learning_rate is None else dataclasses.replace(config, learning_rate=self.learning_rate)

    def run_configs(self, context: Context) -> Sequence[TrainConfig]:
        worded = self.worded(context)
        told = {node: worded[name] for node, name in self.told.items() if worded[name]}
        training = dataclasses.replace(context.training, instructions=told)
        return super().run_configs(dataclasses.replace(context, training=training))
