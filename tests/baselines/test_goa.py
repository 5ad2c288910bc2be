"""Graph of agents: scores are read, rank the agents, and say who hears whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripted import CHAIN, Played, Script, chat_model, context, play, run

from algorithms import Backbone
from baselines.base import make_method
from baselines.goa import read_scores
from neuromas_env import NodeRequest, UsageError, run_episodes

# The judges' words. Agent 1 gets (0.3 + 0.2) / 3, agent 2 (0.1 + 0.8) / 3, agent 3 (0.9 + 0.7) / 3: 3, 2, 1.
SCORES = {"score_1": "0.1, 0.9", "score_2": "0.3, 0.7", "score_3": "0.2, 0.8"}


def goa(
    backbone: Backbone, folder: Path, scores: dict[str, str], words: dict[str, str] | None = None, name: str = "goa"
) -> Played:
    """A graph in which every node names itself, but for the judges and for those with other `words`."""
    said = scores | (words or {})
    return play(name, lambda request: said.get(request.agent, request.agent), backbone, folder)


def test_judges_hear_the_answers_of_the_others(backbone: Backbone, tmp_path: Path) -> None:
    script = goa(backbone, tmp_path, SCORES).script
    assert script.heard("score_1") == ["answer_2", "answer_3"]
    assert script.heard("score_2") == ["answer_1", "answer_3"]
    assert script.heard("score_3") == ["answer_1", "answer_2"]


def test_messages_go_from_high_scores_to_low_and_back(backbone: Backbone, tmp_path: Path) -> None:
    played = goa(backbone, tmp_path, SCORES)
    heard = played.script.heard
    assert heard("down_2") == ["answer_3", "answer_2"]  # the best first, itself last
    assert heard("down_1") == ["answer_3", "answer_2", "answer_1"]
    assert heard("up_2") == ["down_1", "down_2"]
    assert heard("up_3") == ["down_2", "down_1", "answer_3"]
    assert heard("pool") == ["up_3", "up_2", "down_1"]
    assert {"down_3", "up_1"}.isdisjoint(played.spoke)  # the best has nobody above it, the lowest nobody below
    assert played.answer == "pool"
    assert played.calls == 11  # 3 answers, 3 scores, 2 down, 2 up, the pool


def test_all_sample_but_the_pool(backbone: Backbone) -> None:
    method: Any = make_method("goa")
    nodes = method.system(context(backbone)).policy.nodes
    assert nodes.pop("pool").temperature == 0.0
    assert {node.temperature for node in nodes.values()} == {0.7}


def test_the_order_follows_the_scores_of_each_question(backbone: Backbone) -> None:
    other = {"score_1": "0.8, 0.2", "score_2": "0.9, 0.1", "score_3": "0.4, 0.6"}  # agent 2, then 1, then 3

    def say(request: NodeRequest) -> str:
        return (SCORES, other)[request.episode].get(request.agent, request.agent)

    method: Any = make_method("goa")
    script = Script(say)
    run_episodes(CHAIN, method.topology, method.system(context(backbone), script).policy, range(2))
    spoke = [{r.agent for r in script.asked if r.episode == episode} for episode in (0, 1)]
    assert set(method.topology.nodes) - spoke[0] == {"down_3", "up_1"}
    assert set(method.topology.nodes) - spoke[1] == {"down_2", "up_3"}
    (lowest,) = (r for r in script.asked if (r.agent, r.episode) == ("down_3", 1))
    assert [message.text for message in lowest.messages] == ["answer_2", "answer_1", "answer_3"]


def test_max_pooling_takes_the_best_agents_last_word(backbone: Backbone, tmp_path: Path) -> None:
    played = goa(backbone, tmp_path, SCORES, {"up_3": "the last word"}, name="goa:pool=max")
    assert played.answer == "the last word"
    assert {"up_1", "up_2", "pool"}.isdisjoint(played.spoke)  # nobody would hear them
    assert played.calls == 9


def test_an_agent_below_the_threshold_is_left_out(backbone: Backbone, tmp_path: Path) -> None:
    scores = {"score_1": "0.0, 1.0", "score_2": "0.5, 0.5", "score_3": "0.9, 0.1"}  # 3 then 1; agent 2 has 0.1 / 3
    played = goa(backbone, tmp_path, scores)
    assert {"down_2", "up_2"}.isdisjoint(played.spoke)
    assert played.script.heard("down_1") == ["answer_3", "answer_1"]
    assert played.script.heard("up_3") == ["down_1", "answer_3"]
    assert played.script.heard("pool") == ["up_3", "down_1"]
    assert played.calls == 9


def test_a_single_agent_left_has_its_answer_stand(backbone: Backbone, tmp_path: Path) -> None:
    scores = {f"score_{judge}": "1, 0, 0, 0, 0" for judge in range(2, 7)} | {"score_1": "0.2, 0.2, 0.2, 0.2, 0.2"}
    for name in ("goa:agents=6", "goa:agents=6:pool=max"):
        played = goa(backbone, tmp_path, scores, name=name)
        assert played.answer == "answer_1"
        assert played.calls == 12  # the answers and the scores


@pytest.mark.parametrize(("silent", "order"), [((), "321"), ((1,), "231"), ((1, 2, 3), "123")])
def test_judges_that_cannot_be_read_hold_all_alike(
    backbone: Backbone, tmp_path: Path, silent: tuple[int, ...], order: str
) -> None:
    played = goa(backbone, tmp_path, SCORES | {f"score_{judge}": "I like them all." for judge in silent})
    assert played.script.heard(f"down_{order[-1]}") == [f"answer_{agent}" for agent in order]
    assert played.calls == 11


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("0.7, 0.3", [0.7, 0.3]),
        ("[0.7, 0.3]", [0.7, 0.3]),
        ("[1] 0.7 [2] 0.3", [0.7, 0.3]),
        ("1: 0.25, 2: 0.75.", [0.25, 0.75]),
        (".5 .5", [0.5, 0.5]),
        ("0, 1", [0.0, 1.0]),
        ("0.69, 0.26", [0.69 / 0.95, 0.26 / 0.95]),  # about 1 in sum: scaled
        ("0.7", [0.5, 0.5]),  # one score for two
        ("0.7, 0.2, 0.1", [0.5, 0.5]),
        ("8, 9", [0.5, 0.5]),
        ("0.5, 0.2", [0.5, 0.5]),
        ("0.3 +0.7", [0.5, 0.5]),  # operations are no scores
        ("", [0.5, 0.5]),
    ],
)
def test_scores_are_read_out_of_messages(text: str, scores: list[float]) -> None:
    assert read_scores(text, 2) == pytest.approx(scores)


@pytest.mark.parametrize("pooled", ["mean", "max"])
def test_each_step_has_its_instruction(backbone: Backbone, pooled: str) -> None:
    told = {step: step for step in ("answer", "score", "down", "up", "conclude", "pool")}
    system = make_method(f"goa:pool={pooled}").prepare(context(backbone, wordings={"goa": told}))
    last = "up" if pooled == "mean" else "conclude"  # where the best agent's answer is the last word
    for node, instruction in system.instructions.items():
        assert instruction == {"up": last}.get(node.split("_")[0], node.split("_")[0])


@pytest.mark.parametrize(("name", "calls"), [("goa", 11), ("goa:pool=max", 9), ("goa:agents=2", 7)])
def test_it_runs_on_models_and_counts_its_calls(backbone: Backbone, tmp_path: Path, name: str, calls: int) -> None:
    for model in (backbone, chat_model(tmp_path)):
        answers, made = run(name, model)
        assert made == calls
        assert run(name, model)[0] == answers


@pytest.mark.parametrize(("name", "told"), [("goa:agents=1", "from 2 to 16"), ("goa:pool=median", "mean, max")])
def test_a_bad_name_is_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_method(name)
