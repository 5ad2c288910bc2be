"""The table of a comparison in a terminal, and what it says in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .plot import arrange, count, plain_name
from .results import Outcomes, Row, paired_difference

COLUMNS = (
    "accuracy %\n(95 % interval)", "un-\nparsed", "\ncalls", "tokens\nin", "\nout", "trained\nparams", "train\ntime"
)  # fmt: skip


SIGNIFICANT = 0.05


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def print_table(rows: Sequence[Row], console: Console, title: str) -> None:
    """The aggregate rows, best first; each network is followed by its silenced variants.

    Accuracy comes with its 95 % interval; calls and tokens are per question. It fits 80 columns for usual names. Where
    a method raised, the last column says on how many questions.
    """
    raised = any(row.extra.get("errors") for row in rows)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, header_style="bold")
    table.add_column("\nmethod", overflow="fold")
    for name in (*COLUMNS, *(["\nerrors"] if raised else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in arrange(rows):
        silenced = row.extra.get("silenced_name")
        name = f"  └ {silenced}" if silenced else plain_name(row)
        training = row.extra.get("training_seconds")
        table.add_row(
            name,
            f"{percent(row.accuracy):>4} ({percent(row.accuracy_low)}–{percent(row.accuracy_high)})",
            f"{100 * row.unparsed:.0f} %",
            f"{row.calls:.4g}",
            count(row.prompt_tokens),
            count(row.sampled_tokens),
            count(row.trainable_parameters) if row.trainable_parameters else "–",
            f"{training:.0f} s" if training and not silenced else "–",
            *([f"{row.extra.get('errors', 0)}"] if raised else []),
            style="dim" if silenced else None,
        )
    console.print(title, style="bold", highlight=False, soft_wrap=True)
    console.print(table)


def against_votes(rows: Sequence[Row]) -> list[str]:
    """Each trained method beside self-consistency at equal sampled tokens, in words; the difference is paired."""
    lines = []
    for row in rows:
        if "p_holm" not in row.extra or not row.trainable_parameters:
            continue
        mean, low, high = (100 * row.extra[name] for name in ("difference", "difference_low", "difference_high"))
        told_apart = row.extra["p_holm"] < SIGNIFICANT
        verdict = ("better than" if mean > 0 else "worse than") if told_apart else "not told apart from"
        lines.append(
            f"{row.method}: {mean:+.1f} points ({low:+.1f} to {high:+.1f}), {verdict} {row.extra['against']} "
            f"(Holm's p {p_value(row.extra['p_holm'])})"
        )
    return lines


def raised(rows: Sequence[Row], outcomes: Mapping[str, Sequence[Outcomes]]) -> list[str]:
    """Which methods raised, on how many questions, and the first thing they said."""
    lines = []
    for row in rows:
        if row.seed is None and row.extra.get("errors"):
            times = row.extra["errors"]
            first = next(text for seed in outcomes[row.method] for text in seed.errors.values())
            asked = "1 question" if times == 1 else f"{times} questions"
            lines.append(f"{row.method} raised on {asked}, counted wrong; the first: {first}")
    return lines


def difference(outcomes: Mapping[str, Sequence[Outcomes]], first: str, second: str) -> tuple[float, float, float]:
    """Accuracy of `first` less that of `second` on the same seeds and questions, with its 95 % interval."""
    return paired_difference(
        np.stack([each.correct_Q for each in outcomes[first]]), np.stack([each.correct_Q for each in outcomes[second]])
    )


def scope(rows: Sequence[Row]) -> str:
    """What the rows stand on, in a line: questions, split, seeds, backbone."""
    row = next((row for row in rows if row.seed is None), rows[0])
    seeds = int(row.extra.get("seeds", 1))
    parts = [f"{row.questions:,} questions of the split {row.split}", f"{seeds} seed" + ("" if seeds == 1 else "s")]
    if row.extra.get("questions_sha256"):
        parts.append(f"sha256 {row.extra['questions_sha256'][:12]}")
    if row.extra.get("split_origin"):
        parts.append(str(row.extra["split_origin"]))
    if row.extra.get("backbone"):
        parts.append(f"backbone {row.extra['backbone']}")
    return " · ".join(parts)


def about(row: Row) -> str:
    """The task of a row with its difficulty or data file, for a title."""
    details = [str(row.extra[name]) for name in ("difficulty", "data") if row.extra.get(name)]
    return " ".join([row.task, *(f"({detail})" for detail in details)])
