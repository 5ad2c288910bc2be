"""The picture of a search: what its evaluations earned and cost as it went on, with random search beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..plot import FAINT, FROZEN, GRID, INK, NETWORK, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Curve:
    """The evaluations of one search, in order: reward and tokens, [B]; and those of what it found, held out."""

    rewards_B: np.ndarray
    tokens_B: np.ndarray
    found_reward: float | None = None
    found_tokens: float | None = None


def smoothed(values_B: np.ndarray, window: int) -> np.ndarray:
    """The mean of the last `window` values at each place (of as many as there are at the start), [B]."""
    sums_B = np.concatenate([[0.0], np.cumsum(values_B)])
    ends_B = np.arange(1, len(values_B) + 1)
    starts_B = np.maximum(0, ends_B - window)
    return np.asarray((sums_B[ends_B] - sums_B[starts_B]) / (ends_B - starts_B))


def draw_search(curves: Mapping[str, Curve], path: Path, title: str) -> None:
    """Write the picture; the curve called "random" is the floor, drawn behind the others."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.6, 4.4), facecolor="white")
    figure.text(0.06, 0.935, title, fontsize=14, fontweight="bold", color=INK, va="center")
    longest = max(len(curve.rewards_B) for curve in curves.values())
    window = max(1, longest // 10)
    each = f"means over {window} evaluations; " if window > 1 else ""
    subtitle = f"{each}dashed: the topology found, on held-out questions"
    figure.text(0.06, 0.86, subtitle, fontsize=9.5, color=FAINT, va="center")
    parts = (("reward of an evaluation", "rewards_B", "found_reward"),
             ("sampled tokens of an evaluation", "tokens_B", "found_tokens"))  # fmt: skip
    for place, (label, values, found) in enumerate(parts):
        axes = figure.add_axes((0.06 + 0.49 * place, 0.14, 0.43, 0.64))
        _clean(axes, label, longest)
        for name in sorted(curves, key=lambda name: name != "random"):
            curve = curves[name]
            colour = FROZEN if name == "random" else NETWORK
            values_B = smoothed(getattr(curve, values), window)
            axes.plot(np.arange(1, len(values_B) + 1), values_B, color=colour, linewidth=1.8, label=name)
            if getattr(curve, found) is not None:
                axes.axhline(getattr(curve, found), color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
        if place == 0:
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9.5, labelcolor=INK)
    save(figure, path)


def _clean(axes: Axes, label: str, longest: int) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(length=0, colors=FAINT, labelsize=9)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xlim(0, longest)
    axes.set_xlabel("evaluations", color=FAINT, fontsize=9.5)
    axes.set_title(label, color=INK, fontsize=10.5, loc="left")
