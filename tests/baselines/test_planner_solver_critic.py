"""Planner, solver, critic: 3 to 3 R calls, the stop rule, and whose words are the answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import QUESTIONS, chat_model, play, run

from algorithms import Backbone
from baselines.base import make_method
from neuromas_env import NodeRequest


def rounds_of(count: int, content: int | None = None) -> dict[str, str]:
    """What is said in `count` rounds; the critic of round `content` agrees."""
    words = {}
    for n in range(1, count + 1):
        words |= {f"planner_{n}": f"plan {n}", f"solver_{n}": f"= {n}"}
        words[f"critic_{n}"] = "Correct." if n == content else "The sum is wrong."
    return words


@pytest.mark.parametrize(("name", "rounds"), [("planner-solver-critic", 2), ("planner-solver-critic@4", 4)])
def test_without_a_content_critic_it_plays_all_rounds(
    name: str, rounds: int, backbone: Backbone, tmp_path: Path
) -> None:
    played = play(name, rounds_of(rounds), backbone, tmp_path)
    assert played.answer == f"= {rounds}"
    assert played.calls == 3 * rounds
    assert played.script.temperatures == {0.0}


@pytest.mark.parametrize("content", [1, 2, 3])
def test_it_stops_once_the_critic_is_content(content: int, backbone: Backbone, tmp_path: Path) -> None:
    words = rounds_of(content, content)  # later nodes have no words, so that asking one of them fails
    played = play("planner-solver-critic@3", words, backbone, tmp_path)
    assert played.answer == f"= {content}"
    assert played.calls == 3 * content
    assert played.spoke == list(words)


@pytest.mark.parametrize("critique", ["", "Is it correct?", "The correct answer is 4.", "not correct"])
def test_a_silent_or_ambiguous_critic_is_not_content(critique: str, backbone: Backbone, tmp_path: Path) -> None:
    played = play("planner-solver-critic@2", rounds_of(2) | {"critic_1": critique}, backbone, tmp_path)
    assert (played.answer, played.calls) == ("= 2", 6)


def test_a_solver_that_says_nothing_gives_no_answer(backbone: Backbone, tmp_path: Path) -> None:
    played = play("planner-solver-critic@2", rounds_of(2) | {"solver_2": ""}, backbone, tmp_path)
    assert played.answer == ""  # its last words stand, as for every other method: nothing is put in their place
    played = play("planner-solver-critic@2", rounds_of(1, 1) | {"solver_1": ""}, backbone, tmp_path)
    assert (played.answer, played.calls) == ("", 3)


def test_planners_and_solvers_that_say_correct_stop_nothing(backbone: Backbone, tmp_path: Path) -> None:
    words = rounds_of(2) | {"planner_1": "correct", "solver_1": "correct"}
    assert play("planner-solver-critic@2", words, backbone, tmp_path).calls == 6


def test_every_role_hears_all_that_was_said_and_is_told_its_part(backbone: Backbone, tmp_path: Path) -> None:
    words = rounds_of(2)
    script = play("planner-solver-critic@2", words, backbone, tmp_path).script
    said = list(words.values())
    assert [script.heard(node) for node in words] == [said[:n] for n in range(6)]
    told = [request.node_instruction for request in script.asked]
    assert told[:3] == told[3:]
    assert [role in text for role, text in zip(("planner", "solver", "critic"), told, strict=False)] == [True] * 3


def test_questions_of_a_batch_stop_by_themselves(backbone: Backbone, tmp_path: Path) -> None:
    def words(request: NodeRequest) -> str:
        content = 1 if request.question_id == QUESTIONS[1].id else None
        return rounds_of(2, content)[request.agent]

    played = play("planner-solver-critic@2", words, backbone, tmp_path, questions=3)
    assert played.answers == ["= 2", "= 1", "= 2"]
    assert played.calls * 3 == 6 + 3 + 6


def test_it_runs_on_models(backbone: Backbone, tmp_path: Path) -> None:
    for model in (backbone, chat_model(tmp_path)):
        answers, calls = run("planner-solver-critic@2", model)
        assert 3 <= calls <= 6
        assert run("planner-solver-critic@2", model, seed=1) == (answers, calls)  # nothing is drawn
    assert make_method("planner-solver-critic").deterministic
