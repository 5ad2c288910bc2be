"""What accuracy costs: every method at its sampled tokens a question, and the frontier that no other beats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .plot import FAINT, GRID, INK, colour, is_network, plain_name, save
from .results import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

NEAR = 14
"""How far from its point, in points of 1/72 inch, a name may stand without a line that leads to it."""

FEWEST = 0.5
"""Where a method that samples no token stands on a logarithmic axis."""


def tokens(row: Row) -> float:
    return max(row.sampled_tokens, FEWEST)


def frontier(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other matches in accuracy with fewer or as many tokens, by rising tokens."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (tokens(row), -row.accuracy)):
        if not best or row.accuracy > best[-1].accuracy:
            best.append(row)
    return best


def draw_pareto(rows: Sequence[Row], path: Path, title: str, subtitle: str = "") -> None:
    """Write the picture of the aggregate rows to `path`; networks with a silenced layer are left out."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    shown = [row for row in rows if row.seed is None and not row.extra.get("silenced")]
    figure = Figure(figsize=(10.6, 6.4), facecolor="white")
    axes = figure.add_axes((0.075, 0.085, 0.895, 0.765), facecolor="none")
    figure.text(0.022, 0.945, title, fontsize=15, fontweight="bold", color=INK, va="center")
    figure.text(0.022, 0.895, subtitle, fontsize=9.5, color=FAINT, va="center")

    axes.set_xscale("log")
    lowest, highest = min(map(tokens, shown)), max(map(tokens, shown))
    axes.set_xlim(lowest / 1.4, highest * 1.4)
    axes.set_ylim(-4, 104)
    axes.set_yticks(range(0, 101, 20), [f"{tick} %" for tick in range(0, 101, 20)])
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("sampled tokens per question (logarithmic)", color=FAINT, fontsize=9.5)
    axes.set_ylabel("accuracy, with its 95 % interval", color=FAINT, fontsize=9.5)
    axes.tick_params(which="both", length=0, colors=FAINT, labelsize=9)
    axes.grid(color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)

    best = frontier(shown)
    steps = [*map(tokens, best), axes.get_xlim()[1]]
    axes.step(steps, [100 * row.accuracy for row in [*best, best[-1]]], where="post", color=INK, alpha=0.45, lw=1.2)
    for row in shown:
        ends = [100 * row.accuracy_low, 100 * row.accuracy_high]
        axes.plot([tokens(row)] * 2, ends, color=colour(row), linewidth=4, alpha=0.22, solid_capstyle="round")
        axes.scatter(
            [tokens(row)], [100 * row.accuracy], s=56, color=colour(row), edgecolor="white", linewidth=1.2, zorder=3
        )
    _label(axes, shown, {row.method for row in best})
    save(figure, path)


def _label(axes: Axes, rows: Sequence[Row], on_frontier: set[str]) -> None:
    """Write each method's name beside its point, where it hides no other name and no point; a line leads to a name
    that had to go further away. Those on the frontier choose first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    renderer = FigureCanvasAgg(axes.figure.get_figure(root=True)).get_renderer()
    points = [axes.transData.transform((tokens(row), 100 * row.accuracy)) for row in rows]
    taken = [Bbox.from_extents(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    scale = axes.figure.dpi / 72
    halo = [withStroke(linewidth=2.5, foreground="white")]
    order = sorted(range(len(rows)), key=lambda i: (rows[i].method not in on_frontier, -rows[i].accuracy))
    for place in order:
        row, (x, y) = rows[place], points[place]
        chosen, fewest = None, float("inf")
        for right, up, side in _offsets():
            text = axes.annotate(
                plain_name(row), (tokens(row), 100 * row.accuracy), (right, up), textcoords="offset points",
                ha=side, va="center", fontsize=9.5, color=INK, zorder=4,
                fontweight="bold" if is_network(row) else "normal", path_effects=halo,
            )  # fmt: skip
            box = text.get_window_extent(renderer).padded(1.5 * scale)
            way = _near(box, x, y) if right**2 + up**2 > NEAR**2 else (x, y)
            hidden = sum(box.overlaps(other) for other in taken) + 10 * (not _inside(box, axes.bbox))
            hidden += sum(_crosses(other, (x, y), way) for other in taken)
            if hidden < fewest:
                if chosen is not None:
                    chosen[0].remove()
                chosen, fewest = (text, box, (right, up)), hidden
            else:
                text.remove()
            if not fewest:
                break
        assert chosen is not None
        _, box, (right, up) = chosen
        taken.append(box)
        if right**2 + up**2 > NEAR**2:
            near_x, near_y = axes.transData.inverted().transform(_near(box, x, y))
            axes.plot([tokens(row), near_x], [100 * row.accuracy, near_y], color=FAINT, linewidth=0.7, zorder=2)


def _offsets() -> Iterator[tuple[float, float, str]]:
    """Places of a name around its point, in points of 1/72 inch, the nearest first, and which end of it is there."""
    for distance in range(9, 130, 9):
        for up in (0.0, 0.5, -0.5, 1.0, -1.0):
            yield distance, up * distance, "left"
            yield -distance, up * distance, "right"
        yield 0, distance, "center"
        yield 0, -distance, "center"


def _near(box: Bbox, x: float, y: float) -> tuple[float, float]:
    """The place of a box that is nearest to (x, y)."""
    return min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)


def _crosses(box: Bbox, start: tuple[float, float], end: tuple[float, float]) -> bool:
    """Whether a line runs through a box, apart from the box around its start."""
    (x, y), (far_x, far_y) = start, end
    if start == end or box.contains(x, y):
        return False
    return any(box.contains(x + part * (far_x - x), y + part * (far_y - y)) for part in (0.2, 0.4, 0.6, 0.8, 0.95))


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)
