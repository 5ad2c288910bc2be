"""The figures of the pages: accuracy against what it costs, differences, performance profiles, a method over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ..statistics import paired
from ..views import Board, Comparison, Entry, Views
from .links import Links
from .svg import CHARACTER, Drawing, Scale, brief, linear_scale, log_scale, log_ticks, ticks

WIDTH = 720.0
COSTS = (("tokens", "sampled tokens a question"), ("calls", "calls a question"),
         ("parameters", "trainable parameters"))  # fmt: skip
MOST_LABELS, MOST_CURVES, MOST_ROWS = 10, 6, 14
DASHES = ("", "7 3", "2 3", "10 3 2 3", "4 4", "1 4")


@dataclass(frozen=True)
class Mark:
    """One system: its name, what it costs, its accuracy with a 95 % interval (shares), and its page."""

    name: str
    cost: float
    accuracy: float
    low: float
    high: float
    href: str | None = None


@dataclass(frozen=True)
class Gap:
    """A difference in accuracy with its 95 % interval (shares)."""

    name: str
    mean: float
    low: float
    high: float
    href: str | None = None


def of_board(board: Board, views: Views, link: Links) -> list[str]:
    """All figures of a board's page."""
    ranked = list(board.all)
    if not ranked:
        return []
    figures = [pareto([_mark(entry, getattr(entry, cost), link) for entry in ranked], title) for cost, title in COSTS]
    if len(ranked) > 1:
        scores, best = views.values(board.key), ranked[0]
        gaps = []
        for entry in ranked[1 : MOST_ROWS + 1]:
            made = paired(scores[entry.id], scores[best.id])
            gaps.append(Gap(entry.name, made.mean, made.low, made.high, link.compare(entry.id, best.id)))
        figures.append(forest(gaps, f"Less the best, {best.name}: points of accuracy, paired by question"))
        curves = [(entry.name, scores[entry.id].mean(axis=0)) for entry in ranked[:MOST_CURVES]]
        figures.append(profile(curves))
    return figures


def of_comparison(made: Comparison, views: Views) -> list[str]:
    scores = views.values(made.board)
    gap = Gap(made.second.name, made.difference.mean, made.difference.low, made.difference.high)
    title = f"{made.first.name} less the other: points of accuracy, paired by question"
    curves = [(entry.name, scores[entry.id].mean(axis=0)) for entry in (made.first, made.second)]
    return [forest([gap], title), profile(curves)]


def _mark(entry: Entry, cost: float, link: Links) -> Mark:
    standing = entry.standing
    low, high = (standing.low, standing.high) if standing else (entry.accuracy, entry.accuracy)
    return Mark(entry.name, float(cost), entry.accuracy, low, high, link.submission(entry.id))


# ---------------------------------------------------------------------- accuracy against cost


def front(marks: Sequence[Mark]) -> list[int]:
    """The Pareto front, by rising cost: those that no other is both as cheap and as accurate as, and better in one."""
    order = sorted(range(len(marks)), key=lambda place: (marks[place].cost, -marks[place].accuracy))
    found: list[int] = []
    for place in order:
        mark, last = marks[place], marks[found[-1]] if found else None
        if last is None or mark.accuracy > last.accuracy or (mark.accuracy, mark.cost) == (last.accuracy, last.cost):
            found.append(place)
    return found


