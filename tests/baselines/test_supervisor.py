"""The supervisor: who is sent for, when it ends, and that those not sent for make no call."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import QUESTIONS, chat_model, play, run

from algorithms import Backbone
from baselines.base import make_method
from baselines.supervisor import FINISH, WORKERS, route
from neuromas_env import NodeRequest


@pytest.mark.parametrize(
    ("message", "turn", "who"),
    [
        ("solver", 1, "solver"),
        ("Reasoner.", 1, "reasoner"),
        ("Next: the CHECKER!", 2, "checker"),
        ("The checker shall finish it.", 2, "checker"),  # a name wins over the word
        ("finish", 2, FINISH),
        ("We are finished.", 3, FINISH),
        ("finish", 1, "solver"),  # nothing to finish with
        ("", 1, "solver"),
        ("", 2, "reasoner"),
        ("= 4", 3, "checker"),
        ("", 4, "solver"),
        ("solver or reasoner", 3, "checker"),  # several names are none
        ("solver, reasoner, then finish", 2, "reasoner"),
        ("resolver", 2, "reasoner"),  # whole words only
        ("unfinished", 2, "reasoner"),
    ],
)
def test_one_name_routes(message: str, turn: int, who: str) -> None:
    assert route(message, turn) == who


@pytest.mark.parametrize("worker", WORKERS)
def test_only_the_worker_named_is_asked(worker: str, backbone: Backbone, tmp_path: Path) -> None:
    words = {"supervisor_1": worker, f"{worker}_1": "= 1", "supervisor_2": "finish"}
    played = play("supervisor@3", words, backbone, tmp_path)  # asking anybody else fails
    assert played.answer == "= 1"
    assert played.calls == 3
    assert played.spoke == list(words)


@pytest.mark.parametrize(("name", "turns"), [("supervisor", 3), ("supervisor@1", 1), ("supervisor@5", 5)])
def test_it_ends_at_its_bound(name: str, turns: int, backbone: Backbone, tmp_path: Path) -> None:
    words = {}
    for turn in range(1, turns + 1):
        words |= {f"supervisor_{turn}": "Ask the checker.", f"checker_{turn}": f"= {turn}"}
    played = play(name, words, backbone, tmp_path)
    assert played.answer == f"= {turns}"
    assert played.calls == 2 * turns
    assert played.script.temperatures == {0.0}


@pytest.mark.parametrize("finished", [2, 3, 4])
def test_it_ends_when_the_supervisor_says_so(finished: int, backbone: Backbone, tmp_path: Path) -> None:
    words = {}
    for turn in range(1, finished):
        words |= {f"supervisor_{turn}": "solver", f"solver_{turn}": f"= {turn}"}
    words[f"supervisor_{finished}"] = "finish"
    played = play("supervisor@4", words, backbone, tmp_path)
    assert played.answer == f"= {finished - 1}"
    assert played.calls == 2 * (finished - 1) + 1


def test_a_question_is_sent_on_and_all_is_heard(backbone: Backbone, tmp_path: Path) -> None:
    words = {
        "supervisor_1": "reasoner",
        "reasoner_1": "3 + 4 = 8",
        "supervisor_2": "checker",
        "checker_2": "3 + 4 = 7",
        "supervisor_3": "finish",
    }
    played = play("supervisor@3", words, backbone, tmp_path)
    assert (played.answer, played.calls) == ("3 + 4 = 7", 5)
    said = list(words.values())
    assert [played.script.heard(node) for node in words] == [said[:n] for n in range(5)]
    told = {request.agent: request.node_instruction for request in played.script.asked}
    assert len({told["supervisor_1"], told["reasoner_1"], told["checker_2"]}) == 3


def test_a_supervisor_that_names_nobody_has_the_workers_take_turns(backbone: Backbone, tmp_path: Path) -> None:
    words = {f"supervisor_{turn}": "hm" for turn in (1, 2, 3)}
    words |= {"solver_1": "= 1", "reasoner_2": "= 2", "checker_3": "= 3"}
    played = play("supervisor@3", words, backbone, tmp_path)
    assert (played.answer, played.calls) == ("= 3", 6)


def test_workers_do_not_route(backbone: Backbone, tmp_path: Path) -> None:
    words = {"supervisor_1": "solver", "solver_1": "finish", "supervisor_2": "solver", "solver_2": "reasoner"}
    played = play("supervisor@2", words, backbone, tmp_path)
    assert (played.answer, played.calls) == ("reasoner", 4)


def test_questions_of_a_batch_go_their_own_ways(backbone: Backbone, tmp_path: Path) -> None:
    def words(request: NodeRequest) -> str:
        second = request.question_id == QUESTIONS[1].id
        if request.agent.startswith("supervisor"):
            return ("finish" if request.agent == "supervisor_2" else "checker") if second else "reasoner"
        return "= 1" if second else "= 0"

    played = play("supervisor@2", words, backbone, tmp_path, questions=2)
    assert played.answers == ["= 0", "= 1"]
    assert sorted(played.spoke) == sorted(
        ["supervisor_1", "supervisor_2"] * 2 + ["reasoner_1", "reasoner_2", "checker_1"]
    )


def test_it_runs_on_models(backbone: Backbone, tmp_path: Path) -> None:
    for model in (backbone, chat_model(tmp_path)):
        answers, calls = run("supervisor@2", model)
        assert 3 <= calls <= 4
        assert run("supervisor@2", model, seed=1) == (answers, calls)  # nothing is drawn
    assert make_method("supervisor").deterministic
