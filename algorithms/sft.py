"""SFT: fine-tuning on the network's own right answers, which is rejection sampling (arXiv 2308.01825, 2304.06767).

Episodes are sampled from the policy, those whose reward reaches the threshold are kept, and every node imitates what
it said in them:

    L_n = - 1 / good_n · Σ_good 1 / |m| · Σ_t m_t log π_n(token_t),    good_n: the messages of node n that are kept

1. Yuan et al. (RFT, 2308.01825) sample once from the model that training starts from; Dong et al. (RAFT, 2304.06767)
   sample anew from the policy of every round. Here every batch is a fresh round, and `epochs` passes go over it.
2. Nothing is learnt from wrong episodes, and a batch without a right one moves nothing. REINFORCE with the rewards 1
   and 0 and no baseline has the same direction, apart from the weight of a message by its length.
3. All kept samples count the same, so that questions which are often right are imitated more often. RFT keeps distinct
   samples only; messages of a few tokens would then leave little to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from .algorithm import Algorithm, FloatArray, Minibatch, Options

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SFTConfig(Options):
    threshold: float = 1.0
    """The least reward of an episode that is imitated."""

    def __post_init__(self) -> None:
        self._check("threshold", 0 < self.threshold <= 1, "more than 0, at most 1")


class SFT(Algorithm):
    name: ClassVar[str] = "sft"
    Config = SFTConfig
    config: SFTConfig
    takes_epochs: ClassVar[bool] = True

    def advantages(self, rewards_QG: FloatArray) -> FloatArray:
        """1 for what is imitated, 0 for what is left out."""
        # Sums of rewards that should be 1 may fall short of it by rounding.
        return (rewards_QG >= self.config.threshold - 1e-9).astype(np.float64)

    def counted(self, advantages_QG: FloatArray) -> npt.NDArray[np.bool_]:
        return advantages_QG > 0

    def loss(self, batch: Minibatch) -> Tensor:
        imitation_M = -(batch.logprobs_MT * batch.mask_MT).sum(1) / batch.mask_MT.sum(1)
        return (batch.advantages_M * imitation_M / batch.denominators_M).sum()

    def denominators(self, tokens_N: FloatArray, samples_N: FloatArray) -> FloatArray:
        return np.maximum(samples_N, 1.0)  # a node may have nothing to imitate

    def logs(self, rewards_QG: FloatArray, advantages_QG: FloatArray) -> dict[str, float]:
        return {"imitated": float((advantages_QG > 0).mean())}
