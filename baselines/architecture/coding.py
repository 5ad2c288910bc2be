"""Actions as numbers: every choice of an action as indicators of its options, all but the first (dummy coding).

An action is a choice for each of F factors: a bit an edge, or one of several options. Factor f with n options has
n − 1 of the K indicators, and its option 0 is where all of them are 0. So an edge is one indicator, a regression on the
indicators has no redundant column, and a distribution is one log-odds an indicator, each against option 0.
"""

from __future__ import annotations

import numpy as np


class Coding:
    """The coding of factors with `sizes_F` options each. Dimension suffixes: B actions, F factors, K indicators."""

    def __init__(self, sizes_F: np.ndarray) -> None:
        self.sizes_F = np.asarray(sizes_F, int)
        self.factor_K = np.repeat(np.arange(len(self.sizes_F)), self.sizes_F - 1)
        self.option_K = np.concatenate([np.arange(1, size) for size in self.sizes_F]).astype(int)

    def encode(self, actions_BF: np.ndarray) -> np.ndarray:
        """Which indicators are on in each action, [B, K]."""
        return (np.asarray(actions_BF)[:, self.factor_K] == self.option_K).astype(float)

    def probabilities(self, logits_K: np.ndarray) -> np.ndarray:
        """The probability [K] of each indicator's option: a softmax in each factor, where option 0 has log-odds 0.

        With two options that is the sigmoid.
        """
        highest_F = np.zeros(len(self.sizes_F))
        np.maximum.at(highest_F, self.factor_K, logits_K)
        weights_K = np.exp(logits_K - highest_F[self.factor_K])
        total_F = np.exp(-highest_F)  # option 0
        np.add.at(total_F, self.factor_K, weights_K)
        return np.asarray(weights_K / total_F[self.factor_K])

    def draw(self, rng: np.random.Generator, probabilities_K: np.ndarray, count: int) -> np.ndarray:
        """Actions [count, F] in which every factor is drawn by itself."""
        uniform_BF = rng.random((count, len(self.sizes_F)))
        actions_BF = np.zeros(uniform_BF.shape, int)
        before_BF = np.zeros(uniform_BF.shape)
        for option in range(1, self.sizes_F.max()):
            of_option = self.option_K == option
            factors = self.factor_K[of_option]
            upto_BF = before_BF[:, factors] + probabilities_K[of_option]
            hit = (before_BF[:, factors] <= uniform_BF[:, factors]) & (uniform_BF[:, factors] < upto_BF)
            actions_BF[:, factors] += option * hit
            before_BF[:, factors] = upto_BF
        return actions_BF

    def uniform(self) -> np.ndarray:
        """The probabilities [K] of choosing among all options alike."""
        return np.asarray(1 / self.sizes_F[self.factor_K])

    def best(self, values_K: np.ndarray, base: float | np.ndarray = 0.0) -> np.ndarray:
        """The option of the highest value in each factor, [F], where option 0 is worth `base`; it wins ties."""
        action_F = np.zeros(len(self.sizes_F), int)
        best_F = np.broadcast_to(base, action_F.shape).astype(float)
        for option in range(1, self.sizes_F.max()):
            of_option = self.option_K == option
            factors, values = self.factor_K[of_option], values_K[of_option]
            better = values > best_F[factors]
            action_F[factors[better]] = option
            best_F[factors[better]] = values[better]
        return action_F

    def likeliest(self, probabilities_K: np.ndarray) -> np.ndarray:
        """The most probable option of each factor, [F]; an edge of even chances is left out."""
        base_F = np.ones(len(self.sizes_F))
        np.subtract.at(base_F, self.factor_K, probabilities_K)
        return self.best(probabilities_K, base_F)
