"""Adam on stacked adapters, where every node is on its own: its step count, its gradient norm, its moments.

Kingma and Ba, 2014 (arXiv:1412.6980), with decoupled weight decay (arXiv:1711.05101). A node that is not active in a
step keeps its parameters and its state bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .adapters import StackedAdapters


class StackedAdam:
    """Adam over the rows of `adapters.flat_NP`. `learning_rate` may be set between steps."""

    def __init__(
        self,
        adapters: StackedAdapters,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.adapters, self.learning_rate, self.betas, self.eps = adapters, learning_rate, betas, eps
        self.weight_decay = weight_decay
        self.steps_N = torch.zeros(adapters.num_nodes, dtype=torch.int64)
        self.mean_NP = torch.zeros_like(adapters.flat_NP)
        self.square_NP = torch.zeros_like(adapters.flat_NP)

    @torch.no_grad()
    def step(self, active_N: Sequence[bool] | Tensor | None = None, max_norm: float | None = None) -> Tensor:
        """Clip each active node's gradient to `max_norm` and move it; returns the norms [N] before clipping.

        `active_N` defaults to all nodes. Gradients are not cleared. Raises ValueError when an active node's gradient
        is not finite, before anything has moved.
        """
        active = [True] * self.adapters.num_nodes if active_N is None else [bool(a) for a in active_N]
        norms_N = torch.linalg.vector_norm(self.adapters.grad_NP, dim=1)
        norms = norms_N.tolist()  # at once: on a GPU each look at a value waits for it
        bad = [i for i, a in enumerate(active) if a and not math.isfinite(norms[i])]
        if bad:
            raise ValueError(f"the gradient of node {bad[0]} is not finite; nothing was changed")
        beta1, beta2 = self.betas
        for node, norm in enumerate(norms):
            if not active[node]:
                continue
            self.steps_N[node] += 1
            step = int(self.steps_N[node])
            grad_P, row_P = self.adapters.grad_NP[node], self.adapters.flat_NP[node]
            if max_norm is not None and norm > max_norm:
                grad_P = grad_P * (max_norm / (norms_N[node] + 1e-6))
            mean_P, square_P = self.mean_NP[node], self.square_NP[node]
            mean_P.lerp_(grad_P, 1 - beta1)
            square_P.mul_(beta2).addcmul_(grad_P, grad_P, value=1 - beta2)
            if self.weight_decay:
                row_P.mul_(1 - self.learning_rate * self.weight_decay)
            denominator = (square_P.sqrt() / (1 - beta2**step) ** 0.5).add_(self.eps)
            row_P.addcdiv_(mean_P, denominator, value=-self.learning_rate / (1 - beta1**step))
        return norms_N

    def zero_grad(self) -> None:
        self.adapters.zero_grad()

    def state_dict(self) -> dict[str, Tensor]:
        """The whole state as tensors (copies), fit for safetensors."""
        return {"steps_N": self.steps_N.clone(), "mean_NP": self.mean_NP.clone(), "square_NP": self.square_NP.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state. Raises ValueError when a tensor is missing or has another shape."""
        for name in ("steps_N", "mean_NP", "square_NP"):
            mine = getattr(self, name)
            if name not in state or state[name].shape != mine.shape:
                raise ValueError(f"the optimizer state has no {name} of shape {tuple(mine.shape)}")
            mine.copy_(state[name])
