"""GPTSwarm: the gradient by hand, a planted best edge set that is found again, and who hears whom in the end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from algorithms.config import TrainConfig
from baselines.architecture.coding import Coding
from baselines.architecture.reinforce import policy_gradient
from baselines.base import Context, make_method
from baselines.gptswarm import GPTSwarm
from neuromas_env import Message, Meter, NodeRequest, Question, Task, UsageError, run_episodes

EDGES = [("node_0", "node_1"), ("node_0", "node_2"), ("node_1", "node_2")]
EDGES += [(f"node_{agent}", "node_3") for agent in range(3)]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Of edges, from their log-odds."""
    return Coding(np.full(len(logits), 2)).probabilities(logits)


class Wires(Task):
    """Each question is about one of six edges; a speaker that sees the graph answers "right" where that one is well."""

    name = "wires"

    def size(self, split: str) -> int | None:
        return None

    def question(self, split: str, index: int) -> Question:
        return Question(f"wires/{split}/{index}", str(index % len(EDGES)), "right")

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return text or None


class Planted:
    """The output is right where the edge that is asked about is there just if it is one of the planted ones."""

    def __init__(self, planted: Sequence[tuple[str, str]]) -> None:
        self.planted = planted
        self.heard: dict[tuple[int, str], set[str]] = {}
        self.calls: list[tuple[int, str]] = []

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return [Message(self.say(request), token_ids=(1, 2), prompt_ids=(3,)) for request in requests]

    def say(self, request: NodeRequest) -> str:
        self.heard[request.episode, request.agent] = {message.sender for message in request.messages}
        self.calls.append((request.episode, request.agent))
        if request.agent != "node_3":
            return "noted"
        sender, receiver = edge = EDGES[int(request.task)]
        there = sender in self.heard[request.episode, receiver]
        return "right" if there == (edge in self.planted) else "wrong"


def context(out: Path, seed: int = 0) -> Context:
    training = TrainConfig("chain")
    return Context(Wires(), [], seed, cast(Any, None), "none", training, training, out)


class Wordless(GPTSwarm):
    """No backbone whose words could be asked for."""

    def worded(self, context: Context) -> dict[str, str]:
        return {"agent": "", "decision": ""}


def swarm(name: str) -> GPTSwarm:
    return Wordless(make_method(name).spec)


def log_probability(logits: Sequence[float], drawn: Sequence[int]) -> float:
    """Of a graph, written out."""
    total = 0.0
    for logit, on in zip(logits, drawn, strict=True):
        p = 1 / (1 + float(np.exp(-logit)))
        total += float(np.log(p if on else 1 - p))
    return total


def test_the_gradient_is_that_of_the_log_probability() -> None:
    logits, drawn, advantages = [0.3, -1.2, 2.0], [[1, 0, 1], [0, 0, 1]], [0.75, -0.25]
    gradient = policy_gradient(probabilities(np.array(logits)), np.array(drawn), np.array(advantages))
    step = 1e-6
    for place in range(3):
        up, down = (list(logits) for _ in range(2))
        up[place] += step
        down[place] -= step
        slopes = [(log_probability(up, row) - log_probability(down, row)) / (2 * step) for row in drawn]
        assert gradient[place] == pytest.approx(sum(a * s for a, s in zip(advantages, slopes, strict=True)) / 2)


def test_the_gradient_by_hand() -> None:
    # p = 1/2: a drawn edge gives +1/2, another −1/2; graphs of advantage 1 and −1
    assert policy_gradient(probabilities(np.zeros(2)), np.array([[1, 0], [1, 1]]), np.array([1.0, -1.0])).tolist() == [
        0.0,
        -0.5,
    ]
    assert probabilities(np.array([0.0, np.log(3.0)])).tolist() == pytest.approx([0.5, 0.75])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("planted", [[EDGES[0], EDGES[2], EDGES[5]], [EDGES[1], EDGES[3], EDGES[4], EDGES[5]], []])
def test_a_planted_edge_set_is_recovered(tmp_path: Path, planted: list[tuple[str, str]], seed: int) -> None:
    found = []
    speaker = Planted(planted)
    for run in "ab":
        system = swarm("gptswarm:agents=3").system(context(tmp_path / run, seed), lambda temperature: speaker)
        assert system.notes["edges"] == len(planted)
        meter = Meter()
        questions = range(len(EDGES))
        batch = run_episodes(Wires(), system.topology, system.policy, questions, meter=meter)
        assert batch.accuracy == 1.0  # every edge is as planted, in every episode
        assert meter.calls == 4 * len(EDGES)
        found.append(next((tmp_path / run).rglob("*.json")).read_text())
    assert found[0] == found[1]


def test_each_graph_of_a_batch_has_edges_of_its_own(tmp_path: Path) -> None:
    speaker = Planted([])
    method = swarm("gptswarm:agents=3")
    drawn = np.array(list(itertools.product([False, True], repeat=6)))
    system = method.graphs(context(tmp_path), drawn, lambda temperature: speaker)
    assert system.topology.edges == tuple(sorted(EDGES, key=lambda edge: (edge[1], edge[0])))
    run_episodes(Wires(), system.topology, system.policy, range(64))
    for episode, row in enumerate(drawn):
        there = {edge for edge, on in zip(system.topology.edges, row, strict=True) if on}
        assert {(s, r) for r in system.topology.nodes for s in speaker.heard[episode, r]} == there


@pytest.mark.parametrize(("name", "agents", "graphs"), [("gptswarm", 10, 800), ("gptswarm:agents=3:batch=2", 3, 400)])
def test_calls_and_search_calls_are_what_the_definition_says(
    tmp_path: Path, name: str, agents: int, graphs: int
) -> None:
    class Silent:
        def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
            return [Message("wrong", token_ids=(1, 2), prompt_ids=(3,)) for _ in requests]

    system = swarm(name).system(context(tmp_path), lambda temperature: Silent())
    calls = agents + 1
    assert system.notes["search_calls"] == graphs * calls
    assert system.notes["search_sampled_tokens"] == 2 * graphs * calls
    assert system.notes["search_prompt_tokens"] == graphs * calls
    meter = Meter()
    run_episodes(Wires(), system.topology, system.policy, range(5), meter=meter)
    assert meter.calls == 5 * calls  # also where no edge is left: nothing was learnt from equal rewards
    assert system.notes["edges"] == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [("gptswarm:agents=0", "whole number"), ("gptswarm:iterations=2.5", "whole number"),
     ("gptswarm:learning_rate=0", "above 0"), ("gptswarm:rounds=2", "iterations"), ("gptswarm@3", "@3")],
)  # fmt: skip
def test_bad_options_are_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        make_method(name)
    assert told in str(refused.value)