def pareto(marks: Sequence[Mark], x_label: str) -> str:
    """Accuracy against a cost on a logarithmic axis, with intervals and the Pareto front."""
    title = f"Accuracy against {x_label}"
    if not marks:
        return nothing(title)
    sheet = Drawing(WIDTH, 400, title)
    sheet.title(title)
    x = log_scale([mark.cost for mark in marks], 66, WIDTH - 24)
    y = _accuracy_axis(sheet, [value for mark in marks for value in (mark.low, mark.high)], 40, 342)
    for tick in log_ticks(x.low, x.high):
        sheet.line("grid", x(tick), 40, x(tick), 342)
        sheet.text("tick", x(tick), 360, brief(tick), "middle")
    if x.zero:
        sheet.line("grid", x(0), 40, x(0), 342)
        sheet.text("tick", x(0), 360, "0", "middle")
    sheet.text("axis", WIDTH / 2, 386, x_label, "middle")
    best = front(marks)
    steps: list[tuple[float, float]] = []
    for place in best:
        at = x(marks[place].cost), y(marks[place].accuracy)
        if steps:
            steps.append((at[0], steps[-1][1]))
        steps.append(at)
    if steps:
        sheet.path("front", [*steps, (WIDTH - 24, steps[-1][1])])
    crowded = len(marks) > 60
    for place, mark in enumerate(marks):
        kind = "mark best" if place in best else "mark faint" if crowded else "mark"
        if not crowded or place in best:
            sheet.line("whisker", x(mark.cost), y(mark.low), x(mark.cost), y(mark.high))
        told = f"{mark.name}: {100 * mark.accuracy:.1f} %, {brief(mark.cost)}"
        sheet.dot(kind, x(mark.cost), y(mark.accuracy), 5 if place in best else 4, told, mark.href)
    _label(sheet, marks, best, x, y)
    return sheet.svg()


def _label(sheet: Drawing, marks: Sequence[Mark], best: Sequence[int], x: Scale, y: Scale) -> None:
    """Names where they fit: the front first, then the others from the best on."""
    order = [*best[::-1], *(p for p in range(len(marks)) if p not in best)]
    taken: list[tuple[float, float, float, float]] = [
        (x(m.cost) - 4, y(m.accuracy) - 4, x(m.cost) + 4, y(m.accuracy) + 4) for m in marks
    ]
    written = 0
    for place in order:
        if written == MOST_LABELS:
            return
        mark = marks[place]
        name = mark.name if len(mark.name) <= 26 else mark.name[:25] + "…"
        wide, px, py = CHARACTER * len(name), x(mark.cost), y(mark.accuracy)
        for left, top, anchor in ((px + 9, py + 4, "start"), (px - 9, py + 4, "end"), (px + 9, py - 8, "start"),
                                  (px - 9, py - 8, "end"), (px + 9, py + 17, "start")):  # fmt: skip
            x1 = left if anchor == "start" else left - wide
            box = (x1, top - 10, x1 + wide, top + 2)
            inside = box[0] > 66 and box[2] < WIDTH and box[1] > 24 and box[3] < 342
            if inside and not any(_overlap(box, other) for other in taken):
                sheet.text("name", left, top, name, anchor)
                taken.append(box)
                written += 1
                break


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _accuracy_axis(sheet: Drawing, shares: Sequence[float], top: float, bottom: float) -> Scale:
    """The vertical axis in per cent, as far as the values go."""
    low, high = 100 * min(shares), 100 * max(shares)
    room = max(2.0, 0.06 * (high - low))
    scale = linear_scale(max(0.0, low - room), min(100.0, high + room), bottom, top)
    for tick in ticks(scale.low, scale.high):
        sheet.line("grid", 66, scale(tick), WIDTH - 24, scale(tick))
        sheet.text("tick", 58, scale(tick) + 4, f"{tick:g} %", "end")
    return Scale(scale.low / 100, scale.high / 100, bottom, top)


# ---------------------------------------------------------------------- differences


def forest(gaps: Sequence[Gap], title: str) -> str:
    """Differences in points with their intervals, one a row; those whose interval leaves zero out stand out."""
    if not gaps:
        return nothing(title)
    sheet = Drawing(WIDTH, 62 + 26 * len(gaps), title)
    sheet.title(title)
    bottom = 34 + 26 * len(gaps)
    ends = [0.0, *(100 * value for gap in gaps for value in (gap.low, gap.high))]
    room = max(0.5, 0.05 * (max(ends) - min(ends)))
    x = linear_scale(min(ends) - room, max(ends) + room, 200, WIDTH - 190)
    for tick in ticks(x.low, x.high, 5):
        sheet.line("grid", x(tick), 30, x(tick), bottom)
        sheet.text("tick", x(tick), bottom + 18, f"{tick:+g}" if tick else "0", "middle")
    sheet.line("zero", x(0), 30, x(0), bottom)
    for row, gap in enumerate(gaps):
        y = 48 + 26 * row
        kind = "sure" if gap.low > 0 or gap.high < 0 else "unsure"
        figures = f"{100 * gap.mean:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})".replace("-", "−")
        sheet.text("name", 4, y + 4, gap.name, most=28)
        sheet.line(f"whisker {kind}", x(100 * gap.low), y, x(100 * gap.high), y)
        sheet.dot(f"mark {kind}", x(100 * gap.mean), y, 5, f"{gap.name}: {figures}", gap.href)
        sheet.text("figure", WIDTH - 4, y + 4, figures, "end")
    return sheet.svg()


