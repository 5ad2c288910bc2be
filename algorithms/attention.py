"""Attention over a flat batch of prompts that share prefixes: the attention implementation `neuromas`.

A batch is one flat sequence of tokens without padding. A *block* is a shared prefix followed by its branches (the
samples of one question at one node); a branch sees its block's prefix and itself. All other layers of the model act
on single tokens, so only attention needs to know the structure: it is handed a `Layout` through the keyword
arguments of the model's forward pass.

Dimensions: L tokens, C blocks, G branches a block, P prefix, S branch, T keys of a branch while decoding,
H heads, K key-value heads, R = H / K, D head size. Padding exists inside attention only.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

IMPLEMENTATION = "neuromas"
FAR = 1 << 30  # the position of a padding key: later than every query


class Layout(Protocol):
    """The structure of one flat batch. q_HLD is [H, L, D]; k and v are [K, L, D]; returns [L, H, D]."""

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


def _branch_weights(q: Tensor, pk: Tensor | None, k: Tensor, bias: Tensor | None, scaling: float) -> Tensor:
    """Softmax weights [C, K, G, R, S, P + T] of branch queries [C, K, G, R, S, D] on prefix and own keys."""
    C, K, G, R, S, D = q.shape
    T = k.shape[3]
    scores = torch.bmm(q.view(C * K * G, R * S, D), k.view(C * K * G, T, D).transpose(1, 2)).view(C, K, G, R, S, T)
    if pk is not None:
        P = pk.shape[2]
        shared = torch.bmm(q.view(C * K, G * R * S, D), pk.view(C * K, P, D).transpose(1, 2))
        scores = torch.cat([shared.view(C, K, G, R, S, P), scores], -1)
    scores.mul_(scaling)
    if bias is not None:
        scores.add_(bias)
    return scores.softmax(-1)


def _branch_output(weights: Tensor, pv: Tensor | None, v: Tensor) -> Tensor:
    """The weighted values [C, K, G, R, S, D] of prefix and branch."""
    C, K, G, R, S, _ = weights.shape
    T, P = v.shape[3], 0 if pv is None else pv.shape[2]
    own = weights.view(C * K * G, R * S, P + T)[:, :, P:]
    values = v.view(C * K * G, T, -1)
    if pv is None:
        return torch.bmm(own, values).view(C, K, G, R, S, -1)
    shared = torch.bmm(weights.view(C * K, G * R * S, P + T)[:, :, :P], pv.view(C * K, P, -1))
    return shared.view(C * K * G, R * S, -1).baddbmm_(own, values).view(C, K, G, R, S, -1)


class _BranchAttention(torch.autograd.Function):
    """Attention of branches over their block's prefix and themselves: nothing of the prefix is copied per branch.

    q [C, K, G, R, S, D], pk and pv [C, K, P, D], k and v [C, K, G, S, D]; `bias` broadcasts to the weights.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, pk: Tensor | None, pv: Tensor | None, k: Tensor, v: Tensor, bias: Tensor, scaling: float
    ) -> Tensor:
        weights = _branch_weights(q, pk, k, bias, scaling)
        ctx.save_for_backward(q, pk, pv, k, v, weights)
        ctx.scaling = scaling
        return _branch_output(weights, pv, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, pk, pv, k, v, weights = ctx.saved_tensors
        C, K, G, R, S, _ = q.shape
        P = 0 if pk is None else pk.shape[2]
        per_row = (C * K * G, R * S, -1)
        per_block = (C * K, G * R * S, -1)
        grad = grad.contiguous()
        grad_w = torch.bmm(grad.view(per_row), v.flatten(0, 2).transpose(1, 2)).view(C, K, G, R, S, -1)
        if P:
            shared = torch.bmm(grad.view(per_block), pv.flatten(0, 1).transpose(1, 2))
            grad_w = torch.cat([shared.view(C, K, G, R, S, P), grad_w], -1)
        grad_v = torch.bmm(weights.view(per_row)[:, :, P:].transpose(1, 2), grad.view(per_row)).view(v.shape)
        grad_s = torch._softmax_backward_data(grad_w, weights, -1, weights.dtype).mul_(ctx.scaling)
        own = grad_s.view(per_row)[:, :, P:]
        grad_k = torch.bmm(own.transpose(1, 2), q.view(per_row)).view(k.shape)
        if not P:
            return torch.bmm(own, k.flatten(0, 2)).view(q.shape), None, None, grad_k, grad_v, None, None
        shared = grad_s.view(per_block)[:, :, :P]
        grad_pv = torch.bmm(weights.view(per_block)[:, :, :P].transpose(1, 2), grad.view(per_block)).view(pv.shape)
        grad_pk = torch.bmm(shared.transpose(1, 2), q.view(per_block)).view(pk.shape)
        grad_q = torch.bmm(shared, pk.flatten(0, 1)).view(per_row).baddbmm_(own, k.flatten(0, 2)).view(q.shape)
        return grad_q, grad_pk, grad_pv, grad_k, grad_v, None, None


class _Spread(torch.autograd.Function):
    """Flat tokens [L, …] to padded places [Z, …]; padding (copies of token 0) must get no gradient from above."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, spread_Z: Tensor, back_L: Tensor) -> Tensor:
        ctx.save_for_backward(back_L)
        return x.index_select(0, spread_Z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, *ctx.saved_tensors), None, None


class _Collect(torch.autograd.Function):
    """Padded places [Z, …] back to flat tokens [L, …]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, back_L: Tensor) -> Tensor:
        ctx.save_for_backward(back_L)
        ctx.places = x.shape[0]
        return x.index_select(0, back_L)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (back_L,) = ctx.saved_tensors
        return grad.new_zeros(ctx.places, *grad.shape[1:]).index_copy_(0, back_L, grad), None


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
        self.key_positions_CP = torch.where(steps_P < prefix_C[:, None], steps_P, FAR)
        self.positions_CS = prefix_C[:, None] + steps_S
        self.longest = int(self.positions_CS.max()) + 1
        # where each padded place finds its token, and each token its place
        L = int(prefix_C.sum() + branch_CG.sum())
        self.spread_Z = torch.cat([prefix_CP.reshape(-1), branch_CGS.reshape(-1)])
        valid = torch.cat([(steps_P < prefix_C[:, None]).reshape(-1), (steps_S < branch_CG[:, :, None]).reshape(-1)])
        places = valid.nonzero()[:, 0]
        self.back_L = torch.empty(L, dtype=torch.long, device=prefix_CP.device)
        self.back_L[self.spread_Z[places]] = places
        self.bias: dict[int | None, tuple[Tensor | None, Tensor]] = {}

    def _biases(self, window: int | None, dtype: torch.dtype) -> tuple[Tensor | None, Tensor]:
        """The biases of the prefix on itself (None: causal) and of branches on prefix and themselves."""
        if window is not None and window >= self.longest:
            window = None
        if window not in self.bias:
            C, _, P, S = self.shape
            steps_P = torch.arange(P, device=self.prefix_CP.device)
            among = None if window is None else _as_bias(visible(steps_P, steps_P, window), dtype)
            keys_CT = torch.cat([self.key_positions_CP, self.positions_CS], 1)
            seen = visible(self.positions_CS, keys_CT, window)
            self.bias[window] = among, _as_bias(seen, dtype).view(C, 1, 1, 1, S, P + S)
        return self.bias[window]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: int | None) -> Tensor:
        C, G, P, S = self.shape
        (H, _, D), K = q.shape, k.shape[0]
        among, bias = self._biases(window, q.dtype)
        q, k, v = (_Spread.apply(x.transpose(0, 1), self.spread_Z, self.back_L) for x in (q, k, v))
        q_own = q[C * P :].view(C, G, S, K, H // K, D).permute(0, 3, 1, 4, 2, 5).contiguous()
        k_own = k[C * P :].view(C, G, S, K, -1).permute(0, 3, 1, 2, 4).contiguous()
        v_own = v[C * P :].view(C, G, S, K, -1).permute(0, 3, 1, 2, 4).contiguous()
        pk = pv = None
        parts = []
        if P:
            pk, pv = (x[: C * P].view(C, P, K, -1).transpose(1, 2).contiguous() for x in (k, v))
            out = F.scaled_dot_product_attention(
                q[: C * P].view(C, P, H, D).transpose(1, 2),
                pk,
                pv,
                attn_mask=among,
                is_causal=among is None,
                scale=scaling,
                enable_gqa=H != K,
            )
            parts.append(out.transpose(1, 2).reshape(C * P, H, -1))
        if self.keep:
            self.cache[layer] = pk, pv, k_own, v_own
        own = _BranchAttention.apply(q_own, pk, pv, k_own, v_own, bias, scaling)
        parts.append(own.permute(0, 2, 4, 1, 3, 5).reshape(C * G * S, H, -1))
        return _Collect.apply(torch.cat(parts) if P else parts[0], self.back_L)


class DecodeLayout:
    """One new token for each row after a prompt: rows stand in a grid [C, G] of blocks and samples.

    Branches of the prompt are shared by rows with equal prompts: `branch_CG` names each row's branch within its
    block. New tokens of all rows take the same slot, S + t, so rows with shorter branches have a gap before it.
    """

    def __init__(self, tree: TreeLayout, branch_CG: Tensor, max_new_tokens: int) -> None:
        C, _, P, S = tree.shape
        self.C, self.G, self.P, self.S = C, branch_CG.shape[1], P, S
        self.slot = S
        lengths_CG = tree.branch_CG.gather(1, branch_CG)
        steps = torch.arange(S, device=branch_CG.device)
        self.prefix_positions_CP = tree.key_positions_CP
        self.ragged = bool((tree.prefix_C != P).any() or (lengths_CG != S).any())
        self.key_positions_CGT = torch.full((C, self.G, S + max_new_tokens), FAR, device=branch_CG.device)
        start_C11 = tree.prefix_C[:, None, None]
        self.key_positions_CGT[:, :, :S] = torch.where(steps < lengths_CG[..., None], start_C11 + steps, FAR)
        self.positions_CG = tree.prefix_C[:, None] + lengths_CG  # of the next token
        self.longest = int(self.positions_CG.max()) + max_new_tokens
        self.cache: dict[int, tuple[Tensor | None, Tensor | None, Tensor, Tensor]] = {}
        for layer, (pk, pv, k, v) in tree.cache.items():
            self.cache[layer] = (
                pk,
                pv,
                self._grow(k, branch_CG, max_new_tokens),
                self._grow(v, branch_CG, max_new_tokens),
            )
        self.rows: Tensor | None = None
        self.bias: dict[int | None, Tensor | None] = {}

    def _grow(self, x_CKUSD: Tensor, branch_CG: Tensor, extra: int) -> Tensor:
        C, K, _, S, D = x_CKUSD.shape
        grown = x_CKUSD.new_zeros(C, K, self.G, S + extra, D)
        index = branch_CG[:, None, :, None, None].expand(C, K, self.G, S, D)
        grown[:, :, :, :S] = x_CKUSD.gather(2, index)
        return grown

    def place(self, rows: Tensor | None) -> Tensor:
        """Give the next slot to the grid cells `rows` (None: all of them, in order); returns their positions [L]."""
        self.bias.clear()
        self.rows = rows
        self.key_positions_CGT[:, :, self.slot] = self.positions_CG
        positions = self.positions_CG.reshape(-1)
        self.slot += 1
        self.current_CG = self.positions_CG
        self.positions_CG = self.positions_CG + 1
        return positions if rows is None else positions[rows]

    def _bias(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        if window is not None and window >= self.longest:
            window = None
        if window not in self.bias:
            bias = None
            if self.ragged or window is not None:
                C, G, P, T = self.C, self.G, self.P, self.slot
                prefix_CGP = self.prefix_positions_CP[:, None].expand(C, G, P)
                keys_CGT = torch.cat([prefix_CGP, self.key_positions_CGT[:, :, :T]], -1)
                seen = visible(self.current_CG[:, :, None], keys_CGT, window)
                bias = _as_bias(seen, dtype).view(C, 1, G, 1, 1, P + T)
            self.bias[window] = bias
        return self.bias[window]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: int | None) -> Tensor:
        C, G, (H, _, D), K = self.C, self.G, q.shape, k.shape[0]
        bias = self._bias(window, q.dtype)
        q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
        if self.rows is not None:
            q, k, v = (x.new_zeros(C * G, *x.shape[1:]).index_copy_(0, self.rows, x) for x in (q, k, v))
        pk, pv, own_k, own_v = self.cache[layer]
        own_k[:, :, :, self.slot - 1] = k.view(C, G, K, -1).transpose(1, 2)
        own_v[:, :, :, self.slot - 1] = v.view(C, G, K, -1).transpose(1, 2)
        grid = q.reshape(C, G, K, H // K, 1, D).transpose(1, 2).contiguous()
        weights = _branch_weights(grid, pk, own_k[:, :, :, : self.slot], bias, scaling)
        out = _branch_output(weights, pv, own_v[:, :, :, : self.slot])
        flat = out.view(C, K, G, H // K, -1).transpose(1, 2).reshape(C * G, H, -1)
        return flat if self.rows is None else flat.index_select(0, self.rows)
