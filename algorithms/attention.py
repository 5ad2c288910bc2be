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


def two_part_attention(
    q_CKGRSD: Tensor,
    prefix_CKPD: tuple[Tensor, Tensor] | None,
    own_CKGTD: tuple[Tensor, Tensor],
    prefix_bias: Tensor | None,
    own_bias: Tensor | None,
    scaling: float,
) -> Tensor:
    """Softmax attention of every branch over its block's prefix and its own keys; nothing is copied per branch.

    The biases broadcast to [C, K, G, R, S, P] and [C, K, G, R, S, T]. Returns [C, K, G, R, S, D].
    """
    C, K, G, R, S, D = q_CKGRSD.shape
    k, v = own_CKGTD
    T = k.shape[3]
    q = q_CKGRSD * scaling
    own = torch.bmm(q.view(C * K * G, R * S, D), k.view(C * K * G, T, D).transpose(1, 2)).view(C, K, G, R, S, T)
    if own_bias is not None:
        own = own + own_bias
    if prefix_CKPD is None:
        weights = own.softmax(-1)
        return torch.bmm(weights.view(C * K * G, R * S, T), v.view(C * K * G, T, -1)).view(C, K, G, R, S, -1)
    pk, pv = prefix_CKPD
    P = pk.shape[2]
    shared = torch.bmm(q.view(C * K, G * R * S, D), pk.view(C * K, P, D).transpose(1, 2)).view(C, K, G, R, S, P)
    if prefix_bias is not None:
        shared = shared + prefix_bias
    weights = torch.cat([shared, own], -1).softmax(-1)
    shared, own = weights.split([P, T], -1)
    out = torch.bmm(shared.reshape(C * K, G * R * S, P), pv.view(C * K, P, -1)).view(C * K * G, R * S, -1)
    return torch.baddbmm(out, own.reshape(C * K * G, R * S, T), v.view(C * K * G, T, -1)).view(C, K, G, R, S, -1)


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
        self.cache: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        (C, P), (_, G, S) = prefix_CP.shape, branch_CGS.shape
        self.shape = C, G, P, S
        steps_P = torch.arange(P, device=prefix_CP.device)
        steps_S = torch.arange(S, device=prefix_CP.device)
        self.key_positions_CP = torch.where(steps_P < prefix_C[:, None], steps_P, FAR)
        self.positions_CS = prefix_C[:, None] + steps_S
        self.ragged = bool((prefix_C != P).any())
        self.longest = int(self.positions_CS.max()) + 1
        # where each flat token is found in the padded results
        L = int(prefix_C.sum() + branch_CG.sum())
        padded = torch.cat([prefix_CP.reshape(-1), branch_CGS.reshape(-1)])
        valid = torch.cat(
            [(steps_P < prefix_C[:, None]).reshape(-1), (steps_S < branch_CG[:, :, None]).reshape(-1)]
        ).nonzero()[:, 0]
        self.back_L = torch.empty(L, dtype=torch.long, device=prefix_CP.device)
        self.back_L[padded[valid]] = valid
        self.bias: dict[int | None, tuple[Tensor | None, Tensor | None, Tensor]] = {}

    def _biases(self, window: int | None, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """The biases of prefix among itself, of branches on prefix, of branches on themselves."""
        if window is not None and window >= self.longest:
            window = None
        if window not in self.bias:
            C, _, P, S = self.shape
            steps_P = torch.arange(P, device=self.prefix_CP.device)
            steps_S = torch.arange(S, device=self.prefix_CP.device)
            among = None if window is None else _as_bias(visible(steps_P, steps_P, window), dtype)
            shared = None
            if self.ragged or window is not None:
                seen = visible(self.positions_CS, self.key_positions_CP, window)
                shared = _as_bias(seen, dtype).view(C, 1, 1, 1, S, P)
            own = _as_bias(visible(steps_S, steps_S, window), dtype)
            self.bias[window] = among, shared, own
        return self.bias[window]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: int | None) -> Tensor:
        C, G, P, S = self.shape
        (H, _, D), K = q.shape, k.shape[0]
        among, shared_bias, own_bias = self._biases(window, q.dtype)
        q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)  # [L, heads, D]
        branches = self.branch_CGS.reshape(-1)
        q_own = q.index_select(0, branches).view(C, G, S, K, H // K, D).permute(0, 3, 1, 4, 2, 5).contiguous()
        k_own = k.index_select(0, branches).view(C, G, S, K, D).permute(0, 3, 1, 2, 4).contiguous()
        v_own = v.index_select(0, branches).view(C, G, S, K, -1).permute(0, 3, 1, 2, 4).contiguous()
        prefix, parts = None, []
        if P:
            prefixes = self.prefix_CP.reshape(-1)
            pq = q.index_select(0, prefixes).view(C, P, H, D).transpose(1, 2)
            pk = k.index_select(0, prefixes).view(C, P, K, D).transpose(1, 2).contiguous()
            pv = v.index_select(0, prefixes).view(C, P, K, -1).transpose(1, 2).contiguous()
            prefix = pk, pv
            out = F.scaled_dot_product_attention(
                pq, pk, pv, attn_mask=among, is_causal=among is None, scale=scaling, enable_gqa=H != K
            )
            parts.append(out.transpose(1, 2).reshape(C * P, H, -1))
        if self.keep:
            self.cache[layer] = (*(prefix or (k_own[:, :, 0, :0], v_own[:, :, 0, :0])), k_own, v_own)
        own = two_part_attention(q_own, prefix, (k_own, v_own), shared_bias, own_bias, scaling)
        parts.append(own.permute(0, 2, 4, 1, 3, 5).reshape(C * G * S, H, -1))
        return torch.cat(parts).index_select(0, self.back_L)


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
        self.ragged_prefix = tree.ragged
        self.ragged_own = bool((lengths_CG != S).any())
        self.key_positions_CGT = torch.full((C, self.G, S + max_new_tokens), FAR, device=branch_CG.device)
        start_C11 = tree.prefix_C[:, None, None]
        self.key_positions_CGT[:, :, :S] = torch.where(steps < lengths_CG[..., None], start_C11 + steps, FAR)
        self.positions_CG = tree.prefix_C[:, None] + lengths_CG  # of the next token
        self.longest = int(self.positions_CG.max()) + max_new_tokens
        self.cache: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        for layer, (pk, pv, k, v) in tree.cache.items():
            self.cache[layer] = (
                pk,
                pv,
                self._grow(k, branch_CG, max_new_tokens),
                self._grow(v, branch_CG, max_new_tokens),
            )
        self.rows: Tensor | None = None
        self.bias: dict[int | None, tuple[Tensor | None, Tensor | None]] = {}

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

    def _biases(self, window: int | None, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        if window is not None and window >= self.longest:
            window = None
        if window not in self.bias:
            C, G, T = self.C, self.G, self.slot
            shared = own = None
            if self.ragged_prefix or window is not None:
                seen = visible(self.current_CG[:, :, None], self.prefix_positions_CP[:, None], window)
                shared = _as_bias(seen, dtype).view(C, 1, G, 1, 1, self.P)
            if self.ragged_own or window is not None:
                seen = visible(self.current_CG[:, :, None], self.key_positions_CGT[:, :, :T], window)
                own = _as_bias(seen, dtype).view(C, 1, G, 1, 1, T)
            self.bias[window] = shared, own
        return self.bias[window]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scaling: float, window: int | None) -> Tensor:
        C, G, (H, _, D), K = self.C, self.G, q.shape, k.shape[0]
        shared_bias, own_bias = self._biases(window, q.dtype)
        q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
        if self.rows is not None:
            q, k, v = (x.new_zeros(C * G, *x.shape[1:]).index_copy_(0, self.rows, x) for x in (q, k, v))
        pk, pv, own_k, own_v = self.cache[layer]
        own_k[:, :, :, self.slot - 1] = k.view(C, G, K, -1).transpose(1, 2)
        own_v[:, :, :, self.slot - 1] = v.view(C, G, K, -1).transpose(1, 2)
        grid = q.reshape(C, G, K, H // K, D).transpose(1, 2).unsqueeze(4).contiguous()
        keys, values = own_k[:, :, :, : self.slot], own_v[:, :, :, : self.slot]
        out = two_part_attention(
            grid, (pk, pv) if self.P else None, (keys.contiguous(), values.contiguous()), shared_bias, own_bias, scaling
        )
        flat = out.squeeze(4).transpose(1, 2).reshape(C * G, H, -1)
        return flat if self.rows is None else flat.index_select(0, self.rows)
