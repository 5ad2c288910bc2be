"""Sampling messages of many nodes at once: one forward pass over the prompts, then one per token for all rows.

Prompts of one node and group are prefilled as one shared prefix and their distinct rests; the keys and values of the
prefix are never copied. Rows that have ended leave the batch. Every random number comes from a generator seeded by
`seed`, drawn by row and token, so results do not depend on chunking or on when other rows end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuromas_env.errors import BackboneError

from .attention import DecodeLayout
from .backbone import Backbone, Route
from .packing import Block, flatten, shared_length
from .routing import Segment

RouteOf = Callable[[Sequence[Segment]], Route | None]
CHUNK_TOKENS = 1 << 16
CHUNK_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # of keys and values


@dataclass(frozen=True, slots=True)
class Sampled:
    """Sampled ids (the end token included), their log-probabilities as drawn, and "stop" or "length"."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str


def sample(
    backbone: Backbone,
    route: RouteOf,
    nodes: Sequence[int],
    prompts: Sequence[list[int]],
    groups: Sequence[Hashable],
    max_new_tokens: int | Sequence[int],
    temperature: float = 1.0,
    seed: int = 0,
    share: bool = True,
    chunk_tokens: int | None = None,
    *,
    rows: Sequence[int] | None = None,
    total: int = 0,
    longest: int = 0,
) -> list[Sampled]:
    """Sample one completion for every prompt; temperature 0 takes the most likely token (log-probabilities at 1).

    `route(segments)` gives the adapters of a flat batch. Rows of equal node and group may share a prefix (with `share`
    off, none does). At most about `chunk_tokens` tokens are held at once, by default as many as fit into about 1 GiB.
    Where the prompts are the `rows` of a batch of `total` whose longest message may have `longest` tokens, they are
    answered as they are in that batch.
    Raises BackboneError for a prompt that the backbone cannot hold.
    """
    E = len(prompts)
    if not E:
        return []
    limits = [max_new_tokens] * E if isinstance(max_new_tokens, int) else list(max_new_tokens)
    check_lengths(backbone, prompts, limits)
    chunk_tokens = chunk_limit(backbone) if chunk_tokens is None else chunk_tokens
    uniforms_ET = None
    if temperature > 0:
        generator = torch.Generator().manual_seed(seed)
        uniforms_ET = torch.rand(total or E, longest or max(limits), generator=generator, dtype=torch.float64)
        uniforms_ET = uniforms_ET if rows is None else uniforms_ET[list(rows)]
    members: dict[tuple[int, Hashable], list[int]] = {}
    for row, (node, group) in enumerate(zip(nodes, groups, strict=True)):
        members.setdefault((node, group if share else row), []).append(row)
    blocks = [_block(key[0], placed, prompts) for key, placed in sorted(members.items(), key=lambda item: item[0][0])]
    results: list[Sampled | None] = [None] * E
    start = held = 0
    for stop, (block, placed) in enumerate(blocks):
        keys = block.tokens + sum(limits[row] for _, row in placed)
        if stop > start and held + keys > chunk_tokens:
            _run(backbone, route, blocks[start:stop], limits, temperature, uniforms_ET, results)
            start, held = stop, 0
        held += keys
    _run(backbone, route, blocks[start:], limits, temperature, uniforms_ET, results)
    return [result for result in results if result is not None]


def check_lengths(backbone: Backbone, prompts: Sequence[list[int]], limits: Sequence[int]) -> None:
    """Raise BackboneError for a prompt that the backbone cannot hold, ValueError for a message without a token."""
    if min(limits) < 1:
        raise ValueError(f"a message must be allowed at least 1 token, not {min(limits)}")
    most = max(map(len, prompts)) + max(limits)
    if backbone.max_length is not None and most > backbone.max_length:
        raise BackboneError(
            f"a prompt with its message takes up to {most} tokens; "
            f"backbone {backbone.name!r} holds {backbone.max_length}"
        )


