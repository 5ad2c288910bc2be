"""Single-LLM reinforcement learning: one node, trained by the same trainer as the network it is compared with.

Its one adapter has the rank of all the network's adapters together (3 nodes of rank 8: rank 24), and it takes as many
times more updates as the network makes calls in an episode (3 for `1-1-1`); peers.py says how budgets are made equal.
`single-rl:updates=N` trains longer, `single-rl:token_budget=N` until it sampled so many tokens.

The learning rate is its own, because a single adapter of larger rank needs another one: 1e-3 unless set by
`single-rl:learning_rate=...`. Give it the same care on the validation split that the network gets.
"""

from __future__ import annotations

from .peers import TrainedPeer


class SingleRL(TrainedPeer):
    name = "single-rl"
    summary = "one model trained by reinforcement learning, with the network's trainable parameters and training calls"
    shape = "1"
    learning_rate = 1e-3
