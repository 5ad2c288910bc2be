"""MALT: a search tree in place of a policy gradient (Motwani et al., arXiv 2412.01928).

The samples of a question form a tree (`credit tree`): of every message the network goes on several times. The value of
a message is the mean correctness of the answers below it; with a threshold it becomes a label. Each node n then learns
from its own labelled messages, apart from the others, by imitation of the good ones and by preference between good and
bad ones that answered the same prompt:

    L_n = 1 / samples_n · [ - sft · Σ_good 1 / |m| · Σ_t m_t log π(token_t)
                            + dpo · Σ_prompts mean over its pairs (good, bad) of - log σ(β (Δ_good - Δ_bad)) ]
    Δ = Σ_t m_t (log π(token_t) - log π_ref(token_t))          (Rafailov et al., arXiv 2305.18290, equation 7)

1. The original collects one tree a question with the untrained models, then trains each offline: first by imitation,
   then by preference against the imitating model. Here every batch is a fresh tree, both terms act together, and π_ref
   is the policy that sampled the batch. With one step a batch both sides of a pair are still at π_ref, and the second
   term is a contrast of fixed weight; `epochs` of 2 or more make it a real preference loss.
2. The original has the roles generator, verifier and refiner, and prompts for each; here a node has no role.
3. A message whose prompt has no message of the other label is imitated if it is good, and else teaches nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .algorithm import Algorithm, FloatArray, Minibatch, Options, check_group

if TYPE_CHECKING:
    from torch import Tensor

    from .rollout import Rollout


@dataclass(frozen=True)
class MALTConfig(Options):
    threshold: float = 0.5
    """The least value of a good message."""
    sft: float = 1.0
    """Weight of the imitation of good messages."""
    dpo: float = 1.0
    """Weight of the preference of good messages over bad ones."""
    beta: float = 0.1
    """How sharply preferences are told apart."""

    def __post_init__(self) -> None:
        self._check("threshold", 0 < self.threshold <= 1, "more than 0, at most 1")
        self._check("sft", self.sft >= 0, "0 or more")
        self._check("dpo", self.dpo >= 0, "0 or more")
        self._check("beta", self.beta > 0, "more than 0")


class MALT(Algorithm):
    name: ClassVar[str] = "malt"
    Config = MALTConfig
    config: MALTConfig
    takes_epochs: ClassVar[bool] = True
    credit: ClassVar[str] = "tree"
    whole_questions: ClassVar[bool] = True

    def prepare(self, *, samples: int, epochs: int, max_tokens: int) -> None:
        super().prepare(samples=samples, epochs=epochs, max_tokens=max_tokens)
        check_group(self.name, samples)

    def advantages(self, rewards_QG: FloatArray) -> FloatArray:
        """Labels: 1 for good samples of a question, -1 for bad ones where it has a good one too, else 0."""
        return np.stack([self._labels(values_G) for values_G in rewards_QG])

    def assign(self, rollout: Rollout, rewards_QGC: FloatArray) -> FloatArray:
        """The labels of messages, each compared with those that answered the same prompt."""
        values_M = rollout.by_message(rewards_QGC)
        labels_M = np.zeros(len(values_M))
        prompts: dict[Hashable, list[int]] = {}
        for row, sample in enumerate(rollout.samples):
            prompts.setdefault(sample.context, []).append(row)
        for rows in prompts.values():
            labels_M[rows] = self._labels(values_M[rows])
        return rollout.by_call(labels_M)

    def _labels(self, values_K: FloatArray) -> FloatArray:
        good_K = values_K >= self.config.threshold
        return np.where(good_K, 1.0, -1.0 if good_K.any() else 0.0)

    def loss(self, batch: Minibatch) -> Tensor:
        """Raises ValueError without `contexts_M`: pairs are made of samples that answered one prompt."""
        from torch.nn.functional import logsigmoid

        if batch.contexts_M is None:
            raise ValueError("the loss of 'malt' pairs samples of one prompt: contexts_M is needed")
        config, mask_MT = self.config, batch.mask_MT
        good_M, bad_M = batch.advantages_M > 0, batch.advantages_M < 0
        imitation_M = -(batch.logprobs_MT * mask_MT).sum(1) / mask_MT.sum(1)
        loss = config.sft * (good_M * imitation_M / batch.denominators_M).sum()
        gain_M = config.beta * ((batch.logprobs_MT - batch.old_logprobs_MT) * mask_MT).sum(1)
        for context in batch.contexts_M.unique():
            here_M = (batch.contexts_M == context).to(good_M.device)
            good_K, bad_K = gain_M[here_M & good_M], gain_M[here_M & bad_M]
            if len(good_K) and len(bad_K):
                pairs_KK = -logsigmoid(good_K[:, None] - bad_K[None, :])
                loss = loss + config.dpo * pairs_KK.mean() / batch.denominators_M[here_M][0]
        return loss

    def denominators(self, tokens_N: FloatArray, samples_N: FloatArray) -> FloatArray:
        return samples_N

    def statistics(self, batch: Minibatch) -> dict[str, Tensor]:
        """`good`: the share of tokens in good messages; `kl`, of the sampling to the new policy."""
        log_ratio_MT = batch.logprobs_MT - batch.old_logprobs_MT
        good_MT = (batch.advantages_M > 0)[:, None].expand_as(log_ratio_MT)
        return {"good": good_MT.to(log_ratio_MT), "kl": log_ratio_MT.expm1() - log_ratio_MT}
