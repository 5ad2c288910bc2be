"""GRPO and its relatives: rewards compared within a question, and ratios that allow several steps on one batch.

With ρ_t = π(token_t) / π_old(token_t), where π_old is the policy that sampled, m the mask of sampled tokens and |m| a
sample's length, each sample of node n contributes

    A_i = (R_i - mean) / (std + ε)    within its question (`scale group`), or R_i - mean (`scale none`)
    J_t = min(ρ_t A, clamp(ρ_t, 1 - clip_low, 1 + clip_high) A)             `loss clip`
    J_t = sg(min(ρ_t, cispo_max)) A log π(token_t)                          `loss cispo`; sg stops the gradient
    ρ_t = exp(1 / |m| · Σ_u m_u log ρ_u), the same for every token          `ratio sequence`

    L_n = - 1 / samples_n · Σ_samples 1 / |m| · Σ_t m_t J_t                 `aggregate sample`
    L_n = - 1 / tokens_n · Σ_samples Σ_t m_t J_t                            `aggregate tokens`
    L_n = - 1 / (samples_n · length) · Σ_samples Σ_t m_t J_t                `aggregate constant`

    name     paper                            scale  ratio     loss   aggregate  clip         drop_equal, resample
    grpo     Shao et al., arXiv 2402.03300    group  token     clip   sample     0.2, 0.2     no, 0
    dr-grpo  Liu et al., arXiv 2503.20783     none   token     clip   constant   0.2, 0.2     no, 0
    dapo     Yu et al., arXiv 2503.14476      group  token     clip   tokens     0.2, 0.28    yes, 3
    gspo     Zheng et al., arXiv 2507.18071   group  sequence  clip   sample     3e-4, 4e-4   no, 0
    cispo    MiniMax-M1, arXiv 2506.13585     group  token     cispo  tokens     weight ≤ 5   no, 0

The names are presets: each takes every option. In the first pass over a batch all ratios are 1 up to rounding, nothing
is clipped, and `gspo` has the gradient of `grpo`, `cispo` that of `dapo` without `drop_equal`: they are told apart only
by `epochs` of 2 or more.

1. Every pass takes the whole batch in one gradient step; the papers cut a batch into mini-batches.
2. DAPO samples on until the batch is full of questions with signal. Here at most `resample` further batches are drawn
   for it (resampling.py); what still has no signal is left out of the batch and of its denominators (`drop_equal`). Its
   penalty for long messages is left out; leaving cut messages out of the loss is the trainer's `mask_truncated`.
3. No KL to the backbone: DAPO and Dr.GRPO drop it too, GRPO has it.
4. samples_n and tokens_n are counted for each node apart, since nodes write messages of very different lengths.
5. The spread is the sample standard deviation (over G - 1), with ε = 1e-4. The bound of CISPO is on the ratio itself;
   its paper leaves the value open.
6. The backbone in half precision moves log-probabilities by more than GSPO's clip allows: watch `ratio`, or widen it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from neuromas_env.errors import UsageError

from .algorithm import Algorithm, FloatArray, Minibatch, Options, check_group

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-4
Scale = Literal["group", "none"]
Ratio = Literal["token", "sequence"]
Loss = Literal["clip", "cispo"]
Aggregate = Literal["sample", "tokens", "constant"]


@dataclass(frozen=True)
class GRPOConfig(Options):
    scale: Scale = "group"
    """Divide advantages by the standard deviation of the question's rewards, or do not."""
    ratio: Ratio = "token"
    """The ratio of new to old policy: of each token, or the geometric mean over the message."""
    loss: Loss = "clip"
    """Clip the ratio's objective, or weight the log-probability by the bounded ratio (CISPO)."""
    aggregate: Aggregate = "sample"
    """What a node's loss is averaged over: tokens within each sample, then samples; all tokens; a constant length."""
    clip_low: float = 0.2
    """How far below 1 the ratio still earns."""
    clip_high: float = 0.2
    """How far above 1 the ratio still earns."""
    cispo_max: float = 5.0
    """The largest weight of a token in the CISPO loss."""
    length: int = 0
    """The constant of `aggregate constant` in tokens; 0 is the longest message that the run allows."""
    drop_equal: bool = False
    """Leave questions whose samples all have the same reward out of the denominators too."""
    resample: int = 0
    """Further batches drawn at most to fill this one with questions whose samples differ in reward."""

    def __post_init__(self) -> None:
        self._check("clip_low", 0 <= self.clip_low <= 1, "0 to 1")
        self._check("clip_high", self.clip_high >= 0, "0 or more")
        self._check("cispo_max", self.cispo_max > 0, "more than 0")
        self._check("resample", self.resample >= 0, "0 or more")
        self._check("length", self.length >= 0, "a whole number from 1, or 0 for the longest message")


@dataclass(frozen=True)
class DrGRPOConfig(GRPOConfig):
    scale: Scale = "none"
    aggregate: Aggregate = "constant"


@dataclass(frozen=True)
class DAPOConfig(GRPOConfig):
    aggregate: Aggregate = "tokens"
    clip_high: float = 0.28
    drop_equal: bool = True
    resample: int = 3


@dataclass(frozen=True)
class GSPOConfig(GRPOConfig):
    ratio: Ratio = "sequence"
    clip_low: float = 3e-4
    clip_high: float = 4e-4


@dataclass(frozen=True)
class CISPOConfig(GRPOConfig):
    loss: Loss = "cispo"
    aggregate: Aggregate = "tokens"


