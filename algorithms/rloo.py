"""RLOO: REINFORCE whose baseline for a sample is the mean reward of the other samples of its question.

For node n, with m the mask of the tokens the node sampled, and G samples of each question,

    L_n = - (1 / D_n) · Σ_samples A_i · Σ_t m_t · log π_n(token_t | prompt, tokens before t)
    A_i = R_i - 1 / (G - 1) · Σ_{j ≠ i} R_j

The baseline leaves the sample itself out, so it is independent of it and the gradient is unbiased (Kool, van Hoof and
Welling, "Buy 4 REINFORCE samples, get a baseline for free!", 2019; for language models Ahmadian et al.,
arXiv 2402.14740). It equals G / (G - 1) times the reward less the question's mean: `reinforce` with
`baseline group, normalize false` takes the same direction with a shorter step.

1. No clipped ratio and one gradient step a batch, so sampler and trainer are the same policy.
2. No KL term: Ahmadian et al. put one into the reward.
3. D_n is the number of tokens node n sampled in the batch, or of its samples (`denominator`); both papers use samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from .algorithm import Algorithm, FloatArray, Minibatch, check_group, policy_gradient_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RLOOConfig:
    denominator: Literal["tokens", "samples"] = "tokens"
    """What a node's loss is averaged over: the tokens it sampled in the batch, or its samples."""


class RLOO(Algorithm):
    name: ClassVar[str] = "rloo"
    Config = RLOOConfig
    config: RLOOConfig

    def prepare(self, *, samples: int, epochs: int, max_tokens: int) -> None:
        super().prepare(samples=samples, epochs=epochs, max_tokens=max_tokens)
        check_group(self.name, samples)

    def advantages(self, rewards_QG: FloatArray) -> FloatArray:
        G = rewards_QG.shape[1]
        check_group(self.name, G)
        others_QG = (rewards_QG.sum(axis=1, keepdims=True) - rewards_QG) / (G - 1)
        # Equal rewards carry no signal, though rounding may put the mean of the others beside them.
        equal_Q1 = np.ptp(rewards_QG, axis=1, keepdims=True) == 0.0
        return np.where(equal_Q1, 0.0, rewards_QG - others_QG)

    def loss(self, batch: Minibatch) -> Tensor:
        return policy_gradient_loss(batch)

    def denominators(self, tokens_N: FloatArray, samples_N: FloatArray) -> FloatArray:
        return tokens_N if self.config.denominator == "tokens" else samples_N
