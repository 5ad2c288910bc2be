"""SelfCheck: how a solution is cut, what a check hears, what it costs, and how checked solutions vote."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scripted import QUESTIONS, chat_model, context, play, run

from algorithms import Backbone
from baselines.base import make_method
from baselines.self_check import confidence, steps_of, verdict, weighted_vote
from neuromas_env import NodeRequest, UsageError


@pytest.mark.parametrize(
    ("solution", "steps"),
    [
        ("", []),
        (" \n ", []),
        ("= 4", ["= 4"]),
        ("a\n\n b \nc", ["a", "b", "c"]),
        ("a\nb\nc\nd", ["a", "b", "c d"]),  # what is beyond the bound belongs to the last step
        ("Add them. Take one! = 4", ["Add them.", "Take one!", "= 4"]),
        ("First. Then a.\nb", ["First. Then a.", "b"]),  # lines, where there are any
        ("1. Add five. 2. = 4", ["1. Add five.", "2. = 4"]),
        (". . . 5 +8", [". . . 5 +8"]),
    ],
)
def test_steps_are_lines_or_sentences(solution: str, steps: list[str]) -> None:
    assert steps_of(solution, 3) == steps
    assert steps_of(solution, 1) == ([" ".join(steps)] if steps else [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("supports", 1),
        ("It SUPPORTS it.", 1),
        ("contradicts", -1),
        ("They contradict each other", -1),
        ("unrelated", 0),
        ("is not directly related to", 0),
        ("", 0),
        ("does not support", 0),
        ("doesn't contradict", 0),
        ("supports and contradicts", 0),
    ],
)
def test_a_comparison_is_read_as_one_of_three(text: str, value: int) -> None:
    assert verdict(text) == value


def test_confidence_is_the_papers() -> None:
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    assert confidence([]) == confidence(["supports", "supports"]) == 1
    assert confidence(["contradicts", "supports"]) == pytest.approx(2 * sigmoid(-1))
    assert confidence(["unrelated", "supports"]) == pytest.approx(2 * sigmoid(-0.3))
    assert confidence(["contradicts", "", "contradicts"]) == pytest.approx(2 * sigmoid(-2.3))


def parse(text: str) -> str | None:
    return text[-1] if text.startswith("= ") else None


@pytest.mark.parametrize(
    ("texts", "weights", "winner"),
    [
        (["= 1", "= 2"], [0.5, 0.9], "= 2"),
        (["= 1", "= 2", "= 2"], [0.9, 0.4, 0.4], "= 1"),  # many in doubt lose to one that held
        (["= 1", "= 2", "= 2"], [0.9, 0.5, 0.5], "= 2"),
        (["= 1", "= 2"], [1.0, 1.0], "= 1"),  # a tie: the answer that was given first
        (["= 1", "= 2", "= 2", "= 2", "= 1", "= 1"], [0.3, 0.1, 0.2, 0.3, 0.2, 0.1], "= 1"),  # in any order of sums
        (["junk", "= 2"], [1.0, 0.1], "= 2"),  # what cannot be read abstains
        (["junk", ""], [0.1, 1.0], "junk"),
    ],
)
def test_the_greatest_weight_wins(texts: list[str], weights: list[float], winner: str) -> None:
    assert weighted_vote(texts, weights, parse) == winner


def checks(k: int, *verdicts: str) -> dict[str, str]:
    """What the stages say about the steps of solution k."""
    words = {}
    for j, said in enumerate(verdicts, start=1):
        words |= {f"aim_{k}_{j}": f"aim {j}", f"derived_{k}_{j}": f"anew {j}", f"compared_{k}_{j}": said}
    return words


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        (("supports", "supports"), ("supports", "supports"), "2 +1\n= 3"),
        (("supports", "contradicts"), ("supports", "supports"), "3 +1\n= 4"),
        (("supports", "contradicts"), ("unrelated", "unrelated"), "3 +1\n= 4"),
        (("unrelated", "unrelated"), ("supports", "contradicts"), "2 +1\n= 3"),
        (("supports", "unrelated"), ("", "unrelated"), "2 +1\n= 3"),  # a silent comparison is in doubt too
    ],
)
def test_what_held_decides(
    first: tuple[str, ...], second: tuple[str, ...], answer: str, backbone: Backbone, tmp_path: Path
) -> None:
    words = {"solution_1": "2 +1\n= 3", "solution_2": "3 +1\n= 4", **checks(1, *first), **checks(2, *second)}
    played = play("self-check@2", words, backbone, tmp_path)
    assert played.answer == answer
    assert played.calls == 2 * (1 + 3 * 2)
    assert played.script.temperatures == {1.0}


def test_a_short_solution_is_not_doubted_for_steps_it_does_not_have(backbone: Backbone, tmp_path: Path) -> None:
    words = {"solution_1": "a\nb\n= 1", "solution_2": "= 2", "solution_3": ""}
    words |= checks(1, "supports", "unrelated", "supports") | checks(2, "supports")
    played = play("self-check", words, backbone, tmp_path)
    assert played.answer == "= 2"
    assert played.calls == (1 + 3 * 3) + (1 + 3) + 1


@pytest.mark.parametrize(("lines", "checked"), [(0, 0), (1, 1), (2, 2), (4, 4), (6, 4)])
def test_calls_are_one_and_the_checks_of_the_steps_there_are(
    lines: int, checked: int, backbone: Backbone, tmp_path: Path
) -> None:
    solution = "\n".join(f"= {n}" for n in range(lines))
    words = {"solution_1": solution, **checks(1, *["supports"] * checked)}  # asking about another step fails
    played = play("self-check@1", words, backbone, tmp_path)
    assert played.calls == 1 + 3 * checked
    assert played.answer == solution


def test_a_step_is_derived_from_the_steps_before_and_the_aim_and_never_from_itself(
    backbone: Backbone, tmp_path: Path
) -> None:
    words = {"solution_1": "one\ntwo\nthree\nfour", **checks(1, *["supports"] * 3)}
    script = play("self-check@1:steps=3", words, backbone, tmp_path).script
    assert [script.heard(f"aim_1_{j}") for j in (1, 2, 3)] == [["one"], ["one", "two"], ["one", "two", "three four"]]
    assert [script.heard(f"derived_1_{j}") for j in (1, 2, 3)] == [["aim 1"], ["one", "aim 2"], ["one", "two", "aim 3"]]
    assert script.heard("compared_1_3") == ["anew 3", "three four"]
    assert script.heard("solution_1") == []


@pytest.mark.parametrize(("derived", "answer"), [("= 1", "= 1"), ("=  1", "= 1"), ("= 2", "= 2")])
def test_stages_without_an_instruction_are_done_by_rule(
    derived: str, answer: str, backbone: Backbone, tmp_path: Path
) -> None:
    words = {"solution_1": "= 1", "derived_1_1": derived, "solution_2": "= 2", "derived_2_1": "= 2"}
    played = play("self-check@2", words, backbone, tmp_path, aim="", compare="")
    assert played.answer == answer  # the same words support, others contradict
    assert played.calls == 2 * (1 + 1)
    assert played.script.heard("derived_1_1") == []


def test_questions_of_a_batch_are_checked_by_themselves(backbone: Backbone, tmp_path: Path) -> None:
    def words(request: NodeRequest) -> str:
        if request.agent == "solution_1":
            return "one\n= 1" if request.question_id == QUESTIONS[1].id else "= 0"
        return "supports"

    played = play("self-check@1", words, backbone, tmp_path, questions=3)
    assert played.answers == ["= 0", "one\n= 1", "= 0"]
    assert played.calls * 3 == 4 + 7 + 4


def test_options_are_checked() -> None:
    for name, told in (
        ("self-check:steps=2.5", "whole number"),
        ("self-check:steps=0", "above 0"),
        ("self-check@999", "1024"),
    ):
        with pytest.raises(UsageError, match=told):
            make_method(name)


def test_it_runs_on_models(backbone: Backbone, tmp_path: Path) -> None:
    for model in (backbone, chat_model(tmp_path)):
        method = make_method("self-check@2")
        worded = method.worded(context(model))
        stages = 1 + bool(worded["aim"]) + bool(worded["compare"])
        answers, calls = run("self-check@2", model)
        assert 2 <= calls <= 2 * (1 + stages * 4)
        assert run("self-check@2", model) == (answers, calls)
        assert any(run("self-check@2", model, seed)[0] != answers for seed in (1, 2, 3))  # drawn by the seed
    assert not make_method("self-check").deterministic
