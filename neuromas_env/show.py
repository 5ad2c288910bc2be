"""Transcripts as one HTML page: the network drawn, and every message of every episode along its graph.

The page is a single file without scripts and without any reference to another file, so it can be mailed, archived and
opened anywhere. Messages are untrusted text: they are escaped, and characters that would move other text around are
written by their code point, such as ⟨U+202E⟩.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import TranscriptError
from .show_nodes import learnt_section
from .show_style import CSS
from .text import visible
from .topology import Topology
from .transcripts import Call, Episode, Transcript, read_transcript

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
OUTCOMES = {
    "correct": "right",
    "wrong": "wrong",
    "unparsed": "unreadable",
    "missing": "no answer",
    "failed": "not judged",
}
MAX_EPISODES = 200
FLAG_NAMES = {"cut": "too long, cut", "missing": "missing", "surrogates": "repaired"}


@dataclass(frozen=True)
class Part:
    """One transcript on the page, under its name; `run` is the folder of the run that it is part of."""

    name: str
    transcript: Transcript
    run: Path | None = None


def load(path: str | Path) -> tuple[str, list[Part], list[dict[str, Any]]]:
    """Title, transcripts (newest first) and metrics of a run folder or of one transcript file.

    Raises TranscriptError where there is nothing to show or a file is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        return path.stem, [Part(path.stem, read_transcript(path))], []
    files = sorted((path / "transcripts").glob("*.jsonl"), key=_age_key, reverse=True)
    if not files:
        raise TranscriptError(f"{path} holds no transcripts/*.jsonl; a run folder or a transcript file is accepted")
    return path.resolve().name, [Part(file.stem, read_transcript(file), path) for file in files], _metrics(path)


def _age_key(file: Path) -> tuple[str, int, str]:
    """Sort `validation_9` before `validation_10`."""
    stem, _, number = file.stem.rpartition("_")
    return (stem, int(number), "") if number.isdigit() else (file.stem, -1, number)


