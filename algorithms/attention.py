"""Attention over a flat batch of prompts that share prefixes: the attention implementation `neuromas`.

A batch is one flat sequence of tokens without padding. A *block* is a shared prefix followed by its branches (the
samples of one question at one node); a branch sees its block's prefix and itself. All other layers of the model act
on single tokens, so only attention needs to know the structure: it is handed a `Layout` through the keyword
arguments of the model's forward pass. Keys and values of a prefix are never copied to its branches.

Dimensions: L tokens, C blocks, G branches a block, P prefix, S branch, T keys of a branch while decoding,
H heads, K key-value heads, R = H / K, D head size. Padding exists inside attention only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

IMPLEMENTATION = "neuromas"
FAR = 1 << 30  # the position of a padding key: later than every query


Prefix = tuple[Tensor | None, Tensor | None, Tensor | None]  # q [C, H, P, D], k and v [C, K, P, D]; None where P = 0
Own = tuple[Tensor, Tensor, Tensor]  # q [C, K, G, R, S, D], k and v [C, K, G, S, D]


class Layout(Protocol):
    """The structure of one flat batch. q is [H, L, D]; k and v are [K, L, D]; returns [L, H, D]."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: int | None) -> Tensor: ...


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    layout: Layout | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    if layout is None:
        raise ValueError(f"the attention implementation {IMPLEMENTATION!r} runs only inside Backbone.forward")
    if options.get("softcap") is not None or options.get("s_aux") is not None:
        raise ValueError("attention with soft-capped scores or sinks is not supported")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = layout.attend(module.layer_idx, query[0], key[0], value[0], scale, sliding_window)  # type: ignore[arg-type]
    return out[None], None


ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _attention)


def visible(query_positions: Tensor, key_positions: Tensor, window: int | None) -> Tensor:
    """Which keys [..., T] each query [..., S] may see: those at its own place or before, within the window."""
    distance = query_positions[..., :, None] - key_positions[..., None, :]
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)


def _as_bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where seen, a very negative number elsewhere; finite, so that a row of padding gives no NaN."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min / 2)


@dataclass(frozen=True)
class Bias:
    """What is added to scores, for all layers of one window: prefix on itself [P, P] (None: causal), branches on the
    prefix [C·K, 1 or G·R·S, P] (None: all is seen), branches on themselves, broadcast to [C·K·G, R·S, T] (None)."""

    among: Tensor | None
    shared: Tensor | None
    own: Tensor | None


@dataclass(frozen=True)
class Places:
    """Where the rows of flat tokens × heads go, padded and head-major, and from where they come back.

    `spread_Z` are rows of the flat batch, first [C, heads, P] of the prefixes, then [C, K, G, heads / K, S] of the
    branches; `back` is the padded place of every flat row; `padding` are the places that stand for nothing.
    """

    spread_Z: Tensor
    back: Tensor
    padding: Tensor

    @classmethod
    def of(cls, prefix_CP: Tensor, branch_CGS: Tensor, valid_Z: Tensor, heads: int, K: int, tokens: int) -> Places:
        """`valid_Z` tells padding from tokens, for one head: [C, P] then [C, G, S]."""
        (C, P), (_, G, S), R = prefix_CP.shape, branch_CGS.shape, heads // K
        head = torch.arange(heads, device=prefix_CP.device)
        prefix = prefix_CP[:, None] * heads + head[:, None]
        branch = branch_CGS[:, None, :, None] * heads + head.view(K, 1, R, 1)
        spread_Z = torch.cat([prefix.reshape(-1), branch.reshape(-1)])
        valid_prefix = valid_Z[: C * P].view(C, 1, P).expand(C, heads, P)
        valid_branch = valid_Z[C * P :].view(C, 1, G, 1, S).expand(C, K, G, R, S)
        valid = torch.cat([valid_prefix.reshape(-1), valid_branch.reshape(-1)])
        back = torch.empty(tokens * heads, dtype=torch.long, device=prefix_CP.device)
        places = valid.nonzero()[:, 0]
        back[spread_Z[places]] = places
        return cls(spread_Z, back, (~valid).nonzero()[:, 0])


