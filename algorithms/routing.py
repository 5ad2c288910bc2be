"""How a flat batch of tokens, sorted by node, passes through a linear layer with stacked adapters.

Where the backbone is small, each node's low-rank product is merged into its own copy of the frozen weights (kept up to
date with the adapters), so that the forward pass and the gradient of the input cost one matrix product each; the
gradients of A and B are computed from the saved inputs by thin products. Where it is large, nothing is merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .products import linear, linear_into

Segment = tuple[int, int, int]  # (node, start, stop): the flat tokens of one node


Views = tuple[Tensor, tuple[Tensor, ...]]


class Group:
    """Linear layers that read the same input: `a` [N, k·R, d_in] and one of `bs` [N, d_out, R] for each, views on the
    rows of all parameters; `grad_a` and `grad_bs` are the same views on the gradients."""

    def __init__(self, linears: tuple[nn.Linear, ...], rank: int, values: Views, grads: Views) -> None:
        self.linears, self.rank = linears, rank
        (self.a, self.bs), (self.grad_a, self.grad_bs) = values, grads
        self.names: tuple[str, ...] = tuple(str(linear.site) for linear in linears)
        self.merged: list[Tensor] = []  # of each layer [N, d_out, d_in]

    def update_merged(self, scaling: float) -> None:
        """Bring the merged weights W + scaling B A of all nodes up to date."""
        with torch.inference_mode(False), torch.no_grad():  # they serve sampling and training
            if not self.merged:
                self.merged = [x.weight.new_empty(len(self.a), *x.weight.shape) for x in self.linears]
            for i, (linear, b) in enumerate(zip(self.linears, self.bs, strict=True)):
                a = self.a[:, i * self.rank : (i + 1) * self.rank]
                torch.baddbmm(linear.weight, b, a, alpha=scaling, out=self.merged[i])


class StackedRoute:
    """The adapters of one forward pass: which tokens belong to which node."""

    def __init__(
        self,
        where: dict[str, tuple[Group, int]],
        segments: Sequence[Segment],
        scaling: float,
        merge: bool,
        leaf: Tensor,
    ) -> None:
        """`where` finds the group of a layer, and its place in it, by the layer's name; `leaf`: see `_Routed`."""
        self.where, self.segments, self.scaling, self.merge, self.leaf = where, list(segments), scaling, merge, leaf
        self.input: Tensor | None = None
        self.outputs: tuple[Tensor, ...] = ()

    def linear(self, site: str, x: Tensor) -> Tensor | None:
        """The output of layer `site`; None where it carries no adapter. The layers of a group are computed together
        at the first, from one input."""
        if site not in self.where:
            return None
        group, i = self.where[site]
        if i and self.input is x:
            return self.outputs[i]
        flat = x.reshape(-1, x.shape[-1])
        if len(flat) != self.segments[-1][2]:  # a layer of an expert, say, which sees some of the tokens only
            raise ValueError(f"layer {site} does not see every token once; its adapters cannot be routed")
        outputs = _Routed.apply(flat, self.leaf, self, group) if torch.is_grad_enabled() else self.forward(group, flat)
        outputs = tuple(y.view(*x.shape[:-1], -1) for y in outputs)
        self.input, self.outputs = (x, outputs) if len(outputs) > 1 else (None, ())
        return outputs[i]

    def forward(self, group: Group, x: Tensor) -> tuple[Tensor, ...]:
        """The outputs [L, d_out] of all layers of a group, from x [L, d_in]."""
        if self.merge:
            pairs = zip(group.linears, group.merged, strict=True)
            return tuple(self._merged(x, layer.bias, weights) for layer, weights in pairs)
        outputs = tuple(linear(x, layer.weight, layer.bias) for layer in group.linears)
        for node, start, stop in self.segments:
            hidden = linear(x[start:stop], group.a[node].to(x.dtype))
            for y, b, part in zip(outputs, group.bs, hidden.split(group.rank, 1), strict=True):
                y[start:stop].addmm_(part, b[node].to(x.dtype).t(), alpha=self.scaling)
        return outputs

    def _merged(self, x: Tensor, bias: Tensor | None, weights: Tensor) -> Tensor:
        if len(self.segments) == 1:
            return linear(x, weights[self.segments[0][0]], bias)
        y = x.new_empty(len(x), weights.shape[1])
        for node, start, stop in self.segments:
            linear_into(y[start:stop], x[start:stop], weights[node])
        return y if bias is None else y.add_(bias)


class _Routed(torch.autograd.Function):
    """StackedRoute.forward with the gradient of the input; the gradients of the adapters are added to their buffer.

    `leaf` only ties the adapters to the graph. The frozen weights get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, leaf: Tensor, route: StackedRoute, group: Group) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x)
        ctx.route, ctx.group, ctx.version = route, group, leaf._version
        outputs: tuple[Tensor, ...] = route.forward(group, x)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        (x,), route, group = ctx.saved_tensors, ctx.route, ctx.group
        if route.leaf._version != ctx.version:
            raise RuntimeError("the adapters were changed between the forward and the backward pass")
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        rank, scaling = group.rank, route.scaling
        if grad_x is not None and not route.merge:
            for i, layer in enumerate(group.linears):
                linear_into(grad_x, grads[i], layer.weight.t(), add=i > 0)
        for node, start, stop in route.segments:
            x_n, a_n = x[start:stop], group.a[node].to(x.dtype)
            hidden = linear(x_n, a_n)
            grad_hidden = torch.empty_like(hidden)
            into = None if grad_x is None else grad_x[start:stop]
            for i, b in enumerate(group.bs):
                part, cut = grads[i][start:stop], slice(i * rank, (i + 1) * rank)
                _accumulate(group.grad_bs[i][node].t(), hidden[:, cut].t(), part, scaling)
                linear_into(grad_hidden[:, cut], part, b[node].to(x.dtype).t())
                if into is not None and route.merge:
                    linear_into(into, part, group.merged[i][node].t(), add=i > 0)
            _accumulate(group.grad_a[node], grad_hidden.t(), x_n, scaling)
            if into is not None and not route.merge:
                into.addmm_(grad_hidden, a_n, alpha=scaling)
        return grad_x, None, None, None


def _accumulate(total: Tensor, left: Tensor, right: Tensor, scaling: float) -> None:
    """total += scaling · left @ right, in the precision of `total`; `left` is the one of few rows, which is faster."""
    if left.dtype == total.dtype and total.is_contiguous():
        total.addmm_(left, right, alpha=scaling)
    else:
        total.add_(left @ right, alpha=scaling)
