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

Segment = tuple[int, int, int]  # (node, start, stop): the flat tokens of one node


Views = tuple[Tensor, tuple[Tensor, ...]]


class Group:
    """Linear layers that read the same input: `a` [N, k·R, d_in] and one of `bs` [N, d_out, R] for each, views on the
    rows of all parameters; `grad_a` and `grad_bs` are the same views on the gradients."""

    def __init__(self, linears: tuple[nn.Linear, ...], rank: int, values: Views, grads: Views) -> None:
        self.linears, self.rank = linears, rank
        (self.a, self.bs), (self.grad_a, self.grad_bs) = values, grads
        self.names: tuple[str, ...] = tuple(str(linear.site) for linear in linears)
        self.outs = [linear.out_features for linear in linears]
        biases = [linear.bias for linear in linears]
        self.bias = None
        if any(bias is not None for bias in biases):
            zero = linears[0].weight.new_zeros
            self.bias = torch.cat(
                [zero(d) if b is None else b.detach() for d, b in zip(self.outs, biases, strict=True)]
            )
        self.merged: Tensor | None = None  # [N, sum of d_out, d_in]

    def update_merged(self, scaling: float) -> None:
        """Bring the merged weights W + scaling B A of all nodes up to date."""
        with torch.no_grad():
            if self.merged is None:
                self.base = torch.cat([linear.weight.detach() for linear in self.linears])
                self.merged = self.base.new_empty(self.a.shape[0], *self.base.shape)
            start = 0
            for i, b in enumerate(self.bs):
                a, stop = self.a[:, i * self.rank : (i + 1) * self.rank], start + self.outs[i]
                torch.baddbmm(
                    self.base[None, start:stop].expand(self.a.shape[0], -1, -1),
                    b,
                    a,
                    alpha=scaling,
                    out=self.merged[:, start:stop],
                )
                start = stop


class StackedRoute:
    """The adapters of one forward pass: which tokens belong to which node."""

    def __init__(
        self, groups: Sequence[Group], segments: Sequence[Segment], scaling: float, merge: bool, leaf: Tensor
    ) -> None:
        self.segments, self.scaling, self.merge, self.leaf = list(segments), scaling, merge, leaf
        self.where = {name: (group, i) for group in groups for i, name in enumerate(group.names)}
        self.input: Tensor | None = None
        self.outputs: tuple[Tensor, ...] = ()

    def linear(self, site: str, x: Tensor) -> Tensor:
        """The output of layer `site`. The layers of a group are computed together at the first, from one input."""
        group, i = self.where[site]
        if i and self.input is x:
            return self.outputs[i]
        flat = x.reshape(-1, x.shape[-1])
        if torch.is_grad_enabled():
            outputs = _Routed.apply(flat, self.leaf, self, group)
        else:
            outputs = self.forward(group, flat).split(group.outs, -1)
        outputs = tuple(y.view(*x.shape[:-1], -1) for y in outputs)
        self.input, self.outputs = (x, outputs) if len(outputs) > 1 else (None, ())
        return outputs[i]

    def forward(self, group: Group, x: Tensor) -> Tensor:
        """All outputs of a group side by side, [L, sum of d_out], from x [L, d_in]."""
        if self.merge:
            assert group.merged is not None
            if len(self.segments) == 1:
                y = x @ group.merged[self.segments[0][0]].t()
            else:
                y = x.new_empty(x.shape[0], sum(group.outs))
                for node, start, stop in self.segments:
                    torch.mm(x[start:stop], group.merged[node].t(), out=y[start:stop])
            return y if group.bias is None else y.add_(group.bias)
        y = torch.cat([nn.functional.linear(x, linear.weight, linear.bias) for linear in group.linears], -1)
        for node, start, stop in self.segments:
            self._add_low_rank(y[start:stop], x[start:stop], group, node)
        return y

    def _add_low_rank(self, y: Tensor, x: Tensor, group: Group, node: int) -> None:
        hidden = x @ group.a[node].to(x.dtype).t()
        at = 0
        for i, b in enumerate(group.bs):
            part = hidden[:, i * group.rank : (i + 1) * group.rank]
            y[:, at : at + group.outs[i]].addmm_(part, b[node].to(x.dtype).t(), alpha=self.scaling)
            at += group.outs[i]


class _Routed(torch.autograd.Function):
    """StackedRoute.forward with the gradient of the input; the gradients of the adapters are added to their buffer.

    `leaf` only ties the adapters to the graph. The frozen weights get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, leaf: Tensor, route: StackedRoute, group: Group) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x)
        ctx.route, ctx.group, ctx.version = route, group, leaf._version
        return route.forward(group, x).split(group.outs, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        (x,), route, group = ctx.saved_tensors, ctx.route, ctx.group
        if route.leaf._version != ctx.version:
            raise RuntimeError("the adapters were changed between the forward and the backward pass")
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        rank, scaling = group.rank, route.scaling
        if grad_x is not None and not route.merge:
            for i, linear in enumerate(group.linears):
                torch.addmm(grad_x, grads[i], linear.weight, beta=float(i > 0), out=grad_x)
        for node, start, stop in route.segments:
            x_n, a_n = x[start:stop], group.a[node].to(x.dtype)
            hidden = x_n @ a_n.t()
            grad_hidden = torch.empty_like(hidden)
            at = 0
            for i, b in enumerate(group.bs):
                part, cut, end = grads[i][start:stop], slice(i * rank, (i + 1) * rank), at + group.outs[i]
                _accumulate(group.grad_bs[i][node], part.t(), hidden[:, cut], scaling)
                torch.mm(part, b[node].to(x.dtype), out=grad_hidden[:, cut])
                if grad_x is not None and route.merge:
                    into = grad_x[start:stop]
                    torch.addmm(into, part, group.merged[node][at:end], beta=float(i > 0), out=into)
                at = end
            _accumulate(group.grad_a[node], grad_hidden.t(), x_n, scaling)
            if grad_x is not None and not route.merge:
                grad_x[start:stop].addmm_(grad_hidden, a_n, alpha=scaling)
        return grad_x, None, None, None


def _accumulate(total: Tensor, left: Tensor, right: Tensor, scaling: float) -> None:
    """total += scaling · left @ right, in the precision of `total`."""
    if left.dtype == total.dtype:
        total.addmm_(left, right, alpha=scaling)
    else:
        total.add_(left @ right, alpha=scaling)