def _rows(x: Tensor) -> Tensor:
    """[heads, L, D] as rows [L · heads, D]; a view where the model left the heads of a token side by side."""
    return x.transpose(0, 1).reshape(-1, x.shape[-1])


def _weights(
    q: Tensor, pk: Tensor | None, k: Tensor, shared_bias: Tensor | None, own_bias: Tensor | None, scaling: float
) -> Tensor:
    """Softmax weights [C, K, G, R, S, P + T] of branch queries [C, K, G, R, S, D] on prefix and own keys."""
    C, K, G, R, S, D = q.shape
    scores = _scores(q.view(C * K * G, R * S, D), k.flatten(0, 2), own_bias, scaling).view(C, K, G, R, S, -1)
    if pk is not None:
        shared = _scores(q.view(C * K, G * R * S, D), pk.flatten(0, 1), shared_bias, scaling)
        scores = torch.cat([shared.view(C, K, G, R, S, -1), scores], -1)
    return scores.softmax(-1)


def _scores(q: Tensor, k: Tensor, bias: Tensor | None, scaling: float) -> Tensor:
    keys = k.transpose(1, 2)
    if bias is None:
        return torch.baddbmm(q.new_empty(()), q, keys, beta=0.0, alpha=scaling)
    return torch.baddbmm(bias, q, keys, alpha=scaling)


def _mix(weights: Tensor, pv: Tensor | None, v: Tensor, out: Tensor) -> None:
    """Put the weighted values of prefix and branch into `out` [C, K, G, R, S, D], which must be contiguous."""
    C, K, G, R, S, _ = weights.shape
    by_row, by_block = out.view(C * K * G, R * S, -1), out.view(C * K, G * R * S, -1)
    P = 0 if pv is None else pv.shape[2]
    own = weights.view(C * K * G, R * S, -1)[:, :, P:]
    if pv is None:
        torch.bmm(own, v.flatten(0, 2), out=by_row)
    else:
        torch.bmm(weights.view(C * K, G * R * S, -1)[:, :, :P], pv.flatten(0, 1), out=by_block)
        by_row.baddbmm_(own, v.flatten(0, 2))


