"""A critic that reads prompts: the reward to expect from what is known so far.

    V(prompt) = w · h + b,    h the last hidden state, after the final norm, at the prompt's last token

read through one adapter of the critic's own on the network's frozen backbone. Adapter and head are no part of the
network: its stack, its parameters and its folder are those of a network without a critic. The head starts at zero, so
that the first values are 0. With V_old the values before the batch's first step and y the targets, each of M messages
adds to the loss (Schulman et al., arXiv 1707.06347, clipped as in its published code)

    1 / M · 0.5 · max((V - y)², (V_clip - y)²),    V_clip = V_old + clamp(V - V_old, -value_clip, value_clip)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neuromas_env.errors import BackboneError, CheckpointError

from .adapters import StackedAdapters
from .algorithm import FloatArray
from .backbone import Backbone
from .errors import NotFiniteError
from .packing import MicroBatch, TrainSample, pack

BETAS = (0.9, 0.95)  # as the network's Adam
MAX_NORM = 1.0
VALUE_TOKENS = 16384  # flat tokens of one pass without gradients


class Prompt(NamedTuple):
    """What the critic reads. Prompts of one question, which begin alike, are read together."""

    question: int
    ids: tuple[int, ...]


class Critic:
    """One adapter of `rank`, seeded, and a linear head on `backbone`; Adam over both, clipped to one norm."""

    def __init__(self, backbone: Backbone, rank: int, seed: int = 0) -> None:
        self.backbone = backbone
        self.adapters = StackedAdapters(backbone, 1, rank, alpha=2.0 * rank, seed=seed)
        like, width = self.adapters.flat_NP, backbone.model.config.get_text_config().hidden_size
        self.weight, self.bias = nn.Parameter(like.new_zeros(width)), nn.Parameter(like.new_zeros(()))
        self.named = {"adapter": self.adapters.parameter, "weight": self.weight, "bias": self.bias}
        self.optimizer = torch.optim.Adam(self.named.values(), lr=0.0, betas=BETAS)
        for parameter in self.named.values():  # now, so that a checkpoint has the same tensors before the first step
            moments = {name: torch.zeros_like(parameter.detach()) for name in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {"step": torch.zeros(()), **moments}

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.named.values())

    @torch.no_grad()
    def values(self, prompts_M: Sequence[Prompt]) -> FloatArray:
        """The value [M] of every prompt. Raises NotFiniteError for one that is no number, BackboneError for a prompt
        that the backbone cannot hold."""
        values_M = np.zeros(len(prompts_M))
        for part, rows, places in self._parts(prompts_M, VALUE_TOKENS):
            values_M[rows] = self._read(part)[places].double().cpu().numpy()
        if not np.isfinite(values_M).all():
            raise NotFiniteError("a value of the critic is not finite")
        return values_M

    def fit(
        self,
        prompts_M: Sequence[Prompt],
        old_values_M: FloatArray,
        targets_M: FloatArray,
        *,
        learning_rate: float,
        epochs: int = 1,
        value_clip: float = 0.0,
        micro_batch_tokens: int = 4096,
    ) -> dict[str, float]:
        """`epochs` steps of the whole batch towards `targets_M`. `value_clip` 0 clips nothing.

        Returns the loss and the norm of the gradient (before clipping) of the first step, and the share of the targets'
        variance that the values before it explain (0 where all targets are equal). Raises NotFiniteError before the
        step that would go nowhere; steps before it stand.
        """
        parts, seen = self._parts(prompts_M, micro_batch_tokens), []
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        for _ in range(epochs):
            self.optimizer.zero_grad(set_to_none=False)  # the adapter's gradient is a buffer that must stay
            loss = 0.0
            for part, rows, places in parts:
                values_K = self._read(part)[places]
                old_K, targets_K = (torch.from_numpy(x_M[rows]).to(values_K) for x_M in (old_values_M, targets_M))
                part_loss = value_loss(values_K, old_K, targets_K, value_clip).sum() / len(prompts_M)
                part_loss.backward()
                loss += part_loss.item()
            norm = float(nn.utils.clip_grad_norm_(self.named.values(), MAX_NORM))
            if not (np.isfinite(loss) and np.isfinite(norm)):
                raise NotFiniteError("the loss of the critic is not finite")
            self.optimizer.step()
            seen.append((loss, norm))
        return {
            "value_loss": seen[0][0],
            "explained_variance": explained_variance(old_values_M, targets_M),
            "critic_gradient_norm": seen[0][1],
        }

    def _read(self, part: MicroBatch) -> Tensor:
        """The values [K] of the prompts in a micro-batch."""
        packed = part.packed.to(self.backbone.device)
        route, keep_K = self.adapters.route(packed.segments), part.keep_K.to(self.backbone.device)
        hidden_Kd = self.backbone.features(
            packed.input_ids_L, packed.position_ids_L, keep_K, packed.layout(), route
        )  # fmt: skip
        return hidden_Kd.to(self.weight.dtype) @ self.weight + self.bias

    def _parts(self, prompts_M: Sequence[Prompt], tokens: int) -> list[tuple[MicroBatch, np.ndarray, np.ndarray]]:
        """Micro-batches of the distinct prompts; with each, the rows of M that it answers and their places in it."""
        distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts_M))}
        longest, limit = max(len(prompt.ids) for prompt in distinct), self.backbone.max_length
        if limit is not None and longest >= limit:
            raise BackboneError(
                f"a prompt of the critic takes {longest} tokens; backbone {self.backbone.name!r} holds {limit}"
            )
        # The place that predicts a completion's first token is the prompt's last; that token itself is never read.
        unread = [self.backbone.pad_id]
        samples = [TrainSample(0, prompt.question, list(prompt.ids), unread) for prompt in distinct]
        distinct_M = np.array([distinct[prompt] for prompt in prompts_M])
        parts = []
        for part in pack(samples, tokens):
            place_of = np.full(len(distinct), -1)
            place_of[part.samples] = np.arange(len(part.samples))
            rows = np.flatnonzero(place_of[distinct_M] >= 0)
            parts.append((part, rows, place_of[distinct_M[rows]]))
        return parts

    # ------------------------------------------------------------------ checkpoints

    def tensors(self) -> dict[str, Tensor]:
        """Everything that it has learnt and that its optimizer remembers, as copies."""
        return {name: tensor.detach().clone() for name, tensor in self._all().items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors()`. Raises CheckpointError for those of another critic."""
        mine = self._all()
        wrong = sorted(set(mine) ^ set(tensors)) or sorted(n for n in mine if mine[n].shape != tensors[n].shape)
        if wrong:
            raise CheckpointError(f"the critic in the checkpoint is another one: {len(wrong)} tensors differ, first "
                                  f"{wrong[0]}")  # fmt: skip
        with torch.no_grad():
            for name, tensor in mine.items():
                tensor.copy_(tensors[name])

    def _all(self) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        for name, parameter in self.named.items():
            named[f"critic.{name}"] = parameter
            named |= {f"critic.{name}.{key}": tensor for key, tensor in self.optimizer.state[parameter].items()}
        return named


def value_loss(values_M: Tensor, old_values_M: Tensor, targets_M: Tensor, value_clip: float) -> Tensor:
    """Half the squared error of each value, or that of the clipped value where it is larger (see the module)."""
    error_M = (values_M - targets_M).square()
    if value_clip:
        clipped_M = old_values_M + (values_M - old_values_M).clamp(-value_clip, value_clip)
        error_M = error_M.maximum((clipped_M - targets_M).square())
    return 0.5 * error_M


def explained_variance(values_M: FloatArray, targets_M: FloatArray) -> float:
    """1 - Var(y - V) / Var(y); 0 where all targets are equal."""
    if np.ptp(targets_M) == 0.0:
        return 0.0
    return float(1.0 - np.var(targets_M - values_M) / np.var(targets_M))
