"""The picture of a comparison: accuracy with its 95 % interval on the left, what each answer costs on the right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neuromas_env.errors import UsageError

from .results import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")

INK, FAINT, GRID = "#1d2433", "#6b7486", "#e6e9ef"
NETWORK, TRAINED, FROZEN, SILENCED = "#2456d6", "#d9702b", "#7d8798", "#8fb0f2"


def check_plot_path(path: Path) -> None:
    """Raise UsageError where `path` cannot become a picture, before any work is done."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot {path}: a plot is written as one of {', '.join(FORMATS)}")


def colour(row: Row) -> str:
    if row.extra.get("silenced"):
        return SILENCED
    if row.trainable_parameters == 0:
        return FROZEN
    return NETWORK if is_network(row) else TRAINED


def is_network(row: Row) -> bool:
    """Whether the row is of a trained network of several nodes."""
    return row.trainable_parameters > 0 and row.extra.get("topology", "1") != "1"


def arrange(rows: Sequence[Row]) -> list[Row]:
    """The aggregate rows by falling accuracy, each network followed by its own silenced variants in layer order."""
    totals = [row for row in rows if row.seed is None]
    parents = sorted((row for row in totals if not row.extra.get("silenced")), key=lambda row: -row.accuracy)
    ordered = []
    for parent in parents:
        ordered.append(parent)
        ordered += [row for row in totals if row.extra.get("silenced_of") == parent.method]
    return ordered + [row for row in totals if row not in ordered]


def _label(row: Row) -> tuple[str, str]:
    """What the row is called, and the small print under it."""
    if row.extra.get("silenced"):
        return f"└ {row.extra['silenced_name']}", ""
    name, _, run = row.method.partition(":run=")
    small = f"{row.calls:.3g} call" + ("" if row.calls == 1 else "s")
    small += f" · {count(row.trainable_parameters)} trained" if row.trainable_parameters else " · nothing trained"
    return name, f"{Path(run).name} · {small}" if run else small


def plain_name(row: Row) -> str:
    """The method's name without the folder of its run, and how many samples it took where the name does not say."""
    name, samples = row.method.partition(":run=")[0], row.extra.get("samples")
    return f"{name} ({samples:g})" if samples and "@" not in name else name


def count(number: float) -> str:
    """A number for a reader: 950, 6.1k, 2.3M."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.3g}"


def clean(axes: Axes, rows: int) -> None:
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(axis="x", length=0, colors=FAINT, labelsize=9)
    axes.grid(axis="x", color=GRID, linewidth=1)
    axes.set_axisbelow(True)


def draw(rows: Sequence[Row], path: Path, title: str, subtitle: str = "") -> None:
    """Write the picture of `rows` (aggregates and their seeds) to `path`. Raises UsageError for an unknown ending."""
    check_plot_path(path)
    from matplotlib.figure import Figure

    ordered = arrange(rows)
    height = 1.75 + 0.52 * len(ordered)
    figure = Figure(figsize=(10.6, height), facecolor="white", layout=None)
    top, bottom = 1 - 1.02 / height, 0.62 / height
    left = figure.add_axes((0.245, bottom, 0.43, top - bottom), facecolor="none")
    right = figure.add_axes((0.745, bottom, 0.225, top - bottom), facecolor="none")
    figure.text(0.022, 1 - 0.38 / height, title, fontsize=15, fontweight="bold", color=INK, va="center")
    figure.text(0.022, 1 - 0.70 / height, subtitle, fontsize=9.5, color=FAINT, va="center")

    clean(left, len(ordered))
    left.set_xlim(-2, 102)
    left.set_xticks(range(0, 101, 20), [f"{tick} %" for tick in range(0, 101, 20)])
    left.set_xlabel("accuracy, with its 95 % interval", color=FAINT, fontsize=9.5, labelpad=6)
    for place, row in enumerate(ordered):
        _draw_accuracy(left, place, row, [each for each in rows if each.method == row.method and each.seed is not None])

    clean(right, len(ordered))
    most = max((row.sampled_tokens for row in ordered), default=1.0) or 1.0
    right.set_xlim(0, most * 1.22)
    right.set_xlabel("sampled tokens per question", color=FAINT, fontsize=9.5, labelpad=6)
    for place, row in enumerate(ordered):
        right.barh(place, row.sampled_tokens, height=0.34, color=colour(row), alpha=0.85, linewidth=0)
        right.text(
            row.sampled_tokens + most * 0.03, place, count(row.sampled_tokens), va="center", fontsize=9.5, color=INK
        )

    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    figure.savefig(temporary, dpi=170)
    os.replace(temporary, path)


def _draw_accuracy(axes: Axes, place: int, row: Row, seeds: Sequence[Row]) -> None:
    tint = colour(row)
    silenced = bool(row.extra.get("silenced"))
    low, high, mean = 100 * row.accuracy_low, 100 * row.accuracy_high, 100 * row.accuracy
    axes.plot([low, high], [place, place], color=tint, linewidth=6, alpha=0.28, solid_capstyle="round")
    if len(seeds) > 1:
        dots = [100 * each.accuracy for each in seeds]
        axes.scatter(dots, [place] * len(dots), s=16, color=tint, alpha=0.6, linewidth=0)
    face = "white" if silenced else tint
    axes.scatter([mean], [place], s=58, color=face, edgecolor=tint if silenced else "white", linewidth=1.3, zorder=3)
    # The figure stands right of the interval, or left of it where the right edge is near.
    side, where = ("left", high + 2.2) if high < 88 else ("right", low - 2.2)
    weight = "bold" if is_network(row) and not silenced else "normal"
    axes.text(where, place, f"{mean:.1f}", ha=side, va="center", fontsize=10.5, color=INK, fontweight=weight)

    name, small = _label(row)
    at = axes.get_yaxis_transform()  # x as a share of the axes, y in rows
    indent = -0.487 if silenced else -0.5186  # -0.5186 is the left edge of the title
    size, ink = (9.5, FAINT) if silenced else (11, INK)
    shift = -0.15 if small else 0.0
    axes.text(indent, place + shift, name, transform=at, va="center", fontsize=size, color=ink, fontweight=weight)
    if small:
        axes.text(indent, place + 0.22, small, transform=at, va="center", fontsize=8.2, color=FAINT)
