"""The learning rate over a run: a linear warm-up, then constant, or decayed linearly or by a cosine."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate(
    update: float, updates: int, peak: float, *, schedule: Schedule = "linear", warmup: int = 0, final: float = 0.0
) -> float:
    """The learning rate of `update` (1 … `updates`, fractions included).

    It rises linearly to `peak` over the first `warmup` updates; the first update after them runs at `peak`, and the
    last one ends near `peak * final` (it would be reached one update later).
    """
    if update <= warmup:
        return peak * update / (warmup + 1)
    progress = (update - 1 - warmup) / max(1, updates - warmup)
    if schedule == "linear":
        left = 1.0 - progress
    elif schedule == "cosine":
        left = 0.5 * (1.0 + math.cos(math.pi * progress))
    else:
        return peak
    return peak * (final + (1.0 - final) * left)
