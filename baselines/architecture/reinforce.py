"""REINFORCE over independent choices, as GPTSwarm learns its edges (Zhuge et al., arXiv 2402.16823).

Each indicator of the coding has log-odds of 0 at the start. A batch of actions is drawn, and the log-odds move by the
gradient of the batch's expected reward, with Adam. The baseline is the mean reward of everything drawn before.
"""

from __future__ import annotations

import numpy as np
import torch

from .coding import Coding


def policy_gradient(probabilities_K: np.ndarray, drawn_BK: np.ndarray, advantages_B: np.ndarray) -> np.ndarray:
    """The mean over B actions of the advantage times the gradient of the action's log-probability, [K].

    For a softmax over options the derivative of a log-probability is 1 − p for the option that was drawn and −p for
    each that was not.
    """
    return np.asarray((advantages_B[:, None] * (drawn_BK - probabilities_K)).mean(axis=0))


class ReinforcePolicy:
    """A distribution over actions, and how it learns from what they earned."""

    def __init__(self, coding: Coding, learning_rate: float) -> None:
        self.coding = coding
        self._logits_K = torch.zeros(len(coding.option_K), dtype=torch.float64)
        self._optimizer = torch.optim.Adam([self._logits_K], lr=learning_rate)
        self._rewards: list[float] = []

    @property
    def probabilities_K(self) -> np.ndarray:
        return self.coding.probabilities(self._logits_K.numpy())

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Actions, [count, F]."""
        return self.coding.draw(rng, self.probabilities_K, count)

    def learn(self, actions_BF: np.ndarray, rewards_B: np.ndarray) -> None:
        """One step of Adam. The first batch is its own baseline."""
        baseline = np.mean(self._rewards if self._rewards else rewards_B)
        self._rewards += np.asarray(rewards_B).tolist()
        gradient_K = policy_gradient(self.probabilities_K, self.coding.encode(actions_BF), rewards_B - baseline)
        self._logits_K.grad = -torch.from_numpy(gradient_K)  # the optimiser descends
        self._optimizer.step()
