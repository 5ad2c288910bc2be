import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from neuromas_env import Message, TranscriptError, run_episodes
from neuromas_env.show import load, render_page
from neuromas_env.transcripts import TranscriptWriter

HOSTILE = "</p></details><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\u202e\x00 &lt; \"'"
VOID = {"meta", "input", "br", "img", "link"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order; tags, attributes and texts are kept."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def record(spell, path: Path, speak, topology: str = "2-1", **options) -> Path:
    class Speaker:
        def act(self, requests):
            return [Message(speak(r), token_ids=(1, 2)) for r in requests]

    with TranscriptWriter(path) as writer:
        run_episodes(spell, topology, Speaker(), [0, 1, 2], transcript=writer, **options)
    return path


def page_of(path: Path, **options) -> tuple[str, Page]:
    html = render_page(*load(path), **options)
    return html, Page(html)


@pytest.mark.parametrize("topology", ["1", "2-2-1", "2-2-1/all", "3x2", "30-1", "1-" * 45 + "1"])
def test_every_message_question_and_score_is_on_the_page(spell, tmp_path: Path, topology: str) -> None:
    path = record(spell, tmp_path / "t.jsonl", lambda r: f":red {r.agent} at {r.step} for {r.episode}", topology)
    _, page = page_of(path)
    for line in path.read_text().splitlines()[1:]:
        episode = json.loads(line)
        for text in (episode["question"]["prompt"], episode["answer"], *(call["text"] for call in episode["calls"])):
            assert text in page.texts


def test_the_page_refers_to_nothing_outside_and_runs_nothing(spell, tmp_path: Path) -> None:
    html, page = page_of(record(spell, tmp_path / "t.jsonl", lambda r: HOSTILE))
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "b", "div", "span", "bdi"),
        *("svg", "path", "line", "circle", "text", "tspan", "polyline", "table", "thead", "tbody", "tr", "th", "td"),
        *("details", "summary", "article", "header", "footer", "input", "label"),
    }
    for _, attributes in page.tags:
        assert not {"src", "href", "action", "srcset", "data", "xlink:href", "style-src"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
    assert "default-src 'none'" in html


def test_hostile_text_is_escaped_and_made_visible(spell, tmp_path: Path) -> None:
    html, page = page_of(record(spell, tmp_path / "t.jsonl", lambda r: HOSTILE[:40]))
    shown = HOSTILE[:40].replace("\u202e", "⟨U+202E⟩").replace("\x00", "⟨U+0000⟩")
    assert page.texts.count(shown) >= 9
    _, page = page_of(record(spell, tmp_path / "u.jsonl", lambda r: "\u202eevil\x00\x1b"))
    assert "⟨U+202E⟩evil⟨U+0000⟩⟨U+001B⟩" in page.texts
    assert not set(html) & set("\u202e\x00\x1b")


def test_silence_flags_and_limits_are_told(spell, tmp_path: Path) -> None:
    path = record(spell, tmp_path / "t.jsonl", lambda r: "x" * 50 if r.agent == "node_1" else "", silence=["node_0"])
    _, page = page_of(path, max_episodes=2)
    for text in ("silenced", "too long, cut", "says nothing", "The first 2 of 3 episodes are shown."):
        assert text in page.texts
    path.write_bytes(path.read_bytes()[:-5])
    assert any("ends within an episode" in text for text in page_of(path)[1].texts)


def test_a_run_shows_its_newest_transcript_first_and_its_curve(spell, tmp_path: Path) -> None:
    run = tmp_path / "my <run>"
    for update in (0, 9, 10):
        record(spell, run / "transcripts" / f"validation_{update}.jsonl", lambda r: ":red")
    (run / "metrics.jsonl").write_text(
        '{"update": 0, "validation_accuracy": 0.1}\n{"update": 5, "reward": 0.5}\n'
        '{"update": 10, "reward": NaN, "validation_accuracy": 0.9}\n{"cut'
    )
    title, parts, _ = load(run)
    assert title == "my <run>"
    assert [part.name for part in parts] == ["validation_10", "validation_9", "validation_0"]
    _, page = page_of(run)
    points = {a["class"]: a["points"] for tag, a in page.tags if tag == "polyline"}
    assert len(points["validation"].split()) == 2
    assert len(points["reward"].split()) == 1
    assert sum(tag == "circle" for tag, _ in page.tags) == 3 + 2
    assert "validation_10: 1 of 3 right" in page.texts


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="holds no transcripts"):
        load(tmp_path)
