"""Searches: kept and taken again, made anew where anything changes, and the methods on real models."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from algorithms import Backbone, load_backbone
from algorithms.config import TrainConfig
from baselines.base import Context, System, make_method
from baselines.search import SearchedMethod
from neuromas_env import Meter, Question, Task, UsageError, make_task, run_episodes
from neuromas_env.transcripts import TranscriptWriter, replay
from tests.algorithms import tiny_models

CHAIN = make_task("chain")
SMALL = {"gptswarm": "gptswarm:agents=3:iterations=2:batch=3", "agentnet": "agentnet:questions=6:batch=3"}
CHANGED = {
    "gptswarm": [
        "gptswarm:agents=2:iterations=2:batch=3",
        "gptswarm:agents=3:iterations=3:batch=2",  # the same six questions
        "gptswarm:agents=3:iterations=2:batch=3:learning_rate=0.2",
    ],
    "agentnet": [
        "agentnet:questions=6:batch=3:agents=2",
        "agentnet:questions=6:batch=2",
        "agentnet:questions=6:batch=3:memory=2",
        "agentnet:questions=6:batch=3:hops=1",
    ],
}
SEARCH_CALLS = {"gptswarm": {24}, "agentnet": set(range(12, 31))}  # 2 · 3 graphs of 4; 6 questions of 2 to 5


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(tiny_models.save(tmp_path_factory.mktemp("qwen3"), "qwen3"))


def context(backbone: Backbone, out: Path, task: Task = CHAIN) -> Context:
    training = TrainConfig("chain")
    return Context(task, [], 0, backbone, backbone.weight_hash(), training, training, out)


def searched(name: str) -> SearchedMethod:
    method = make_method(name)
    assert isinstance(method, SearchedMethod)
    return method


class Counted:
    """How often a search was made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: SearchedMethod) -> None:
        self.searches = 0
        search = type(method).search

        def counted(method: SearchedMethod, *given: object) -> object:
            self.searches += 1
            return search(method, *given)  # type: ignore[arg-type]

        monkeypatch.setattr(type(method), "search", counted)


def answers(system: System, task: Task = CHAIN) -> list[str]:
    return run_episodes(task, system.topology, system.policy, range(5), instructions=system.instructions).answers


@pytest.mark.parametrize("name", SMALL)
def test_a_search_is_made_once(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    counted = Counted(monkeypatch, searched(name))
    first = make_method(SMALL[name]).prepare(context(backbone, tmp_path))
    (file,) = (tmp_path / "searches").iterdir()
    text = file.read_text()
    again = make_method(SMALL[name]).prepare(context(backbone, tmp_path))
    assert counted.searches == 1
    assert answers(first) == answers(again)
    assert first.notes == again.notes  # its cost is that of the search that was made
    assert first.notes["search_calls"] in SEARCH_CALLS[name]
    assert first.notes["search_sampled_tokens"] >= first.notes["search_calls"]
    for searches, bad in ((2, text[:-20]), (3, text.replace('"seed": 0', '"seed": 7'))):  # cut; of another search
        file.write_text(bad)
        make_method(SMALL[name]).prepare(context(backbone, tmp_path))
        assert (counted.searches, file.read_text()) == (searches, text)


@pytest.mark.parametrize("name", SMALL)
def test_another_search_is_made_where_anything_changes(
    backbone: Backbone, chat: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    counted = Counted(monkeypatch, searched(name))
    same = context(backbone, tmp_path)
    instruction = "agent" if name == "gptswarm" else "solve"
    changes: list[tuple[str, Context]] = [
        (SMALL[name], same),
        (SMALL[name], dataclasses.replace(same, seed=1)),
        (SMALL[name], context(chat, tmp_path)),
        (SMALL[name], context(backbone, tmp_path, make_task("chain", difficulty="1"))),
        (SMALL[name], context(backbone, tmp_path, make_task("navigate"))),
        (SMALL[name], dataclasses.replace(same, wordings={name: {instruction: "= 7"}})),
        *((typed, same) for typed in CHANGED[name]),
    ]
    for number, (typed, changed) in enumerate(changes, start=1):
        searched(typed).prepare(changed)
        assert counted.searches == number
    assert len({searched(typed).identity(changed)["search"] for typed, changed in changes}) == len(changes)
    for typed, changed in changes:
        searched(typed).prepare(changed)
    assert counted.searches == len(changes)  # all of them are kept


@pytest.mark.parametrize("model", ["backbone", "chat"])
@pytest.mark.parametrize("task", ["chain", "navigate"])
@pytest.mark.parametrize("name", SMALL)
def test_it_runs_and_its_transcript_replays(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, task: str, model: str
) -> None:
    asked, meter, file = make_task(task), Meter(), tmp_path / "t.jsonl"
    system = make_method(SMALL[name]).prepare(context(request.getfixturevalue(model), tmp_path, asked))
    with TranscriptWriter(file) as transcript:
        batch = run_episodes(
            asked,
            system.topology,
            system.policy,
            range(5),
            instructions=system.instructions,
            meter=meter,
            transcript=transcript,
        )
    assert [score.value for score in replay(file, task=asked)] == batch.rewards_E.tolist()
    assert meter.calls == 20 if name == "gptswarm" else 10 <= meter.calls <= 25
    assert answers(system, asked) == batch.answers


def test_a_task_without_training_questions_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    class Tested(Task):
        name = "tested"

        def size(self, split: str) -> int | None:
            return 3 if split == "test" else 0

        def question(self, split: str, index: int) -> Question:
            return CHAIN.question(split, index)

        def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
            return text

    for name in SMALL.values():
        with pytest.raises(UsageError, match="training questions"):
            make_method(name).prepare(context(backbone, tmp_path, Tested()))
