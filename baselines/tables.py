"""The results of a comparison as files: `results.json`, `.csv`, `.md` and `.tex`, all made of the same rows.

JSON and CSV hold every row, seeds included, with full precision. Markdown and LaTeX hold a table for each task: the
aggregate rows, sorted by accuracy, each network followed by its silenced variants.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from algorithms.files import write_text

from .plot import arrange
from .report import about, p_value, percent, scope
from .results import Row, write_results

NOTE = (
    "Accuracy in per cent with its 95 % interval. Difference: accuracy less that of {against}, in points, paired over "
    "the same questions and seeds; p is two-sided, corrected by Holm over the methods of this table. Unread: answers "
    "that could not be read, which are wrong. Calls and tokens are means per question; seconds are those of the whole "
    "evaluation, and of the training before it. Errors: questions on which the method raised, which are wrong."
)
NOTHING = "–"


def _name(row: Row) -> str:
    if row.extra.get("silenced_name"):
        return f"└ {row.extra['silenced_name']}"
    samples = row.extra.get("samples")
    name = re.sub(":run=[^ ]*", "", row.method)
    return f"{name} ({samples:g} samples)" if samples and "@" not in name else name


def _difference(row: Row) -> str:
    if "difference" not in row.extra:
        return NOTHING
    mean, low, high = (100 * row.extra[name] for name in ("difference", "difference_low", "difference_high"))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _training(row: Row) -> str:
    seconds = row.extra.get("training_seconds")
    return f"{seconds:,.0f}" if seconds and not row.extra.get("silenced") else NOTHING


COLUMNS: dict[str, Callable[[Row], str]] = {
    "method": _name,
    "accuracy (95 % interval)": lambda row: (
        f"{percent(row.accuracy)} ({percent(row.accuracy_low)}–{percent(row.accuracy_high)})"
    ),
    "difference (95 % interval)": _difference,
    "p (Holm)": lambda row: p_value(row.extra["p_holm"]) if "p_holm" in row.extra else NOTHING,
    "unread %": lambda row: percent(row.unparsed),
    "calls": lambda row: f"{row.calls:.4g}",
    "prompt tokens": lambda row: f"{row.prompt_tokens:,.1f}",
    "sampled tokens": lambda row: f"{row.sampled_tokens:,.1f}",
    "trained parameters": lambda row: f"{row.trainable_parameters:,}" if row.trainable_parameters else NOTHING,
    "seconds": lambda row: f"{row.seconds:,.1f}",
    "training seconds": _training,
    "errors": lambda row: str(row.extra.get("errors", 0)),
}


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The table of one task, line by line, without its header."""
    return [[column(row) for column in COLUMNS.values()] for row in arrange(rows)]


def note(rows: Sequence[Row]) -> str:
    against = next((row.extra["against"] for row in rows if "against" in row.extra), None)
    return NOTE.format(against=against) if against else re.sub(r" Difference: .*?table\.", "", NOTE)


def markdown(tables: Sequence[Sequence[Row]], title: str) -> str:
    """A section with a table for each task."""
    lines = [f"# {title}", ""]
    for rows in tables:
        lines += [f"## {about(rows[0])}", "", f"{scope(rows)}.", ""]
        lines.append("| " + " | ".join(COLUMNS) + " |")
        lines.append("|" + "---|" + "---:|" * (len(COLUMNS) - 1))
        for name, *others in cells(rows):
            code = re.sub(r"^(└ )?(\S+)", r"\1`\2`", name) if not name.startswith("└") else name
            lines.append("| " + " | ".join(text.replace("|", "\\|") for text in (code, *others)) + " |")
        lines += ["", note(rows), ""]
    return "\n".join(lines)


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "└": r"\quad", "–": "--", "−": "$-$", "·": r"\textperiodcentered{}", "|": r"\textbar{}",
}  # fmt: skip


def escape(text: str) -> str:
    """`text` as LaTeX sets it, in any font encoding."""
    return "".join(LATEX.get(character, character) for character in text)


def latex(tables: Sequence[Sequence[Row]]) -> str:
    """A table for each task, for a document that loads `booktabs` and `graphicx`."""
    lines = [r"% \usepackage{booktabs,graphicx}"]
    for rows in tables:
        lines += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(f'{about(rows[0])}: {scope(rows)}. {note(rows)}')}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(COLUMNS) - 1)}}}",
            r"\toprule",
            " & ".join(map(escape, COLUMNS)) + r" \\",
            r"\midrule",
            *(" & ".join(map(escape, line)) + r" \\" for line in cells(rows)),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"


def csv_text(rows: Sequence[Row]) -> str:
    """Every row; a column for each key that any of them has, empty where a row lacks it."""
    records = [
        {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in row.to_json().items()}
        for row in rows
    ]
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def write_tables(folder: Path, tables: Sequence[Sequence[Row]], title: str) -> None:
    """`results.json`, `.csv`, `.md` and `.tex` in `folder`; each of `tables` holds the rows of one task."""
    rows = [row for table in tables for row in table]
    write_results(folder / "results.json", rows)
    write_text(folder / "results.csv", csv_text(rows))
    write_text(folder / "results.md", markdown(tables, title))
    write_text(folder / "results.tex", latex(tables))
