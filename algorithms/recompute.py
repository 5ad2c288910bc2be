"""Activation checkpointing: a decoder layer that keeps its input only and runs once more in the backward pass.

The first run is one without gradients, so that nothing else of the layer is kept; the second, on the same input through
the same adapters, is differentiated at once and forgotten. Peak memory falls from all layers' activations to one
layer's, for about one more forward pass (Chen et al., arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from neuromas_env.errors import BackboneError

if TYPE_CHECKING:
    from .backbone import Route, Router

Routed = Callable[["Route | None"], AbstractContextManager[None]]


class Recomputed:
    """The forward method of a decoder layer whose activations are not kept. `routed` puts a route in force."""

    def __init__(self, layer: nn.Module, router: Router, routed: Routed) -> None:
        self.plain, self.router, self.routed = layer.forward, router, routed

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        route = self.router.route
        if route is None or not torch.is_grad_enabled():
            return self.plain(x, *args, **kwargs)

        def run(x: Tensor) -> Tensor:
            with self.routed(route):  # in the backward pass none is
                y = self.plain(x, *args, **kwargs)
            if not isinstance(y, Tensor):
                raise BackboneError("activations cannot be recomputed: a decoder layer returns more than one tensor")
            return y

        return _Recompute.apply(x, route.leaf, run)


class _Recompute(torch.autograd.Function):
    """run(x), differentiated by running it again. The gradients of adapters are added within (`routing._Routed`)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, leaf: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.leaf, ctx.run, ctx.version = leaf, run, leaf._version
        return run(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:
        if ctx.leaf._version != ctx.version:  # the second run would be another function than the first
            raise RuntimeError("the adapters were changed between the forward and the backward pass")
        x = ctx.saved_tensors[0].detach().requires_grad_(ctx.needs_input_grad[0])
        with torch.enable_grad():
            y = ctx.run(x)
        torch.autograd.backward(y, grad)
        return x.grad, None, None
