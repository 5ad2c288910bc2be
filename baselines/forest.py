"""Which methods beat the majority vote at equal sampled tokens: each paired difference with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .plot import FAINT, INK, clean, colour, is_network, plain_name, save
from .report import SIGNIFICANT, p_value
from .results import Row


def draw_forest(rows: Sequence[Row], path: Path, title: str, subtitle: str = "") -> bool:
    """Write the picture to `path`; False, and nothing is drawn, where no row was compared with the votes.

    A filled point is a difference that is told apart from none after Holm's correction.
    """
    from matplotlib.figure import Figure

    shown = sorted((row for row in rows if "p_holm" in row.extra), key=lambda row: -row.extra["difference"])
    if not shown:
        return False
    height = 2.0 + 0.36 * len(shown)
    figure = Figure(figsize=(10.6, height), facecolor="white")
    top, bottom = 1 - 1.25 / height, 0.62 / height
    axes = figure.add_axes((0.29, bottom, 0.45, top - bottom), facecolor="none")
    figure.text(0.022, 1 - 0.38 / height, title, fontsize=15, fontweight="bold", color=INK, va="center")
    figure.text(0.022, 1 - 0.70 / height, subtitle, fontsize=9.5, color=FAINT, va="center")

    clean(axes, len(shown))
    ends = [100 * row.extra[end] for row in shown for end in ("difference_low", "difference_high")]
    margin = 0.05 * (max(*ends, 0.0) - min(*ends, 0.0)) or 1.0
    axes.set_xlim(min(*ends, 0.0) - margin, max(*ends, 0.0) + margin)
    axes.set_xlabel(
        f"accuracy less that of {shown[0].extra['against']}, in points, with its 95 % interval",
        color=FAINT,
        fontsize=9.5,
        labelpad=6,
    )
    axes.axvline(0, color=INK, linewidth=1.1, alpha=0.7)
    at = axes.get_yaxis_transform()  # x as a share of the axes, y in rows
    legend = f"filled: p < {SIGNIFICANT:g} after Holm's correction"
    for x, text, side in ((-0.595, legend, "left"), (1.03, "difference", "left"), (1.53, "p (Holm)", "right")):
        axes.text(x, -0.9, text, transform=at, ha=side, va="center", fontsize=9, color=FAINT)
    for place, row in enumerate(shown):
        mean, low, high = (100 * row.extra[name] for name in ("difference", "difference_low", "difference_high"))
        tint, told_apart = colour(row), row.extra["p_holm"] < SIGNIFICANT
        weight = "bold" if is_network(row) else "normal"
        axes.plot([low, high], [place, place], color=tint, linewidth=4.5, alpha=0.3, solid_capstyle="round")
        axes.scatter(
            [mean], [place], s=52, color=tint if told_apart else "white", edgecolor=tint, linewidth=1.4, zorder=3
        )
        axes.text(
            -0.595, place, plain_name(row), transform=at, va="center", fontsize=10.5, color=INK, fontweight=weight
        )
        axes.text(
            1.03, place, f"{mean:+.1f} ({low:+.1f} to {high:+.1f})", transform=at, va="center", fontsize=9.5, color=INK
        )
        axes.text(
            1.53, place, p_value(row.extra["p_holm"]), transform=at, ha="right", va="center", fontsize=9.5,
            color=INK if told_apart else FAINT,
        )  # fmt: skip
    save(figure, path)
    return True