class GRPO(Algorithm):
    name: ClassVar[str] = "grpo"
    Config: ClassVar[type[Any]] = GRPOConfig
    config: GRPOConfig
    takes_epochs: ClassVar[bool] = True

    def __init__(self, config: GRPOConfig | None = None) -> None:
        super().__init__(config)
        self.length = self.config.length
        self.resample = self.config.resample

    def prepare(self, *, samples: int, epochs: int, max_tokens: int) -> None:
        super().prepare(samples=samples, epochs=epochs, max_tokens=max_tokens)
        check_group(self.name, samples)
        self.length = self.config.length or max_tokens

    def advantages(self, rewards_QG: FloatArray) -> FloatArray:
        check_group(self.name, rewards_QG.shape[1])
        centred_QG = rewards_QG - rewards_QG.mean(axis=1, keepdims=True)
        if self.config.scale == "group":
            centred_QG = centred_QG / (rewards_QG.std(axis=1, ddof=1, keepdims=True) + EPSILON)
        # Equal rewards carry no signal, though rounding may put their mean beside them.
        equal_Q1 = np.ptp(rewards_QG, axis=1, keepdims=True) == 0.0
        return np.where(equal_Q1, 0.0, centred_QG)

    def counted(self, advantages_QG: FloatArray) -> npt.NDArray[np.bool_]:
        if not self.config.drop_equal:
            return super().counted(advantages_QG)
        return np.repeat((advantages_QG != 0.0).any(axis=1, keepdims=True), advantages_QG.shape[1], axis=1)

    def denominators(self, tokens_N: FloatArray, samples_N: FloatArray) -> FloatArray:
        if self.config.aggregate == "tokens":
            return tokens_N
        if self.config.aggregate == "sample":
            return samples_N
        if not self.length:
            raise UsageError(f"the algorithm {self.name!r} outside the trainer needs the option 'length', in tokens")
        return samples_N * self.length

    def loss(self, batch: Minibatch) -> Tensor:
        config, mask_MT = self.config, batch.mask_MT
        advantages_M1 = batch.advantages_M[:, None]
        ratio_MT = self._ratio(batch)
        if config.loss == "cispo":
            objective_MT = ratio_MT.detach().clamp(max=config.cispo_max) * advantages_M1 * batch.logprobs_MT
        else:
            objective_MT = clipped_objective(ratio_MT, advantages_M1, config.clip_low, config.clip_high)
        objective_M = (objective_MT * mask_MT).sum(1)
        if config.aggregate == "sample":
            objective_M = objective_M / mask_MT.sum(1)
        return -(objective_M / batch.denominators_M).sum()

    def statistics(self, batch: Minibatch) -> dict[str, Tensor]:
        """`ratio`; `clipped`, 1 where the bound holds; `kl`, of old to new policy, as ρ - 1 - log ρ of each token."""
        config = self.config
        ratio_MT = self._ratio(batch)
        if config.loss != "cispo":
            return ratio_statistics(batch, ratio_MT, config.clip_low, config.clip_high)
        clipped_MT = (ratio_MT > config.cispo_max).to(ratio_MT)
        return ratio_statistics(batch, ratio_MT, 1.0, float("inf")) | {"clipped": clipped_MT}

    def _ratio(self, batch: Minibatch) -> Tensor:
        """New over old probability [M, T], of every token or, the same for all of them, of the sequence."""
        if self.config.ratio == "token":
            return token_ratio(batch)
        log_ratio_MT = (batch.logprobs_MT - batch.old_logprobs_MT) * batch.mask_MT
        mean_M = log_ratio_MT.sum(1) / batch.mask_MT.sum(1)
        return mean_M.exp()[:, None].expand_as(log_ratio_MT)


def token_ratio(batch: Minibatch) -> Tensor:
    """New over old probability of each token [M, T], 1 on padding."""
    return ((batch.logprobs_MT - batch.old_logprobs_MT) * batch.mask_MT).exp()


def clipped_objective(ratio_MT: Tensor, advantages_M1: Tensor, low: float, high: float) -> Tensor:
    """min(ρ A, clamp(ρ, 1 - low, 1 + high) A) of each token (Schulman et al., arXiv 1707.06347, equation 7)."""
    return (ratio_MT * advantages_M1).minimum(ratio_MT.clamp(1.0 - low, 1.0 + high) * advantages_M1)


def ratio_statistics(batch: Minibatch, ratio_MT: Tensor, low: float, high: float) -> dict[str, Tensor]:
    """`ratio`; `clipped`, 1 where the clipped objective is flat; `kl` of old to new policy, as ρ - 1 - log ρ."""
    low_MT = (ratio_MT < 1.0 - low) & (batch.advantages_M < 0)[:, None]
    high_MT = (ratio_MT > 1.0 + high) & (batch.advantages_M > 0)[:, None]
    log_ratio_MT = batch.logprobs_MT - batch.old_logprobs_MT
    return {
        "ratio": ratio_MT,
        "clipped": (low_MT | high_MT).to(ratio_MT),
        "kl": log_ratio_MT.expm1() - log_ratio_MT,
    }


class DrGRPO(GRPO):
    name: ClassVar[str] = "dr-grpo"
    Config = DrGRPOConfig


class DAPO(GRPO):
    name: ClassVar[str] = "dapo"
    Config = DAPOConfig


class GSPO(GRPO):
    name: ClassVar[str] = "gspo"
    Config = GSPOConfig


class CISPO(GRPO):
    name: ClassVar[str] = "cispo"
    Config = CISPOConfig
