"""Mixtures of agents: the aggregator hears all proposers, and its word is the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripted import CHAIN, chat_model, context, play, run

from algorithms import Backbone
from baselines.base import make_method
from neuromas_env import NodeRequest, UsageError, run_episodes


def names(request: NodeRequest) -> str:
    return f"by {request.agent}"


def by(*indices: int) -> list[str]:
    return [f"by node_{index}" for index in indices]


def test_every_layer_hears_the_whole_layer_before_it_and_no_other(backbone: Backbone, tmp_path: Path) -> None:
    played = play("moa", names, backbone, tmp_path)
    heard = [played.script.heard(f"node_{index}") for index in range(9)]
    assert heard == [[]] * 4 + [by(0, 1, 2, 3)] * 4 + [by(4, 5, 6, 7)]
    assert played.answer == "by node_8"
    assert played.calls == 9


@pytest.mark.parametrize("name", ["moa", "self-moa"])
def test_proposers_are_sampled_and_the_aggregator_is_greedy(backbone: Backbone, name: str) -> None:
    method: Any = make_method(name)
    nodes = method.system(context(backbone)).policy.nodes
    assert nodes.pop(method.topology.output).temperature == 0.0
    assert {node.temperature for node in nodes.values()} == {0.7}


def test_the_aggregator_of_self_moa_hears_all_samples_and_may_follow_one(backbone: Backbone, tmp_path: Path) -> None:
    said = {f"node_{index}": f"= {index % 2}" for index in range(6)} | {"node_4": "= 7"}

    def say(request: NodeRequest) -> str:
        return said.get(request.agent) or next(m.text for m in request.messages if m.text == "= 7")

    played = play("self-moa", say, backbone, tmp_path)
    assert played.answer == "= 7"  # a vote would have said 0
    assert played.script.heard("node_6") == list(said.values())
    assert played.calls == 7


def test_the_proposers_of_self_moa_are_samples_of_one_prompt(backbone: Backbone) -> None:
    def asked(name: str) -> tuple[set[str], set[str]]:
        system = make_method(name).prepare(context(backbone))
        batch = run_episodes(CHAIN, system.topology, system.policy, [0], instructions=system.instructions)
        proposed = [turn for turn in batch.turns if turn.request.step == 0]
        return {turn.request.prompt for turn in proposed}, {turn.message.text for turn in proposed}

    prompts, texts = asked("self-moa@6")
    assert len(prompts) == 1
    assert len(texts) > 1
    assert len(asked("moa:layers=2:proposers=6")[0]) == 6  # these know their places


def test_each_layer_has_its_instruction(backbone: Backbone) -> None:
    told = {"propose": "first", "combine": "between", "aggregate": "last"}
    system = make_method("moa").prepare(context(backbone, wordings={"moa": told}))
    layers = [{system.instructions[node] for node in layer} for layer in system.topology.layers]
    assert layers == [{"first"}, {"between"}, {"last"}]


@pytest.mark.parametrize(
    ("name", "calls"),
    [("moa", 9), ("moa:layers=2:proposers=6", 7), ("moa:layers=4:proposers=2", 7), ("self-moa", 7), ("self-moa@4", 5)],
)
def test_it_runs_on_models_and_counts_its_calls(backbone: Backbone, tmp_path: Path, name: str, calls: int) -> None:
    for model in (backbone, chat_model(tmp_path)):
        answers, made = run(name, model)
        assert made == calls
        assert run(name, model)[0] == answers


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("moa:layers=1", "whole number from 2"),
        ("moa:proposers=0", "whole number from 1"),
        ("self-moa:layers=2", "layers"),
        ("moa@3", "@3"),
    ],
)
def test_a_bad_name_is_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_method(name)