def _metrics(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else [], start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise TranscriptError(f"{file}, line {number}: not JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise TranscriptError(f"{file}, line {number}: not an object")
        rows.append(row)
    return rows


def render_page(
    title: str, parts: Sequence[Part], metrics: Sequence[dict[str, Any]] = (), *, max_episodes: int = MAX_EPISODES
) -> str:
    """The page. Of each transcript at most `max_episodes` episodes are shown, and the page says so."""
    first = parts[0]
    header = first.transcript.header
    method = f" · {header.method}" if header.method else ""
    chart = _chart(metrics)
    drawing = f'<div class="panel drawing"><h3>The network</h3>{draw_network(header.topology, header.silence)}</div>'
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="sub">{_text(header.task)}, version {header.task_version} · network {_text(str(header.topology))}'
        f"{_text(method)} · split {_text(header.split)}</p>",
        _facts(first),
        f'<div class="two">{drawing}{chart}</div>' if chart else f'<div class="two one">{drawing}</div>',
        _node_table(first),
        learnt_section(first.run, _text),
    ]
    for number, part in enumerate(parts):
        content = _episodes(part, number, max_episodes)
        if len(parts) == 1:
            body.append(f"<h2>Episodes</h2>{content}")
        else:
            opened = " open" if number == 0 else ""
            share = f"{sum(e.score.value for e in part.transcript.episodes):g} of {len(part.transcript.episodes)} right"
            body.append(
                f'<details class="part"{opened}><summary>{_text(part.name)}: {share}</summary>{content}</details>'
            )
    body.append('<footer class="page">Made by neuromas show. Every message is shown as it was said.</footer>')
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<style>{CSS}{_filter_rules(len(parts))}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _text(text: object) -> str:
    return html.escape(visible(str(text), keep_newlines=True))


def _facts(part: Part) -> str:
    episodes = part.transcript.episodes
    count = max(1, len(episodes))
    calls = [call for episode in episodes for call in episode.calls]
    right = sum(episode.score.value for episode in episodes) / count
    unread = sum(episode.score.unread for episode in episodes) / count
    facts = [
        (f"{len(episodes):,}", "episode" if len(episodes) == 1 else "episodes"),
        (f"{right:.1%}" if episodes else "–", "right"),
        (f"{unread:.1%}" if episodes else "–", "unreadable answers"),
        (f"{len(calls) / count:.3g}", "messages a question"),
        (f"{sum(call.sampled_tokens for call in calls) / count:,.1f}", "sampled tokens a question"),
    ]
    return (
        '<div class="facts">'
        + "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in facts)
        + "</div>"
    )


# ---------------------------------------------------------------------- the network


def draw_network(topology: Topology, silence: Sequence[str] = ()) -> str:
    """The graph as SVG: a column a layer, from left to right. Its looks are those of `.graph` in the style sheet."""
    layers = topology.layers
    tallest = max(map(len, layers))
    if tallest > 24 or len(layers) > 40:
        return f'<p class="soft">{topology.num_nodes} nodes and {len(topology.edges)} edges: too large to draw.</p>'
    across, down, radius = (110 if len(layers) < 8 else 72), 74, 19
    place = {}
    for column, layer in enumerate(layers):
        for row, node in enumerate(layer):
            place[node] = (50 + across * column, 34 + down * (row + (tallest - len(layer)) / 2))
    lines = []
    for sender, receiver in topology.edges:
        (x1, y1), (x2, y2) = place[sender], place[receiver]
        hushed = ' class="hushed"' if sender in silence else ""
        # Nodes of one column hear each other in rounds: their edges bend around what stands between them.
        bend = f"Q{x1 - 30 - abs(y1 - y2) / 4:g} {(y1 + y2) / 2:g} " if x1 == x2 else "L"
        lines.append(f'<path{hushed} d="M{x1} {y1:g} {bend}{x2} {y2:g}"/>')
    nodes = []
    for node, (x, y) in place.items():
        position = topology.positions[topology.index(node)]
        kind = ' class="out"' if position.is_output else ' class="hushed"' if node in silence else ""
        nodes.append(
            f'<circle{kind} cx="{x}" cy="{y:g}" r="{radius}"/>'
            f'<text x="{x}" y="{y + 4:g}">{position.layer}.{position.index}</text>'
            f'<text class="name" x="{x}" y="{y + radius + 14:g}">{_text(node)}</text>'
        )
    width, height = 100 + across * (len(layers) - 1), 34 + down * (tallest - 1) + radius + 22
    label = f"Network {topology}: {topology.num_nodes} nodes, output {topology.output}"
    return (
        f'<svg class="graph" role="img" aria-label="{_text(label)}" viewBox="0 0 {width} {height:g}" '
        f'width="{1.3 * width:g}">{"".join(lines + nodes)}</svg>'
    )


def _node_table(part: Part) -> str:
    """What each node does over all episodes: how often it is silent, how much it says, how varied it is."""
    topology, episodes = part.transcript.header.topology, part.transcript.episodes
    rows = []
    for node in topology.nodes[:64]:
        said = [call for episode in episodes for call in episode.calls if call.node == node]
        count = max(1, len(said))
        senders = ", ".join(topology.incoming(node)) or "the question only"
        hushed = ' <span class="badge note">silenced</span>' if node in part.transcript.header.silence else ""
        tokens = f"{sum(call.sampled_tokens for call in said) / count:.1f}"
        cells = [len({call.text for call in said}), f"{sum(not call.text for call in said) / count:.0%}", tokens]
        rows.append(
            f"<tr><td><b>{_text(node)}</b>{hushed}</td><td>{_text(senders)}</td>"
            + "".join(f'<td class="num">{cell}</td>' for cell in cells)
            + "</tr>"
        )
    head = '<th>node</th><th>hears</th><th class="num">different messages</th><th class="num">silent</th>'
    return (
        '<h2>What the nodes say</h2><div class="panel wide"><table><thead><tr>'
        f'{head}<th class="num">tokens a message</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _chart(metrics: Sequence[dict[str, Any]]) -> str:
    """The reward of training and the accuracy on validation over the updates, as SVG."""
    series = {
        name: [(row["update"], row[key]) for row in metrics if _number(row.get("update")) and _number(row.get(key))]
        for name, key in (("reward", "reward"), ("validation", "validation_accuracy"))
    }
    last = max((update for points in series.values() for update, _ in points), default=0)
    if last <= 0:
        return ""
    left, top, width, height = 40, 14, 520, 190

    def point(update: float, value: float) -> tuple[float, float]:
        return left + width * update / last, top + height * (1 - min(1.0, max(0.0, value)))

    shapes = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        y = point(0, value)[1]
        shapes.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y:g}" y2="{y:g}"/>')
        shapes.append(f'<text x="{left - 8}" y="{y + 4:g}" text-anchor="end">{value:g}</text>')
    for update in sorted({0, last // 2, last}):
        anchor = "end" if update == last else "middle" if update else "start"
        x = point(update, 0)[0]
        shapes.append(f'<text x="{x:g}" y="{top + height + 18}" text-anchor="{anchor}">{update}</text>')
    for name, points in series.items():
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (point(*p) for p in points))
        shapes.append(f'<polyline class="{name}" points="{path}"/>')
    dots = [point(*p) for p in series["validation"]]
    shapes += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in dots]
    shapes.append(
        f'<text x="{left}" y="{top + height + 44}"><tspan class="key-validation">● validation accuracy</tspan>'
        '<tspan class="key-reward" dx="18">– training reward</tspan></text>'
    )
    svg = f'<svg class="chart" role="img" aria-label="Learning curve" viewBox="0 0 570 262">{"".join(shapes)}</svg>'
    return f'<div class="panel"><h3>How it learnt</h3>{svg}</div>'


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


# ---------------------------------------------------------------------- the episodes


def _filter_rules(parts: int) -> str:
    """Radio buttons above a list hide what is not asked for; a style rule for each, since there is no script."""
    rules = []
    for part in range(parts):
        for status in ("all", *OUTCOMES):
            box, label = f"#show-{part}-{status}", f'~ .filters label[for="show-{part}-{status}"]'
            rules.append(f"{box}:checked {label} {{ border-color: var(--accent); color: var(--accent); }}")
            rules.append(f"{box}:focus-visible {label} {{ outline: 2px solid var(--accent); }}")
            if status != "all":
                rules.append(f"{box}:checked ~ .list > .episode:not(.{status}) {{ display: none; }}")
    return "\n".join(rules)


def _episodes(part: Part, number: int, max_episodes: int) -> str:
    transcript = part.transcript
    shown = transcript.episodes[:max_episodes]
    notes = []
    if len(shown) < len(transcript.episodes):
        notes.append(f"The first {len(shown):,} of {len(transcript.episodes):,} episodes are shown.")
    if not transcript.complete:
        notes.append("The file ends within an episode: it is still being written, or its writer was stopped.")
    if not transcript.episodes:
        notes.append("There are no episodes in this transcript.")
    boxes, labels = [], []
    counts = {status: sum(e.score.status == status for e in shown) for status in OUTCOMES}
    for status, name in (("all", "all"), *OUTCOMES.items()):
        count = len(shown) if status == "all" else counts[status]
        if count:
            box, checked = f"show-{number}-{status}", " checked" if status == "all" else ""
            boxes.append(f'<input class="filter" type="radio" name="show-{number}" id="{box}"{checked}>')
            labels.append(f'<label for="{box}">{name} {count}</label>')
    items = [_episode(transcript, episode, opened=number == 0 and k == 0) for k, episode in enumerate(shown)]
    note = f'<p class="soft">{" ".join(notes)}</p>' if notes else ""
    return f'{note}{"".join(boxes)}<div class="filters">{"".join(labels)}</div><div class="list">{"".join(items)}</div>'


def _episode(transcript: Transcript, episode: Episode, *, opened: bool) -> str:
    score = episode.score
    status = score.status if score.status in OUTCOMES else "wrong"
    read = "nothing" if score.parsed is None else f'<bdi class="text">{_text(score.parsed)}</bdi>'
    verdict = [
        ("the network's answer", _said(episode.answer)),
        ("read as", read),
        ("reference answer", f'<bdi class="text">{_text(episode.question.answer)}</bdi>'),
    ]
    return (
        f'<details class="episode {status}"{" open" if opened else ""}><summary>'
        f'<span class="badge outcome">{OUTCOMES[status]}</span>'
        f'<bdi class="text">{_text(_line(episode.question.prompt))}</bdi>'
        f'<bdi class="said text">{_text(_line(episode.answer))}</bdi></summary><div class="inside">'
        f'<div class="question"><p class="label">question {_text(episode.question.id)}</p>'
        f'<p class="text" dir="auto">{_text(episode.question.prompt)}</p></div>'
        f"{_flow(transcript, episode)}"
        '<div class="verdict">'
        + "".join(f'<div><p class="label">{name}</p>{value}</div>' for name, value in verdict)
        + "</div></div></details>"
    )


def _line(text: str, most: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[:most] + "…"


def _said(text: str) -> str:
    return f'<p class="text" dir="auto">{_text(text)}</p>' if text else '<p class="silent">says nothing</p>'


def _flow(transcript: Transcript, episode: Episode) -> str:
    """The messages, a column a step, joined by the edges between neighbouring steps.

    Cells of a column share its height evenly, so an edge's ends are known as fractions of the height.
    """
    header = transcript.header
    steps: dict[int, list[Call]] = {}
    for call in episode.calls:
        steps.setdefault(call.step, []).append(call)
    columns: list[str] = []
    before: list[Call] = []
    for number in sorted(steps):
        calls = steps[number]
        if before:
            columns.append(_links(header.topology, before, calls, header.silence))
        cells = "".join(_cell(header.topology, call, number, header.silence) for call in calls)
        columns.append(f'<div class="step">{cells}</div>')
        before = calls
    return f'<div class="flow">{"".join(columns)}</div>'


def _links(topology: Topology, before: list[Call], calls: list[Call], silence: Sequence[str]) -> str:
    lines = []
    for j, call in enumerate(calls):
        heard = topology.incoming(call.node)
        for i, sender in enumerate(before):
            if sender.node in heard:
                quiet = ' class="quiet"' if not sender.text or sender.node in silence else ""
                y1, y2 = 100 * (i + 0.5) / len(before), 100 * (j + 0.5) / len(calls)
                lines.append(f'<line{quiet} x1="0" y1="{y1:.2f}" x2="100" y2="{y2:.2f}"/>')
    return (
        f'<svg class="links" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{"".join(lines)}</svg>'
    )


def _cell(topology: Topology, call: Call, step: int, silence: Sequence[str]) -> str:
    position = topology.position(call.node, step)
    place = f"{position.kind} {position.layer}, node {position.index}"
    spoken = {node for speakers in topology.schedule[:step] for node in speakers}
    senders = [(slot, node) for slot, node in enumerate(topology.incoming(call.node), start=1) if node in spoken]
    heard = ", ".join(f"[{slot}] {node}" for slot, node in senders)
    notes = [FLAG_NAMES.get(flag, flag) for flag in call.flags]
    notes += ["silenced"] if call.node in silence else []
    notes += ["token limit"] if call.finish_reason == "length" else []
    kind = ("node", *["out"] * (call.node == topology.output), *["hushed"] * (call.node in silence))
    badges = "".join(f' <span class="badge note">{_text(note)}</span>' for note in notes)
    tokens = f"{call.sampled_tokens} token{'s' * (call.sampled_tokens != 1)}" if call.sampled_tokens else ""
    foot = " · ".join(filter(None, (f"hears {_text(heard)}" if heard else "", tokens)))
    return (
        f'<div class="cell"><article class="{" ".join(kind)}">'
        f"<header><b>{_text(call.node)}</b><span>{place}</span>{badges}</header>"
        f"{_said(call.text)}{f'<footer>{foot}</footer>' if foot else ''}</article></div>"
    )