def chunk_limit(backbone: Backbone) -> int:
    """How many tokens' keys and values are held at once, about, where nothing else is asked for."""
    budget = CHUNK_BYTES.get(backbone.device.type, CHUNK_BYTES["cpu"])
    return min(CHUNK_TOKENS, budget // backbone.cache_bytes)


Rows = list[tuple[int, int]]  # (branch within the block, row of the whole batch)


def _block(node: int, rows: list[int], prompts: Sequence[list[int]]) -> tuple[Block, Rows]:
    shared = shared_length([prompts[row] for row in rows])
    distinct: dict[tuple[int, ...], int] = {}
    placed = [(distinct.setdefault(tuple(prompts[row][shared:]), len(distinct)), row) for row in rows]
    return Block(node, list(prompts[rows[0]][:shared]), [list(rest) for rest in distinct], []), placed


def _run(backbone: Backbone, *arguments: Any) -> None:
    # Divided weights are gathered into buffers that training uses too, and those must not be inference tensors.
    with torch.inference_mode() if backbone.lockstep is None else torch.no_grad():
        _sample_chunk(backbone, *arguments)


def _sample_chunk(
    backbone: Backbone,
    route: RouteOf,
    blocks: list[tuple[Block, Rows]],
    limits: list[int],
    temperature: float,
    uniforms_ET: Tensor | None,
    results: list[Sampled | None],
) -> None:
    device = backbone.device
    packed = flatten([block for block, _ in blocks]).to(device)
    tree = packed.layout(keep=True)
    C, G, U = len(blocks), max(len(rows) for _, rows in blocks), packed.branch_CG.shape[1]
    grid = np.zeros((C, G), np.int64)  # the branch of each row
    cells: list[tuple[int, int, int, int]] = []  # cell of the grid, place among the prompts' ends, row, node
    for c, (block, rows) in enumerate(blocks):
        for g, (branch, row) in enumerate(rows):
            grid[c, g] = branch
            cells.append((c * G + g, c * U + branch, row, block.node))
    cell_X, end_X, row_X, node_X = torch.tensor(cells, device=device).unbind(1)
    ends_CU = packed.branch_CGS.gather(2, (packed.branch_CG - 1).clamp_min(0)[..., None])[..., 0]
    logits = backbone.forward(
        packed.input_ids_L, packed.position_ids_L, ends_CU.reshape(-1)[end_X], tree, route(packed.segments)
    )
    limit_X = torch.tensor([limits[row] for _, _, row, _ in cells], device=device)
    X, longest = len(cells), int(limit_X.max())
    decode = DecodeLayout(tree, torch.from_numpy(grid).to(device), longest)
    eos = torch.tensor(backbone.eos_ids, device=device)
    uniforms_XT = None if uniforms_ET is None else uniforms_ET.to(device)[row_X]
    tokens_XT = torch.zeros(X, longest, dtype=torch.long, device=device)
    logprobs_XT = torch.zeros(X, longest, dtype=torch.float32, device=device)
    length_X = torch.zeros(X, dtype=torch.long, device=device)
    stopped_X = torch.zeros(X, dtype=torch.bool, device=device)
    alive = torch.arange(X, device=device)
    for t in range(longest):
        token, logprob = _draw(logits, temperature, None if uniforms_XT is None else uniforms_XT[alive, t])
        if backbone.lockstep is not None:
            backbone.lockstep(token)
            backbone.lockstep(logprob)
        tokens_XT[alive, t], logprobs_XT[alive, t] = token, logprob.float()
        length_X[alive] = t + 1
        stopped_X[alive] = ended = torch.isin(token, eos)
        going = ~ended & (limit_X[alive] > t + 1)
        if not bool(going.all()):
            alive, token = alive[going], token[going]
        if not len(alive):
            break
        positions = decode.place(cell_X[alive])
        keep = torch.arange(len(alive), device=device)
        logits = backbone.forward(token, positions, keep, decode, route(_segments(node_X[alive])))
    columns = zip(tokens_XT.tolist(), logprobs_XT.tolist(), length_X.tolist(), stopped_X.tolist(), strict=True)
    for (_, _, row, _), (token_ids, logprobs, n, stopped) in zip(cells, columns, strict=True):
        results[row] = Sampled(tuple(token_ids[:n]), tuple(logprobs[:n]), "stop" if stopped else "length")


def _segments(nodes: Tensor) -> list[Segment]:
    values, counts = torch.unique_consecutive(nodes, return_counts=True)
    segments, start = [], 0
    for node, count in zip(values.tolist(), counts.tolist(), strict=True):
        segments.append((node, start, start + count))
        start += count
    return segments


def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Log-softmax at a temperature, at least in single precision: the one definition for sampling and training."""
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (exact if temperature == 1.0 else exact / temperature).log_softmax(-1)


def _draw(logits: Tensor, temperature: float, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability: by inverse cumulative distribution at `uniforms`, or the best one."""
    logprobs = log_probabilities(logits, temperature or 1.0)
    if uniforms is None:
        token = logprobs.argmax(-1)
    else:
        cumulative = logprobs.exp().cumsum(-1, dtype=torch.float64)
        token = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True)[:, 0]
        token = token.clamp_max(logits.shape[-1] - 1)
    return token, logprobs.gather(1, token[:, None])[:, 0]
