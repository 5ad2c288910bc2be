"""What may be added to the reward of the answer. All of it is off by default; metrics show the plain reward too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .algorithm import FloatArray
from .rollout import Rollout


@dataclass(frozen=True)
class Shaping:
    """Additions to rewards. They change what is optimal, so what a network learns is judged by the plain score.

    `format_reward`: earned by every node where the answer can be read, right or wrong. `length_cost`: taken from the
    node that sent it for a message of the longest length, and less for shorter ones in proportion. `silence_cost`:
    taken from a node that is not the output for a message without text.
    """

    format_reward: float = 0.0
    length_cost: float = 0.0
    silence_cost: float = 0.0
    max_tokens: int = 1

    def terminal(self, rollout: Rollout) -> FloatArray:
        """The reward [Q, G] of the answer, before credit is assigned."""
        if not self.format_reward:
            return rollout.rewards_QG
        read_QG = np.array([not score.unread for score in rollout.scores]).reshape(rollout.rewards_QG.shape)
        return rollout.rewards_QG + self.format_reward * read_QG

    def costs(self, rollout: Rollout) -> FloatArray:
        """What each message [Q, G, C] costs its sender, after credit is assigned."""
        costs_M = np.zeros(len(rollout.samples))
        if self.length_cost:
            costs_M += self.length_cost * rollout.tokens_M / self.max_tokens
        if self.silence_cost:
            silent_M = np.array([not turn.message.text.strip() for turn in rollout.turns])
            hidden_M = rollout.node_M != rollout.topology.index(rollout.topology.output)
            costs_M += self.silence_cost * (silent_M & hidden_M)
        return rollout.by_call(costs_M)
