"""Single-LLM reinforcement learning: one node, trained by the same trainer as the network it is compared with.

Two budgets are made equal. *Trainable parameters*: the one adapter has the rank of all the network's adapters together
(3 nodes of rank 8: rank 24), and alpha grows such that the scale of an adapter stays. *Sampled
messages*: the network makes several calls in an episode where a single model makes one, so it takes as many times more
updates (3 for `1-1-1`), of the same questions and samples each. Both may then sample as many tokens; how many they did
sample, given the lengths they learn, stands in the results (`training_sampled_tokens`), and `single-rl:updates=N`
trains longer.

The learning rate is its own, because a single adapter of larger rank needs another one: 1e-3 unless set by
`single-rl:learning_rate=...`. Give it the same care on the validation split that the network gets.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from neuromas_env.topology import Topology

from .training import TrainedMethod

if TYPE_CHECKING:
    from algorithms import TrainConfig

LEARNING_RATE = 1e-3


class SingleRL(TrainedMethod):
    name = "single-rl"
    summary = "one model trained by reinforcement learning, with the network's trainable parameters and training calls"

    def graph(self) -> Topology:
        return Topology.parse("1")

    def own_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        topology = Topology.parse(compared.topology)
        return dataclasses.replace(
            training,
            topology="1",
            learning_rate=LEARNING_RATE,
            rank=compared.rank * topology.num_nodes,
            alpha=compared.alpha * (topology.num_nodes**0.5 if compared.lora == "rslora" else topology.num_nodes),
            targets=compared.targets,
            lora=compared.lora,
            updates=compared.updates * topology.calls,
            warmup=compared.warmup * topology.calls,
            validation_every=compared.validation_every * topology.calls,
            checkpoint_every=compared.checkpoint_every * topology.calls,
        )
