"""Debate: who hears whom, how minds change, and how votes end."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import CHAIN, QUESTIONS, chat_model, context, play, run

from algorithms import Backbone
from baselines.base import make_method
from neuromas_env import NodeRequest, UsageError

RIGHT = f"= {QUESTIONS[0].answer}"
WRONG, OTHER = (f"= {(int(QUESTIONS[0].answer) + step) % 10}" for step in (1, 2))


def words(*texts: str) -> dict[str, str]:
    return {f"node_{index}": text for index, text in enumerate(texts)}


@pytest.mark.parametrize("others_follow", [True, False])
def test_one_agent_is_right_and_the_others_follow_or_not(
    backbone: Backbone, tmp_path: Path, others_follow: bool
) -> None:
    first = words(WRONG, RIGHT, WRONG)
    second: dict[str, str] = {}

    def say(request: NodeRequest) -> str:
        if request.agent in first:
            return first[request.agent]
        *others, own = (message.text for message in request.messages)
        second[request.agent] = RIGHT if others_follow and RIGHT in others else own
        return second[request.agent]

    played = play("debate", say, backbone, tmp_path)
    assert list(second.values()) == ([RIGHT] * 3 if others_follow else [WRONG, RIGHT, WRONG])
    assert played.answer == (RIGHT if others_follow else WRONG)
    assert played.calls == 6  # the vote is free
    assert CHAIN.parse(QUESTIONS[0], RIGHT) == QUESTIONS[0].answer


def test_an_agent_hears_the_others_and_last_itself(backbone: Backbone, tmp_path: Path) -> None:
    script = play("debate:rounds=3", lambda request: f"{request.agent} speaks", backbone, tmp_path).script
    said = [f"node_{index} speaks" for index in range(6)]
    assert [script.heard(f"node_{index}") for index in range(3)] == [[], [], []]
    assert script.heard("node_3") == [said[1], said[2], said[0]]
    assert script.heard("node_4") == [said[0], said[2], said[1]]
    assert script.heard("node_5") == [said[0], said[1], said[2]]
    assert script.heard("node_7") == [said[3], said[5], said[4]]  # the last round, not the first
    assert script.temperatures == {0.7}


@pytest.mark.parametrize(
    ("last_round", "answer"),
    [
        ([OTHER, RIGHT, RIGHT, OTHER], OTHER),  # a tie: the answer that was given first
        ([RIGHT, OTHER, OTHER, RIGHT], RIGHT),
        (["junk", "junk", "junk", RIGHT], RIGHT),  # what cannot be read abstains
        (["junk", WRONG, RIGHT, RIGHT], RIGHT),
        (["junk", "", "", ""], "junk"),
    ],
)
def test_the_majority_of_the_last_round_decides(
    backbone: Backbone, tmp_path: Path, last_round: list[str], answer: str
) -> None:
    said = words(WRONG, WRONG, WRONG, WRONG, *last_round)  # all of the first round agree, in vain
    assert play("debate:agents=4", said, backbone, tmp_path).answer == answer


def test_an_agent_is_told_that_it_debates_and_the_last_round_to_conclude(backbone: Backbone) -> None:
    told = {"answer": "first", "debate": "between", "conclude": "last"}
    system = make_method("debate:rounds=3").prepare(context(backbone, wordings={"debate": told}))
    *rounds, _ = system.topology.layers
    assert [{system.instructions[node] for node in speakers} for speakers in rounds] == [
        {"first"},
        {"between"},
        {"last"},
    ]
    assert system.topology.output not in system.instructions


@pytest.mark.parametrize(
    ("name", "calls"), [("debate", 6), ("debate:agents=2:rounds=3", 6), ("debate:agents=4:temperature=1", 8)]
)
def test_it_runs_on_models_and_costs_agents_times_rounds(
    backbone: Backbone, tmp_path: Path, name: str, calls: int
) -> None:
    for model in (backbone, chat_model(tmp_path)):
        answers, made = run(name, model)
        assert made == calls
        assert run(name, model)[0] == answers
        assert run(name, model, seed=1)[0] != answers


@pytest.mark.parametrize("name", ["debate:agents=1", "debate:rounds=1", "debate:agents=2.5", "debate:rounds=many"])
def test_a_debate_needs_two_agents_and_two_rounds(name: str) -> None:
    with pytest.raises(UsageError, match="whole number from 2"):
        make_method(name)
