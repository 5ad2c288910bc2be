"""What the nodes of a run learnt, as a part of the page that `neuromas show` makes: what `neuromas inspect` wrote.

Bars are drawn by style alone, and every text goes through the page's own escaping, since a run folder may come from
anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import TranscriptError

FILE, FORMAT, VERSION = "nodes.json", "neuromas-nodes", 1
"""Where a run keeps what `neuromas inspect` found, and how it says what it is."""
MOST_ROWS = 64
NUMBERS = ("right already", "silent", "tokens", "right")
"""The columns of plain figures, set to the right."""
Escape = Callable[[object], str]


def learnt_section(run: Path | None, escape: Escape) -> str:
    """Tables of what each node says and what each edge does to the answer; nothing where RUN/nodes.json is not there.

    Raises TranscriptError where it cannot be read.
    """
    if run is None or not (run / FILE).is_file():
        return ""
    try:
        data = json.loads((run / FILE).read_text(encoding="utf-8"))
        if (data["format"], data["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {data['format']!r}, version {data['version']!r}")
        return _section(data, escape)
    except (OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError) as error:
        raise TranscriptError(
            f"{run / FILE} cannot be read ({error!r}): delete it, or write it anew with neuromas inspect"
        ) from None


def _section(data: Mapping[str, Any], escape: Escape) -> str:
    now, history = data["now"], data["history"]
    parts = [
        "<h2>What the nodes learnt</h2>",
        f'<p class="soft">The network {escape(_when(now))}, asked {int(now["questions"])} validation questions: '
        f"{float(now['accuracy']):.1%} right.</p>",
        _panel("What each node says", *_nodes(now, escape)),
    ]
    if now["edges"]:
        parts.append(_panel("What each edge does", *_edges(now, escape), note=NOTE))
    if history:
        parts.append(
            _panel("Over training", *_history(history, escape), note=HISTORY_NOTE.format(int(history[-1]["questions"])))
        )
    return "\n".join(parts)


NOTE = (
    "How many answers become others where this edge alone carries nothing (silenced), or what its sender said to "
    "another question (swapped), and what that does to the accuracy."
)
HISTORY_NOTE = (
    "The most frequent message of each node, and how many answers become others where one of its edges, the one that "
    "matters most, is swapped; on {} questions, for every network that the run keeps."
)


def _when(snapshot: Mapping[str, Any]) -> str:
    update = snapshot["update"]
    return "of bare backbones" if update is None else f"after update {int(update)}"


def _nodes(snapshot: Mapping[str, Any], escape: Escape) -> tuple[list[str], list[list[str]]]:
    rows = []
    for node in snapshot["nodes"][:MOST_ROWS]:
        types = "".join(
            f'<div style="display:flex;flex-wrap:wrap;align-items:center">{_bar(share)}'
            f'<bdi class="text" style="flex:1 1 8rem">{escape(text)}</bdi></div>'
            for text, share in node["types"]
        )
        rows.append(
            [
                f"<b>{escape(node['node'])}</b>",
                types or '<span class="silent">says nothing</span>',
                f"{float(node['right']):.0%}",
                f"{float(node['empty']):.0%}",
                f"{float(node['tokens']):.1f}",
            ]
        )
    return ["node", "messages by form", "right already", "silent", "tokens"], rows


def _edges(snapshot: Mapping[str, Any], escape: Escape) -> tuple[list[str], list[list[str]]]:
    edges = sorted(snapshot["edges"], key=lambda edge: (-edge["swapped_changes"], -edge["silenced_changes"]))
    rows = [
        [f"<b>{escape(edge['sender'])} → {escape(edge['receiver'])}</b>"]
        + [
            f"{_bar(edge[f'{kind}_changes'])}<span>accuracy {float(edge[f'{kind}_accuracy']):+.3f}</span>"
            for kind in ("silenced", "swapped")
        ]
        for edge in edges[:MOST_ROWS]
    ]
    return ["edge", "answers changed, silenced", "answers changed, swapped"], rows


def _history(history: list[Mapping[str, Any]], escape: Escape) -> tuple[list[str], list[list[str]]]:
    """A row a network: the most frequent message of each node, and how many answers hang on its edges."""
    nodes = [node["node"] for node in history[-1]["nodes"]][:MOST_ROWS]
    rows = []
    for snapshot in history[-MOST_ROWS:]:
        said = {node["node"]: node for node in snapshot["nodes"]}
        rows.append([escape(_when(snapshot)), f"{float(snapshot['accuracy']):.0%}"])
        for node in nodes:
            types = said[node]["types"]
            sent = [edge["swapped_changes"] for edge in snapshot["edges"] if edge["sender"] == node]
            says = f'{float(types[0][1]):.0%} <bdi class="text">{escape(types[0][0])}</bdi>' if types else "nothing"
            moves = f'<div class="soft">swapped: {float(max(sent)):.0%}</div>' if sent else ""
            rows[-1].append(f'<div style="min-width:6.5rem">{says}{moves}</div>')
    return ["network", "right", *map(escape, nodes)], rows


def _panel(title: str, head: list[str], rows: list[list[str]], note: str = "") -> str:
    kinds = [' class="num" style="width:auto;padding-right:1rem"' if name in NUMBERS else "" for name in head]
    names = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(kinds, head, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    ]
    return (
        f'<div class="panel wide" style="margin-top:1rem"><h3>{title}</h3>'
        + (f'<p class="soft">{note}</p>' if note else "")
        + f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _bar(share: Any) -> str:
    """A share from 0 to 1, as a figure before a bar."""
    percent = f"{float(share):.0%}"
    fill = f"linear-gradient(to right,var(--accent) {percent},var(--wash) {percent})"
    return (
        '<span style="display:inline-flex;flex:none;align-items:center;gap:.4rem;margin-right:.6rem">'
        f'<span style="width:2.6rem;text-align:right">{percent}</span>'
        f'<span style="width:5rem;height:.55rem;border-radius:99px;background:{fill}"></span></span>'
    )
