"""MAGRPO: multi-agent group relative policy optimisation (Liu et al., arXiv 2508.04652).

All nodes share the joint return R of an episode, and a sample is compared with the other samples of its question:

    A_i = R_i - mean of the question,    L_n = - 1 / samples_n · Σ_samples A_i · Σ_t m_t log π_n(token_t)

1. No ratio, no clipping, no division by the spread, and whole messages: a node is pushed by the sum over its tokens.
2. The original samples G messages of each agent and pairs them by number; here an episode's messages are paired anyway,
   because later nodes hear earlier ones.
3. One turn: the topology is the only depth. `reinforce` with `baseline group normalize false denominator samples` has
   the same gradient; the name stands for the published settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .algorithm import Algorithm, FloatArray, Minibatch, check_group, policy_gradient_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MAGRPOConfig:
    """It has no options."""


class MAGRPO(Algorithm):
    name: ClassVar[str] = "magrpo"
    Config = MAGRPOConfig

    def prepare(self, *, samples: int, epochs: int, max_tokens: int) -> None:
        super().prepare(samples=samples, epochs=epochs, max_tokens=max_tokens)
        check_group(self.name, samples)

    def advantages(self, rewards_QG: FloatArray) -> FloatArray:
        check_group(self.name, rewards_QG.shape[1])
        # Equal rewards carry no signal, though rounding may put their mean beside them.
        equal_Q1 = np.ptp(rewards_QG, axis=1, keepdims=True) == 0.0
        return np.where(equal_Q1, 0.0, rewards_QG - rewards_QG.mean(axis=1, keepdims=True))

    def loss(self, batch: Minibatch) -> Tensor:
        return policy_gradient_loss(batch)

    def denominators(self, tokens_N: FloatArray, samples_N: FloatArray) -> FloatArray:
        return samples_N
