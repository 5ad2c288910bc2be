"""Drawing in SVG with attributes only: no styles and no scripts, so that the strictest content policy lets it through.

Colours are classes of the style sheet (`.mark`, `.front`, `.grid`, …), which knows light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from neuromas_env.text import visible

CHARACTER = 6.6
"""About the width of a character of the labels, in units of the drawing."""


def text_of(value: object, most: int = 200) -> str:
    """A stranger's text, fit for a drawing."""
    shown = visible(str(value))
    return escape(shown if len(shown) <= most else shown[: most - 1] + "…", quote=True)


def n(value: float) -> str:
    """A coordinate. Raises ValueError for one that is none."""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no place in a drawing")
    return f"{value:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Scale:
    """From values to places. `log` needs values above zero; with `zero`, zero has a place of its own at the start."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    zero: bool = False

    def __call__(self, value: float) -> float:
        start = self.start + (self.end - self.start) * (0.12 if self.zero else 0.0)
        if self.zero and value <= 0:
            return self.start
        if self.log:
            share = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return start + share * (self.end - start)


def log_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A logarithmic scale with room at both ends; values of zero are at a place of their own."""
    above = [value for value in values if value > 0] or [1.0]
    low, high = min(above) / 1.25, max(above) * 1.25
    if high / low < 4:
        middle = math.sqrt(low * high)
        low, high = middle / 2, middle * 2
    return Scale(low, high, start, end, log=True, zero=any(value <= 0 for value in values))


def linear_scale(low: float, high: float, start: float, end: float) -> Scale:
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    return Scale(low, high, start, end)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two values, or the powers alone where they are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [tick for tick in fine if low <= tick <= high]
    if len(inside) > 7:
        inside = [10.0**power for power in powers if low <= 10.0**power <= high]
    return inside[:: 1 + len(inside) // 9]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between two, at most about `most`."""
    raw = (high - low) / most
    step = 10.0 ** math.floor(math.log10(raw))
    step = next(step * factor for factor in (1, 2, 5, 10) if step * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def brief(value: float) -> str:
    """A tick's label."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


@dataclass
class Drawing:
    """Elements on a sheet."""

    width: float
    height: float
    label: str
    parts: list[str] = field(default_factory=list)

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self.parts.append(f'<line class="{kind}" x1="{n(x1)}" y1="{n(y1)}" x2="{n(x2)}" y2="{n(y2)}"/>')

    def path(self, kind: str, points: Sequence[tuple[float, float]], dash: str = "") -> None:
        d = "M" + "L".join(f"{n(x)} {n(y)}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<path class="{kind}"{dashed} d="{d}"/>')

    def text(self, kind: str, x: float, y: float, text: str, anchor: str = "start", most: int = 200) -> None:
        place = f'x="{n(x)}" y="{n(y)}" text-anchor="{anchor}" font-size="12"'
        self.parts.append(f'<text class="{kind}" {place}>{text_of(text, most)}</text>')

    def dot(self, kind: str, x: float, y: float, radius: float, told: str, href: str | None = None) -> None:
        place = f'cx="{n(x)}" cy="{n(y)}" r="{n(radius)}"'
        mark = f'<circle class="{kind}" {place}><title>{text_of(told, 400)}</title></circle>'
        self.parts.append(f'<a href="{escape(href, quote=True)}">{mark}</a>' if href else mark)

    def title(self, text: str) -> None:
        self.parts.append(f'<text class="title" x="4" y="18" font-size="14">{text_of(text, 110)}</text>')

    def svg(self) -> str:
        return (
            f'<svg class="chart" role="img" aria-label="{text_of(self.label)}" '
            f'viewBox="0 0 {n(self.width)} {n(self.height)}" width="{n(self.width)}">{"".join(self.parts)}</svg>'
        )
