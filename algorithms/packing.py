"""From samples to flat batches: the prompts of one question at one node are laid out once, their samples after it.

    [shared prefix][rest of prompt 1 + completion 1] … [rest of prompt G + completion G]   for each (node, group)

Tokens of one node stand together, so that each adapter sees one contiguous segment. Position ids restart at the end of
the prefix for every branch. The last prompt token always belongs to the branch, which so predicts its own first token.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .attention import TreeLayout
from .routing import Segment


@dataclass(frozen=True, slots=True)
class TrainSample:
    """One message to learn from: what `node` was given and what it said (the end token included)."""

    node: int
    group: Hashable
    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]

    @property
    def context(self) -> Hashable:
        """What it answered: equal for samples of one node, group and prompt."""
        return self.node, self.group, tuple(self.prompt_ids)


@dataclass(frozen=True, slots=True)
class Block:
    """A prefix and its branches; `members` are the indices of what the branches stand for, one each."""

    node: int
    prefix: list[int]
    branches: list[list[int]]
    members: list[int]

    @property
    def tokens(self) -> int:
        return len(self.prefix) + sum(map(len, self.branches))


@dataclass(frozen=True)
class Packed:
    """A flat batch of L tokens: C blocks of at most P prefix tokens and at most G branches of at most S tokens."""

    input_ids_L: Tensor
    position_ids_L: Tensor
    segments: list[Segment]
    prefix_CP: Tensor
    prefix_C: Tensor
    branch_CGS: Tensor
    branch_CG: Tensor

    def to(self, device: torch.device) -> Packed:
        if self.input_ids_L.device == device:
            return self
        tensors = self.input_ids_L, self.position_ids_L, self.prefix_CP, self.prefix_C, self.branch_CGS, self.branch_CG
        ids, positions, *index = (tensor.to(device) for tensor in tensors)
        return Packed(ids, positions, self.segments, *index)

    def layout(self, keep: bool = False) -> TreeLayout:
        return TreeLayout(self.prefix_CP, self.prefix_C, self.branch_CGS, self.branch_CG, keep)


@dataclass(frozen=True)
class MicroBatch:
    """Packed samples: `samples` are their indices, `keep_K` the places that predict a completion token,
    `rows_K` and `columns_K` where it goes in [M, T], and `targets_K` which token it was."""

    packed: Packed
    samples: list[int]
    keep_K: Tensor
    rows_K: Tensor
    columns_K: Tensor
    targets_K: Tensor
    longest: int


def shared_length(prompts: Sequence[list[int]]) -> int:
    """How many leading tokens all prompts share, the last token of each left out."""
    first, last = min(prompts), max(prompts)  # in lexical order; what these two share, all share
    longest = min(map(len, prompts)) - 1
    for i in range(longest):
        if first[i] != last[i]:
            return i
    return longest


def flatten(blocks: Sequence[Block]) -> Packed:
    """Lay blocks out flat. They must be sorted by node."""
    C, G = len(blocks), max(len(block.branches) for block in blocks)
    P = max(len(block.prefix) for block in blocks)
    S = max(len(branch) for block in blocks for branch in block.branches)
    prefix_CP, prefix_C = np.zeros((C, P), np.int64), np.zeros(C, np.int64)
    branch_CGS, branch_CG = np.zeros((C, G, S), np.int64), np.zeros((C, G), np.int64)
    steps = np.arange(max(P, S))
    ids: list[int] = []
    positions: list[np.ndarray] = []
    segments: list[Segment] = []
    for c, block in enumerate(blocks):
        begin, length = len(ids), len(block.prefix)
        ids += block.prefix
        positions.append(steps[:length])
        prefix_C[c] = length
        prefix_CP[c, :length] = begin + steps[:length]
        for g, branch in enumerate(block.branches):
            branch_CG[c, g] = len(branch)
            branch_CGS[c, g, : len(branch)] = len(ids) + steps[: len(branch)]
            positions.append(length + steps[: len(branch)])
            ids += branch
        if segments and segments[-1][0] == block.node:
            segments[-1] = (block.node, segments[-1][1], len(ids))
        else:
            segments.append((block.node, begin, len(ids)))
    return Packed(
        torch.tensor(ids),
        torch.from_numpy(np.concatenate(positions)),
        segments,
        torch.from_numpy(prefix_CP),
        torch.from_numpy(prefix_C),
        torch.from_numpy(branch_CGS),
        torch.from_numpy(branch_CG),
    )


def pack(
    samples: Sequence[TrainSample], max_tokens: int = 4096, share: bool = True, whole: bool = False
) -> list[MicroBatch]:
    """Pack samples into micro-batches of at most `max_tokens` flat tokens (a single sample may exceed it).

    Every sample is in exactly one micro-batch. With `share` off every sample keeps its whole prompt; the gradients
    are the same. With `whole` the samples of one node and group stay together, even beyond `max_tokens`. Raises
    ValueError for an empty prompt or completion.
    """
    groups: dict[tuple[int, Hashable], list[int]] = {}
    for i, sample in enumerate(samples):
        if not len(sample.prompt_ids) or not len(sample.completion_ids):
            raise ValueError(f"sample {i} has an empty prompt or completion")
        groups.setdefault((sample.node, sample.group if share else i), []).append(i)
    blocks: list[Block] = []
    for (node, _), members in sorted(groups.items(), key=lambda item: item[0][0]):
        shared = shared_length([list(samples[i].prompt_ids) for i in members])
        prefix = list(samples[members[0]].prompt_ids[:shared])
        branches = [[*samples[i].prompt_ids[shared:], *samples[i].completion_ids] for i in members]
        start, size = 0, shared
        for stop, branch in enumerate(branches):
            if stop > start and size + len(branch) > max_tokens and not whole:
                blocks.append(Block(node, prefix, branches[start:stop], members[start:stop]))
                start, size = stop, shared
            size += len(branch)
        blocks.append(Block(node, prefix, branches[start:], members[start:]))
    batches: list[MicroBatch] = []
    start = size = 0
    for stop, block in enumerate(blocks):
        if stop > start and size + block.tokens > max_tokens:
            batches.append(_micro_batch(blocks[start:stop], samples))
            start, size = stop, 0
        size += block.tokens
    if blocks:
        batches.append(_micro_batch(blocks[start:], samples))
    return batches


def _micro_batch(blocks: Sequence[Block], samples: Sequence[TrainSample]) -> MicroBatch:
    packed = flatten(blocks)
    keep: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    targets: list[int] = []
    members: list[int] = []
    at = 0
    for block in blocks:
        at += len(block.prefix)
        for i, branch in zip(block.members, block.branches, strict=True):
            completion = samples[i].completion_ids
            n = len(completion)
            keep.append(np.arange(at + len(branch) - n - 1, at + len(branch) - 1))
            rows.append(np.full(n, len(members)))
            columns.append(np.arange(n))
            targets += completion
            members.append(i)
            at += len(branch)
    return MicroBatch(
        packed,
        members,
        torch.from_numpy(np.concatenate(keep)),
        torch.from_numpy(np.concatenate(rows)),
        torch.from_numpy(np.concatenate(columns)),
        torch.tensor(targets),
        max(map(len, columns)),
    )
