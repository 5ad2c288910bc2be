"""What the nodes learnt, on the page of `neuromas show`: all of it there, escaped, without scripts; errors told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_show import HOSTILE, Page, page_of, record

from neuromas_env import TranscriptError

SHOWN = HOSTILE.replace("\u202e", "⟨U+202E⟩").replace("\x00", "⟨U+0000⟩")


def snapshot(update: int | None, text: str = "= #") -> dict[str, Any]:
    nodes = [
        {"node": "node_0", "types": [[text, 0.75], ["±#", 0.25]], "empty": 0.0, "tokens": 7.5, "right": 0.125},
        {"node": "node_1", "types": [], "empty": 1.0, "tokens": 0.0, "right": 0.0},
    ]
    weak = {"silenced_changes": 0.0, "silenced_accuracy": 0.0, "swapped_changes": 0.05, "swapped_accuracy": 0.025}
    strong = {"silenced_changes": 0.31, "silenced_accuracy": -0.2, "swapped_changes": 0.92, "swapped_accuracy": -0.9}
    edges = [{"sender": "node_0", "receiver": "x", **weak}, {"sender": "node_0", "receiver": "node_1", **strong}]
    return {"update": update, "questions": 40, "accuracy": 0.5, "nodes": nodes, "edges": edges}


def learnt(text: str = "= #", **changes: Any) -> dict[str, Any]:
    now, history = snapshot(30, text), [snapshot(None, text), snapshot(30, text)]
    made = {
        "format": "neuromas-nodes",
        "version": 1,
        "task": "spell",
        "topology": "1-1",
        "now": now,
        "history": history,
    }
    return {**made, **changes}


@pytest.fixture
def run(spell, tmp_path: Path) -> Path:
    record(spell, tmp_path / "run" / "transcripts" / "validation_0.jsonl", lambda r: ":red")
    return tmp_path / "run"


def page_with(run: Path, data: object) -> tuple[str, Page]:
    (run / "nodes.json").write_text(json.dumps(data))
    return page_of(run)


def test_nodes_edges_and_their_history_are_on_the_page(run: Path) -> None:
    html, page = page_with(run, learnt())
    for text in ("What the nodes learnt", "= #", "±#", "75%", "25%", "12%", "7.5", "says nothing"):
        assert text in page.texts
    for text in ("31%", "92%", "accuracy -0.900", "accuracy +0.025", "of bare backbones", "after update 30"):
        assert text in page.texts
    assert page.texts.index("node_0 → node_1") < page.texts.index("node_0 → x")  # the most influential first
    assert "linear-gradient(to right,var(--accent) 92%,var(--wash) 92%)" in html
    assert page.texts.count("swapped: 92%") == 2
    # A network of one node has no edges, and nothing before it may be known.
    alone = {**snapshot(30), "edges": []}
    _, page = page_with(run, learnt(now=alone, history=[]))
    assert "What each node says" in page.texts
    assert not {"What each edge does", "Over training"} & set(page.texts)


def test_without_the_file_and_for_a_single_transcript_nothing_is_added(run: Path) -> None:
    assert "What the nodes learnt" not in page_of(run)[1].texts
    page_with(run, learnt())
    assert "What the nodes learnt" not in page_of(run / "transcripts" / "validation_0.jsonl")[1].texts


def test_hostile_text_is_escaped_and_the_page_runs_nothing(run: Path) -> None:
    data = learnt(HOSTILE)
    for each in (data["now"], *data["history"]):
        each["nodes"][0]["node"] = each["edges"][0]["sender"] = each["edges"][1]["receiver"] = HOSTILE
    html, page = page_with(run, data)
    assert page.texts.count(SHOWN) >= 5
    assert f"{SHOWN} → x" in page.texts
    assert not set(html) & set("\u202e\x00")
    assert not {"script", "img", "a", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes)
        assert "url(" not in (attributes.get("style") or "")


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        learnt(version=2),
        learnt(format="other"),
        learnt(now=None),
        learnt(history=[{"update": 1}]),
        learnt(now={**snapshot(1), "accuracy": "<b>high</b>"}),
        learnt(now={**snapshot(1), "questions": float("inf")}),
        learnt(history=[{**snapshot(1), "nodes": [{"node": "a", "types": [[]]}]}]),
        learnt(now={**snapshot(1), "edges": [{**snapshot(1)["edges"][0], "swapped_changes": "1%;background:red"}]}),
    ],
)
def test_a_damaged_file_is_told(run: Path, data: object) -> None:
    with pytest.raises(TranscriptError, match=r"nodes\.json cannot be read .* write it anew with neuromas inspect"):
        page_with(run, data)


def test_a_file_that_is_not_json_is_told(run: Path) -> None:
    (run / "nodes.json").write_bytes(b"\xff{")
    with pytest.raises(TranscriptError, match="cannot be read"):
        page_of(run)
