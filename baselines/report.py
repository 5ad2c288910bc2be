"""The table of a comparison in a terminal, and what it says in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .plot import arrange, count
from .results import Row


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def print_table(rows: Sequence[Row], console: Console, title: str = "") -> None:
    """The aggregate rows, best first; each network is followed by its silenced variants."""
    table = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold")
    table.add_column("method", no_wrap=True)
    for name in ("accuracy %", "95 % interval", "unparsed %", "calls", "tokens in", "tokens out", "trained"):
        table.add_column(name, justify="right", no_wrap=name == "95 % interval")
    table.add_column("training", justify="right")
    for row in arrange(rows):
        silenced = row.extra.get("silenced_name")
        name = f"  └ {silenced}" if silenced else row.method
        if row.extra.get("samples"):
            name += f" (n = {row.extra['samples']:g})"
        training = row.extra.get("training_seconds")
        table.add_row(
            name,
            percent(row.accuracy),
            f"{percent(row.accuracy_low)} – {percent(row.accuracy_high)}",
            percent(row.unparsed),
            f"{row.calls:.4g}",
            count(row.prompt_tokens),
            count(row.sampled_tokens),
            count(row.trainable_parameters) if row.trainable_parameters else "–",
            f"{training:.0f} s" if training and not silenced else "–",
            style="dim" if silenced else None,
        )
    console.print(table)


def scope(rows: Sequence[Row]) -> str:
    """What the rows stand on, in a line: questions, split, seeds, backbone."""
    row = next((row for row in rows if row.seed is None), rows[0])
    seeds = int(row.extra.get("seeds", 1))
    parts = [f"{row.questions:,} questions of the split {row.split}", f"{seeds} seed" + ("" if seeds == 1 else "s")]
    if row.extra.get("backbone"):
        parts.append(f"backbone {row.extra['backbone']}")
    return " · ".join(parts)


def about(row: Row) -> str:
    """The task of a row with its difficulty or data file, for a title."""
    details = [str(row.extra[name]) for name in ("difficulty", "data") if row.extra.get(name)]
    return " ".join([row.task, *(f"({detail})" for detail in details)])
