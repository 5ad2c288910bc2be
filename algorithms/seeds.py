"""Counter-based randomness: every random choice of a run is a pure function of (seed, purpose, counters).

Nothing here holds state, so a resumed run draws what an uninterrupted one would have drawn without storing any
generator, and no choice depends on how many others were made before it.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(*parts: int | str) -> int:
    """A seed in [0, 2**63) from integers and strings; parts of different type or order give unrelated seeds."""
    text = "\x1f".join(f"{type(part).__name__}={part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def question_indices(seed: int, update: int, count: int, size: int | None) -> list[int]:
    """The indices of the `count` training questions of `update` (from 1).

    A finite split of `size` questions is walked in passes, each in its own random order, so that every question is
    seen once before any is seen twice. An endless split (`size` None) is read consecutively from a start that
    depends on the seed.
    """
    first = (update - 1) * count
    if size is None:
        start = derive(seed, "questions") % 2**31
        return [start + first + offset for offset in range(count)]
    indices: list[int] = []
    for position in range(first, first + count):
        if not indices or position % size == 0:
            order = np.random.default_rng(derive(seed, "questions", position // size)).permutation(size)
        indices.append(int(order[position % size]))
    return indices