class TreeLayout:
    """Blocks of one prefix and its branches, as `packing.Packed` lays them out.

    prefix_CP and branch_CGS index the flat tokens (padding points at token 0); prefix_C and branch_CG are lengths.
    With `keep` the keys and values of every layer are kept for decoding, in `cache[layer]`.
    """

    def __init__(
        self, prefix_CP: Tensor, prefix_C: Tensor, branch_CGS: Tensor, branch_CG: Tensor, keep: bool = False
    ) -> None:
        self.prefix_CP, self.prefix_C, self.branch_CGS, self.branch_CG = prefix_CP, prefix_C, branch_CGS, branch_CG
        self.keep = keep
        self.cache: dict[int, tuple[Tensor | None, Tensor | None, Tensor, Tensor]] = {}
        (C, P), (_, G, S) = prefix_CP.shape, branch_CGS.shape
        self.shape = C, G, P, S
        steps_P = torch.arange(P, device=prefix_CP.device)
        steps_S = torch.arange(S, device=prefix_CP.device)
        valid_CP = steps_P < prefix_C[:, None]
        self.key_positions_CP = torch.where(valid_CP, steps_P, FAR)
        self.positions_CS = prefix_C[:, None] + steps_S
        self.ragged = not bool(valid_CP.all())
        self.longest = P + S
        self.tokens = int(prefix_C.sum() + branch_CG.sum())
        self.valid_Z = torch.cat([valid_CP.reshape(-1), (steps_S < branch_CG[:, :, None]).reshape(-1)])
        self.biases: dict[tuple[int | None, int, int], Bias] = {}
        self.places_of: dict[tuple[int, int], Places] = {}

    def places(self, heads: int, K: int) -> Places:
        if (heads, K) not in self.places_of:
            self.places_of[heads, K] = Places.of(self.prefix_CP, self.branch_CGS, self.valid_Z, heads, K, self.tokens)
        return self.places_of[heads, K]

    def bias(self, window: int | None, K: int, R: int, dtype: torch.dtype) -> Bias:
        if window is not None and window >= self.longest:
            window = None
        if (window, K, R) not in self.biases:
            C, G, P, S = self.shape
            steps_P = torch.arange(P, device=self.prefix_CP.device)
            steps_S = torch.arange(S, device=self.prefix_CP.device)
            among = shared = None
            if window is not None:
                among = _as_bias(visible(steps_P, steps_P, window), dtype)
                seen = visible(self.positions_CS, self.key_positions_CP, window).view(C, 1, 1, 1, S, P)
                shared = _as_bias(seen, dtype).expand(C, K, G, R, S, P).reshape(C * K, G * R * S, P)
            elif self.ragged:
                shared = _as_bias(self.key_positions_CP != FAR, dtype).repeat_interleave(K, 0)[:, None]
            own = _as_bias(visible(steps_S, steps_S, window), dtype).repeat(R, 1)
            self.biases[window, K, R] = Bias(among, shared, own)
        return self.biases[window, K, R]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: int | None) -> Tensor:
        if torch.is_grad_enabled():
            result: Tensor = _TreeAttention.apply(q, k, v, self, scaling, window)
            return result
        prefix, own = self.spread(q, k, v)
        if self.keep:
            self.cache[layer] = prefix[1], prefix[2], own[1], own[2]
        return self.combine(self.among(prefix, scaling, window), prefix, own, scaling, window)[0]

    def spread(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Prefix, Own]:
        C, G, P, S = self.shape
        H, K = q.shape[0], k.shape[0]
        q, k, v = (_rows(x).index_select(0, self.places(len(x), K).spread_Z) for x in (q, k, v))
        at_q, at_k = C * P * H, C * P * K
        own = (
            q[at_q:].view(C, K, G, H // K, S, -1),
            k[at_k:].view(C, K, G, S, -1),
            v[at_k:].view(C, K, G, S, -1),
        )
        if not P:
            return (None, None, None), own
        return (q[:at_q].view(C, H, P, -1), k[:at_k].view(C, K, P, -1), v[:at_k].view(C, K, P, -1)), own

    def among(self, prefix: Prefix, scaling: float, window: int | None) -> Tensor | None:
        """Attention of the prefixes among themselves, [C, H, P, D]."""
        q, k, v = prefix
        if q is None or k is None or v is None:
            return None
        bias = self.bias(window, k.shape[1], q.shape[1] // k.shape[1], q.dtype).among
        return F.scaled_dot_product_attention(
            q, k, v, bias, is_causal=bias is None, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )

    def combine(
        self, among: Tensor | None, prefix: Prefix, own: Own, scaling: float, window: int | None
    ) -> tuple[Tensor, Tensor]:
        """The flat result [L, H, D], given that of the prefixes; and the weights of the branches."""
        C, G, P, S = self.shape
        (_, pk, pv), (q, k, v) = prefix, own
        K, R, D = q.shape[1], q.shape[3], v.shape[-1]
        bias, cut = self.bias(window, K, R, q.dtype), C * K * R * P
        padded = q.new_empty(cut + C * K * R * G * S, D)
        if among is not None:
            padded[:cut] = among.reshape(cut, D)
        weights = _weights(q, pk, k, bias.shared, bias.own, scaling)
        _mix(weights, pv, v, padded[cut:].view(C, K, G, R, S, D))
        return padded.index_select(0, self.places(K * R, K).back).view(self.tokens, K * R, D), weights


class _TreeAttention(torch.autograd.Function):
    """TreeLayout.attend with a backward pass by hand, which touches memory half as often as the recorded one."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: TreeLayout, scaling: float, window: int | None
    ) -> Tensor:
        prefix, own = layout.spread(q, k, v)
        with torch.enable_grad():  # the prefixes among themselves keep a small graph of their own
            leaves = tuple(None if x is None else x.detach().requires_grad_() for x in prefix)
            among = layout.among((leaves[0], leaves[1], leaves[2]), scaling, window)
        flat, weights = layout.combine(None if among is None else among.detach(), prefix, own, scaling, window)
        ctx.save_for_backward(*own, weights)
        ctx.leaves, ctx.among, ctx.layout, ctx.scaling = leaves, among, layout, scaling
        return flat

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_LHD: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights = ctx.saved_tensors
        layout, scaling, (pq, pk, pv) = ctx.layout, ctx.scaling, ctx.leaves
        C, G, P, S = layout.shape
        K, R, D, E = q.shape[1], q.shape[3], q.shape[-1], v.shape[-1]
        at_q, at_k, per_row, per_block = C * P * K * R, C * P * K, (C * K * G, R * S, -1), (C * K, G * R * S, -1)
        places_q, places_k = layout.places(K * R, K), layout.places(K, K)
        grad = grad_LHD.reshape(-1, E).index_select(0, places_q.spread_Z).index_fill_(0, places_q.padding, 0.0)
        grad_q, grad_k = q.new_empty(len(grad), D), k.new_empty(len(places_k.spread_Z), D)
        grad_v = v.new_empty(len(places_k.spread_Z), E)
        out, out_q = grad[at_q:], grad_q[at_q:]
        grad_w = torch.bmm(out.view(per_row), v.flatten(0, 2).transpose(1, 2)).view(C, K, G, R, S, -1)
        if P:
            shared = torch.bmm(out.view(per_block), pv.detach().flatten(0, 1).transpose(1, 2))
            grad_w = torch.cat([shared.view(C, K, G, R, S, P), grad_w], -1)
        grad_s = torch._softmax_backward_data(grad_w, weights, -1, weights.dtype).mul_(scaling)
        own_w, own_s = (x.view(per_row)[:, :, P:] for x in (weights, grad_s))
        torch.bmm(own_w.transpose(1, 2), out.view(per_row), out=grad_v[at_k:].view(C * K * G, S, E))
        torch.bmm(own_s.transpose(1, 2), q.view(per_row), out=grad_k[at_k:].view(C * K * G, S, D))
        if P:
            shared_w, shared_s = (x.view(per_block)[:, :, :P] for x in (weights, grad_s))
            torch.bmm(shared_s, pk.detach().flatten(0, 1), out=out_q.view(per_block))
            out_q.view(per_row).baddbmm_(own_s, k.flatten(0, 2))
            among = torch.autograd.grad(ctx.among, (pq, pk, pv), grad[:at_q].view(ctx.among.shape))
            for whole, cut, part in zip((grad_q, grad_k, grad_v), (at_q, at_k, at_k), among, strict=True):
                whole[:cut] = part.reshape(cut, -1)
            grad_k[:at_k].view(C * K, P, D).baddbmm_(shared_s.transpose(1, 2), q.view(per_block))
            grad_v[:at_k].view(C * K, P, E).baddbmm_(shared_w.transpose(1, 2), out.view(per_block))
        else:
            torch.bmm(own_s, k.flatten(0, 2), out=out_q.view(per_row))
        back = ((grad_q, places_q, K * R), (grad_k, places_k, K), (grad_v, places_k, K))
        flat = (x.index_select(0, places.back).view(layout.tokens, n, -1).transpose(0, 1) for x, places, n in back)
        return *flat, None, None, None


class DecodeLayout:
    """One new token for each row after a prompt: rows stand in a grid [C, G] of blocks and samples.

    Branches of the prompt are shared by rows with equal prompts: `branch_CG` names each row's branch within its
    block. New tokens of all rows take the same slot, S + t, so rows with shorter branches have a gap before it.
    """

    def __init__(self, tree: TreeLayout, branch_CG: Tensor, max_new_tokens: int) -> None:
        C, _, P, S = tree.shape
        self.C, self.G, self.P, self.slot = C, branch_CG.shape[1], P, S
        device = branch_CG.device
        lengths_CG = tree.branch_CG.gather(1, branch_CG)
        steps = torch.arange(S, device=device)
        self.ragged_prefix, self.ragged_own = tree.ragged, bool((lengths_CG != S).any())
        self.prefix_positions_CP = tree.key_positions_CP
        self.key_positions_CGT = torch.full((C, self.G, S + max_new_tokens), FAR, device=device)
        self.key_positions_CGT[:, :, :S] = torch.where(
            steps < lengths_CG[..., None], tree.prefix_C[:, None, None] + steps, FAR
        )
        self.positions_CG = tree.prefix_C[:, None] + lengths_CG  # of the next token
        self.longest = P + S + max_new_tokens
        self.cache: dict[int, tuple[Tensor | None, Tensor | None, Tensor, Tensor]] = {}
        for layer, (pk, pv, k, v) in tree.cache.items():
            own_k, own_v = (self._grow(x, branch_CG, max_new_tokens) for x in (k, v))
            self.cache[layer] = pk, pv, own_k, own_v
        self.alive: Tensor | None = None
        self.biases: dict[tuple[int | None, int, int], tuple[Tensor | None, Tensor | None]] = {}
        self.places_of: dict[tuple[int, int], Places] = {}

    def _grow(self, x_CKUSD: Tensor, branch_CG: Tensor, extra: int) -> Tensor:
        C, K, _, S, D = x_CKUSD.shape
        grown = x_CKUSD.new_zeros(C, K, self.G, S + extra, D)
        index = branch_CG[:, None, :, None, None].expand(C, K, self.G, S, D)
        grown[:, :, :, :S] = x_CKUSD.gather(2, index)
        return grown

    def place(self, cells: Tensor) -> Tensor:
        """Give the next slot to the grid cells `cells` (in order); returns the positions of their tokens [L]."""
        if self.alive is None or len(self.alive) != len(cells):
            self.alive = cells
            self.places_of.clear()
        self.biases.clear()
        self.key_positions_CGT[:, :, self.slot] = self.positions_CG
        positions = self.positions_CG.reshape(-1)[cells]
        self.slot += 1
        self.current_CG = self.positions_CG
        self.positions_CG = self.positions_CG + 1
        return positions

    def places(self, heads: int, K: int) -> Places:
        """Rows that have ended are padding: they read token 0, and nobody reads them."""
        if (heads, K) not in self.places_of:
            assert self.alive is not None
            token = torch.zeros(self.C * self.G, dtype=torch.long, device=self.alive.device)
            token[self.alive] = torch.arange(len(self.alive), device=token.device)
            valid = torch.zeros_like(token, dtype=torch.bool).index_fill_(0, self.alive, True)
            grid = token.view(self.C, self.G, 1)
            self.places_of[heads, K] = Places.of(grid[:, 0, :0], grid, valid, heads, K, len(self.alive))
        return self.places_of[heads, K]

    def bias(self, window: int | None, K: int, R: int, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """The biases of this slot on the prefix and on the rows' own keys, as in `Bias`."""
        if window is not None and window >= self.longest:
            window = None
        if (window, K, R) not in self.biases:
            C, G, P, T = self.C, self.G, self.P, self.slot
            shared = own = None
            now_CG1 = self.current_CG[:, :, None]
            if window is not None:
                seen = visible(now_CG1, self.prefix_positions_CP[:, None], window).view(C, 1, G, 1, P)
                shared = _as_bias(seen, dtype).expand(C, K, G, R, P).reshape(C * K, G * R, P)
            elif self.ragged_prefix:
                shared = _as_bias(self.prefix_positions_CP != FAR, dtype).repeat_interleave(K, 0)[:, None]
            if self.ragged_own or window is not None:
                seen = visible(now_CG1, self.key_positions_CGT[:, :, :T], window).view(C, 1, G, 1, T)
                own = _as_bias(seen, dtype).expand(C, K, G, 1, T).reshape(C * K * G, 1, T)
            self.biases[window, K, R] = shared, own
        return self.biases[window, K, R]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: int | None) -> Tensor:
        C, G, H, K = self.C, self.G, q.shape[0], k.shape[0]
        q, k, v = (_rows(x).index_select(0, self.places(len(x), K).spread_Z) for x in (q, k, v))
        pk, pv, own_k, own_v = self.cache[layer]
        own_k[:, :, :, self.slot - 1] = k.view(C, K, G, -1)
        own_v[:, :, :, self.slot - 1] = v.view(C, K, G, -1)
        shared, own = self.bias(window, K, H // K, q.dtype)
        weights = _weights(q.view(C, K, G, H // K, 1, -1), pk, own_k[:, :, :, : self.slot], shared, own, scaling)
        out = q.new_empty(len(q), v.shape[-1])
        _mix(weights, pv, own_v[:, :, :, : self.slot], out.view(C, K, G, H // K, 1, -1))
        return out.index_select(0, self.places(H, K).back).view(-1, H, out.shape[-1])