# ---------------------------------------------------------------------- performance profile


def profile(curves: Sequence[tuple[str, np.ndarray]]) -> str:
    """For each system the share of questions that at least a share τ of its seeds gets right."""
    title = "Performance profile: questions that at least a share τ of the seeds gets right"
    if not curves:
        return nothing(title)
    legend = 20 * ((len(curves) + 1) // 2)
    sheet = Drawing(WIDTH, 350 + legend, title)
    sheet.title(title)
    x = linear_scale(0, 1, 66, WIDTH - 24)
    levels = [np.concatenate([np.unique(values_Q), [1.0]]) for _, values_Q in curves]
    shares = [
        [float((values_Q >= t - 1e-9).mean()) for t in ts] for (_, values_Q), ts in zip(curves, levels, strict=True)
    ]
    y = _accuracy_axis(sheet, [1.0, *(share for own in shares for share in own)], 40, 300)
    for tick in ticks(0, 1, 5):
        sheet.line("grid", x(tick), 40, x(tick), 300)
        sheet.text("tick", x(tick), 318, f"{tick:g}", "middle")
    sheet.text("axis", WIDTH - 24, 336, "τ", "end")
    for place, ((name, _), ts, own) in enumerate(zip(curves, levels, shares, strict=True)):
        points = [(x(0.0), y(own[0]))]
        for t, share in zip(ts, own, strict=True):
            points += [(points[-1][0], y(share)), (x(float(t)), y(share))]
        sheet.path(f"curve c{place}", points, DASHES[place % len(DASHES)])
        left, top = 66 + (WIDTH / 2 - 40) * (place % 2), 346 + 20 * (place // 2)
        sheet.path(f"curve c{place}", [(left, top - 4), (left + 34, top - 4)], DASHES[place % len(DASHES)])
        sheet.text("name", left + 42, top, name, most=38)
    return sheet.svg()


# ---------------------------------------------------------------------- over time


def over_time(entries: Sequence[Entry], title: str, link: Links) -> str:
    """A method's submissions by date, and the best so far."""
    if not entries:
        return nothing(title)
    sheet = Drawing(WIDTH, 300, f"{title}: accuracy over time")
    sheet.title(f"{title}: accuracy over time")
    days = [datetime.fromisoformat(entry.received.replace("Z", "+00:00")).timestamp() / 86400 for entry in entries]
    x = linear_scale(min(days), max(days), 80, WIDTH - 40)
    y = _accuracy_axis(sheet, [entry.accuracy for entry in entries], 40, 250)
    last = -1e9
    for day, entry in zip(days, entries, strict=True):
        if x(day) - last > 90:
            sheet.text("tick", x(day), 270, entry.received[:10], "middle")
            last = x(day)
    steps: list[tuple[float, float]] = []
    best = -1.0
    for day, entry in zip(days, entries, strict=True):
        if entry.accuracy > best:
            if steps:
                steps.append((x(day), steps[-1][1]))
            best = entry.accuracy
            steps.append((x(day), y(best)))
    sheet.path("front", [*steps, (WIDTH - 24, steps[-1][1])])
    for day, entry in zip(days, entries, strict=True):
        told = f"{entry.name}, {entry.received[:10]}: {100 * entry.accuracy:.1f} %"
        sheet.dot("mark", x(day), y(entry.accuracy), 5, told, link.submission(entry.id))
    return sheet.svg()


def nothing(title: str) -> str:
    """In the place of a figure that has nothing to show."""
    sheet = Drawing(WIDTH, 60, title)
    sheet.title(title)
    sheet.text("axis", 4, 44, "Nothing to show yet.")
    return sheet.svg()
