"""REINFORCE with a baseline: every node of the network is pushed by the same terminal reward (arXiv 2605.16757).

For node n, with A the advantage of an episode and m the mask of the tokens the node sampled in it,

    L_n = - (1 / D_n) · Σ_samples A · Σ_t m_t · log π_n(token_t | prompt, tokens before t),    A = R - b

1. The paper's baseline b is the mean reward of the batch; the mean of the question's own samples (`group`) and a
   running mean over updates (`running`) are alternatives.
2. Ours, not the paper's: A is divided by its standard deviation (`normalize`), which keeps one learning rate right
   while the reward climbs, and D_n is the number of tokens node n sampled in the batch (`denominator`).
3. One gradient step follows each batch, so sampler and trainer are the same policy and no ratio is needed; the log
   probabilities are taken at the sampling temperature.
4. No KL term and no reward for the format: the answer's format is learnt from the reward within a few updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from .algorithm import Algorithm, FloatArray, Minibatch, policy_gradient_loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ReinforceConfig:
    baseline: Literal["batch", "group", "running"] = "batch"
    """What is subtracted from the reward: the batch's mean, the mean of the question's samples, or a running mean."""
    normalize: bool = True
    """Divide advantages by their standard deviation: within the question for `group`, over the batch otherwise."""
    denominator: Literal["tokens", "samples"] = "tokens"
    """What a node's loss is averaged over: the tokens it sampled in the batch, or its samples."""
    decay: float = 0.9
    """How much of the running baseline is kept at each update; the other baselines do not use it."""


class Reinforce(Algorithm):
    name: ClassVar[str] = "reinforce"
    Config = ReinforceConfig
    config: ReinforceConfig

    def __init__(self, config: ReinforceConfig | None = None) -> None:
        super().__init__(config)
        self.running_mean: float | None = None

    @property
    def per_node(self) -> bool:
        return self.config.baseline != "running"  # one running mean, of the reward that all nodes share

    def advantages(self, rewards_QG: FloatArray) -> FloatArray:
        config = self.config
        axis = 1 if config.baseline == "group" else None
        mean = rewards_QG.mean(axis=axis, keepdims=True)
        # Equal rewards carry no signal, though rounding may put their mean beside them and their spread above zero.
        equal = np.ptp(rewards_QG, axis=axis, keepdims=True) == 0.0
        if config.baseline == "running":
            baseline = float(mean.item()) if self.running_mean is None else self.running_mean
            self.running_mean = config.decay * baseline + (1.0 - config.decay) * float(mean.item())
            centred_QG = rewards_QG - baseline
        else:
            centred_QG = np.where(equal, 0.0, rewards_QG - mean)
        if not config.normalize:
            return centred_QG
        spread = rewards_QG.std(axis=axis, keepdims=True)
        return centred_QG / np.where(equal, 1.0, spread)

    def loss(self, batch: Minibatch) -> Tensor:
        return policy_gradient_loss(batch)

    def denominators(self, tokens_N: FloatArray, samples_N: FloatArray) -> FloatArray:
        return tokens_N if self.config.denominator == "tokens" else samples_N

    def logs(self, rewards_QG: FloatArray, advantages_QG: FloatArray) -> dict[str, float]:
        return {} if self.running_mean is None else {"running_mean": self.running_mean}

    def state(self) -> dict[str, Any]:
        return {"running_mean": self.running_mean}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.running_mean = state["running_mean"]
