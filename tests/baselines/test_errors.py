"""A method that raises, and a comparison that is killed: what is charged, what goes on, and what is the same again."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from algorithms.errors import TrainingError
from baselines import base
from baselines.base import Context, Method, System, register_method
from baselines.commands import compare
from baselines.evaluate import ask
from neuromas_env import Message, NodeRequest, Task, Topology, make_task
from neuromas_env.errors import UsageError
from neuromas_env.transcripts import TranscriptWriter, replay


@dataclass
class Fragile:
    """Says five of something in three tokens, and raises where it is asked one of `bad`."""

    bad: Sequence[str]
    error: BaseException

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        if any(request.question_id in self.bad for request in requests):
            raise self.error
        return [Message("= 5", token_ids=(1, 2, 3), prompt_ids=(4, 5)) for _ in requests]


@pytest.fixture
def task() -> Task:
    return make_task("chain")


def ids(task: Task, *places: int) -> list[str]:
    return [task.question("test", place).id for place in places]


def test_questions_that_raise_are_wrong_and_marked_and_the_others_go_on(task: Task, tmp_path: Path) -> None:
    system = System(Topology.parse("1"), Fragile(ids(task, 4, 17), ValueError("too\nlong")))
    good = System(system.topology, Fragile([], ValueError()))
    with TranscriptWriter(tmp_path / "t.jsonl") as transcript:
        outcomes, meter = ask(system, task, "test", 40, transcript=transcript)
    expected, whole = ask(good, task, "test", 40)
    assert outcomes.errors == {4: "ValueError: too long", 17: "ValueError: too long"}
    for place in range(40):
        charged = place in (4, 17)
        assert outcomes.failed_Q[place] == charged
        assert outcomes.correct_Q[place] == (expected.correct_Q[place] and not charged)
    assert (meter.calls, meter.sampled_tokens) == (38, 3 * 38)  # attempts that were halved are not charged twice
    assert whole.calls == 40
    assert len(replay(tmp_path / "t.jsonl")) == 38


def test_what_was_spent_before_raising_is_charged(task: Task) -> None:
    class SecondNodeRaises(Fragile):
        def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
            return super().act([] if requests[0].step == 0 else requests) or [Message("x", (1, 2))] * len(requests)

    system = System(Topology.parse("1-1"), SecondNodeRaises(ids(task, 2), KeyError("gone")))
    outcomes, meter = ask(system, task, "test", 4)
    assert outcomes.errors == {2: "KeyError: 'gone'"}
    assert meter.calls == 3 * 2 + 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TrainingError("no")])
def test_an_interrupt_and_a_training_that_cannot_go_on_still_stop(task: Task, error: BaseException) -> None:
    with pytest.raises(type(error)):
        ask(System(Topology.parse("1"), Fragile(ids(task, 1), error)), task, "test", 4)


def test_a_disk_that_is_full_is_no_error_of_the_method(task: Task, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    system = System(Topology.parse("1"), Fragile([], ValueError()))
    with pytest.raises(UsageError, match="file"), TranscriptWriter(tmp_path / "file" / "t.jsonl") as transcript:
        ask(system, task, "test", 4, transcript=transcript)


class FragileMethod(Method):
    name = "fragile"

    def prepare(self, context: Context) -> System:
        return System(Topology.parse("1"), Fragile([context.questions[3].id], RuntimeError("a fault of its own")))


@pytest.fixture
def fragile_is_a_method() -> Iterator[None]:
    register_method("fragile", FragileMethod)
    yield
    base.METHODS.forget("fragile")


def test_the_table_marks_a_method_that_raised(
    fragile_is_a_method: None, backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"methods": "direct,fragile", "questions": 8, "backbone": str(backbone_folder)}
    compare("coin", seeds=2, out=tmp_path, **settings)
    said = capsys.readouterr().out
    assert "fragile raised on 2 questions, counted wrong; the first: RuntimeError: a fault of its own" in said
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [(row["method"], row["errors"]) for row in rows] == [("direct", 0)] * 3 + [
        ("fragile", 1), ("fragile", 1), ("fragile", 2),
    ]  # fmt: skip
    cell = json.loads(next((tmp_path / "cells").glob("fragile-seed0-*")).read_text())
    assert cell["outcomes"]["errors"] == {"3": "RuntimeError: a fault of its own"}
    compare("coin", seeds=2, out=tmp_path, **settings)  # from the cells
    assert "fragile raised on 2 questions" in capsys.readouterr().out


class Unready(Method):
    name = "unready"

    def prepare(self, context: Context) -> System:
        raise ValueError("no such [thing]\nas I need")


@pytest.fixture
def unready_is_a_method() -> Iterator[None]:
    register_method("unready", Unready)
    yield
    base.METHODS.forget("unready")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_method_that_cannot_be_prepared_is_missing_and_the_others_are_not(
    jobs: int, unready_is_a_method: None, backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"questions": 8, "backbone": str(backbone_folder), "jobs": jobs, "out": tmp_path}
    with pytest.raises(SystemExit) as ended:
        compare("coin", methods="direct,unready,cot", **settings)
    assert ended.value.code == 1
    said = "method 'unready' could not be prepared: ValueError: no such [thing] as I need (missing in the results)"
    assert said in capsys.readouterr().err.replace("\n", " ")
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert {row["method"] for row in rows} == {"direct", "cot"}
    with pytest.raises(SystemExit, match="1"):
        compare("coin", methods="unready", **settings)  # nothing to write
    assert "method 'unready' could not be prepared" in capsys.readouterr().err


# ---------------------------------------------------------------------- killed


def run(out: Path, backbone: Path) -> None:
    compare(
        "coin",
        methods="direct,self-consistency,untrained:1-1,neuromas:1-1,self-refine@1",
        seeds=2,
        questions=24,
        jobs=1,
        backbone=str(backbone),
        train=("updates=4", "questions=2", "samples=2", "validation_every=2", "validation_questions=4", "rank=2",
               "checkpoint_every=1"),
        out=out,
    )  # fmt: skip


def kill_when(reached: Callable[[], bool], out: Path, backbone: Path) -> None:
    """Run it in a process of its own, and kill that once `reached`."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(out, backbone))
    process.start()
    while not reached():
        assert process.is_alive()
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def timeless(folder: Path) -> list[dict[str, Any]]:
    rows = json.loads((folder / "results.json").read_text())["rows"]
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "cells").glob("[!.]*.json")}


@pytest.mark.skipif(sys.platform != "linux", reason="needs processes that can be forked")
def test_killed_and_run_again_it_gives_the_same_table(backbone_folder: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, backbone_folder)
    kill_when(lambda: any(killed.glob("runs/*/checkpoints/step_*")), killed, backbone_folder)
    assert not kept(killed)
    kill_when(lambda: len(kept(killed)) >= 2, killed, backbone_folder)
    before = kept(killed)
    assert not (killed / "results.json").exists()
    run(killed, backbone_folder)
    assert timeless(killed) == timeless(whole)
    assert before.items() <= kept(killed).items()
    assert kept(killed).keys() == kept(whole).keys()
