"""The parts of a report: a section an experiment, with its figures as JSON, its text and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Section:
    """What one experiment found. `plots` draw into a path; `text` is Markdown below the title."""

    name: str
    title: str
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    plots: dict[str, Callable[[Path], Any]] = field(default_factory=dict)


def percent(share: float, sign: bool = False) -> str:
    return f"{100 * share:{'+' if sign else ''}.1f}"


def interval(row: Mapping[str, Any], key: str = "accuracy", sign: bool = False) -> str:
    """A share and its interval `low`, `high` in per cent."""
    return f"{percent(row[key], sign)} ({percent(row['low'], sign)} to {percent(row['high'], sign)})"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; `|` in a cell is escaped."""
    lines = [" | ".join(head), "|".join("---" for _ in head)]
    lines += [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(f"| {lines[0]} |" if number == 0 else f"|{line}|" if number == 1 else f"| {line} |"
                     for number, line in enumerate(lines))  # fmt: skip
