"""Self-Refine: its stop rule, its limit, what it costs and who hears whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import QUESTIONS, chat_model, context, play, run

from algorithms import Backbone
from baselines.base import make_method
from baselines.self_refine import is_content
from neuromas_env import NodeRequest, UnknownNameError


@pytest.mark.parametrize(
    "text",
    [
        "correct",
        "Correct.",
        " CORRECT!\n",
        "Yes, correct.",
        "It is correct.",
        "The last answer above is correct.",
        "It's correct",
    ],
)
def test_agreement_is_content(text: str) -> None:
    assert is_content(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "wrong",
        "incorrect",
        "not correct",
        "It isn't correct.",
        "It isn’t correct.",
        "Almost correct",
        "The correct answer is 5.",
        "The correct answer is",
        "It is correct?",
        "correct, but the last step is wrong",
        "It would be correct if 3 were 4",
        "5 is correct",
        "Yes.",
    ],
)
def test_empty_or_ambiguous_feedback_is_not_content(text: str, backbone: Backbone, tmp_path: Path) -> None:
    assert not is_content(text)
    words = {"node_0": "= 1", "node_1": text, "node_2": "= 2"}
    assert play("self-refine@1", words, backbone, tmp_path).answer == "= 2"


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_it_stops_when_the_feedback_is_content(stop: int, backbone: Backbone, tmp_path: Path) -> None:
    words = {f"node_{2 * n}": f"= {n}" for n in range(stop)}
    words |= {f"node_{2 * n - 1}": "Wrong." for n in range(1, stop)} | {f"node_{2 * stop - 1}": "Correct."}
    played = play("self-refine@4", words, backbone, tmp_path)
    assert played.answer == f"= {stop - 1}"  # the draft that the feedback is content with
    assert played.calls == 2 * stop
    assert played.spoke == [f"node_{n}" for n in range(2 * stop)]


@pytest.mark.parametrize(("name", "rounds"), [("self-refine", 4), ("self-refine@1", 1), ("self-refine@3", 3)])
def test_it_runs_to_its_limit(name: str, rounds: int, backbone: Backbone, tmp_path: Path) -> None:
    words = {f"node_{n}": f"= {n}" if n % 2 == 0 else "Wrong." for n in range(1 + 2 * rounds)}
    played = play(name, words, backbone, tmp_path)
    assert played.answer == f"= {2 * rounds}"
    assert played.calls == 1 + 2 * rounds
    assert played.script.temperatures == {0.0}


def test_every_node_hears_all_that_was_said_and_is_told_its_part(backbone: Backbone, tmp_path: Path) -> None:
    words = {"node_0": "= 0", "node_1": "Wrong.", "node_2": "= 2", "node_3": "Still wrong.", "node_4": "= 4"}
    script = play("self-refine@2", words, backbone, tmp_path).script
    said = list(words.values())
    assert [script.heard(node) for node in words] == [said[:n] for n in range(5)]
    told = [request.node_instruction for request in script.asked]
    assert (told[1], told[2]) == (told[3], told[4])
    assert len(set(told)) == 3


def test_a_draft_that_says_correct_is_no_feedback(backbone: Backbone, tmp_path: Path) -> None:
    words = {"node_0": "correct", "node_1": "Wrong.", "node_2": "= 2"}
    assert play("self-refine@1", words, backbone, tmp_path).answer == "= 2"


def test_questions_of_a_batch_stop_by_themselves(backbone: Backbone, tmp_path: Path) -> None:
    def words(request: NodeRequest) -> str:
        if request.agent in ("node_1", "node_3"):
            return "Correct." if request.question_id == QUESTIONS[1].id else "Wrong."
        return f"= {request.agent[-1]}"

    played = play("self-refine@2", words, backbone, tmp_path, questions=3)
    assert played.answers == ["= 4", "= 0", "= 4"]
    assert played.calls * 3 == 5 + 2 + 5


def test_it_runs_on_models(backbone: Backbone, tmp_path: Path) -> None:
    for model in (backbone, chat_model(tmp_path)):
        answers, calls = run("self-refine@2", model)
        assert 2 <= calls <= 5
        assert run("self-refine@2", model, seed=1) == (answers, calls)  # nothing is drawn
    assert make_method("self-refine@2").deterministic


def test_a_users_instruction_is_used_and_an_unknown_one_refused(backbone: Backbone, tmp_path: Path) -> None:
    words = {"node_0": "= 0", "node_1": "correct"}
    script = play("self-refine", words, backbone, tmp_path, feedback="Judge.").script
    assert script.asked[1].node_instruction == "Judge."
    with pytest.raises(UnknownNameError, match="feedback"):
        make_method("self-refine").prepare(context(backbone, wordings={"self-refine": {"feedbak": "Judge."}}))
