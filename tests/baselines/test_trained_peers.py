"""Trained systems beside the network: their shapes, their budgets, what their nodes are told, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from algorithms import Backbone, Network
from algorithms.config import TrainConfig
from algorithms.resolve import resolve_topology
from baselines.base import make_method
from baselines.compare import Comparison, run_comparison
from baselines.peers import TrainedPeer, messages
from neuromas_env import UsageError, make_task
from neuromas_env.topology import Topology
from neuromas_env.transcripts import read_transcript
from tests.baselines.scripted import context

PEERS = {"single-rl": None, "sft": "sft", "malt": "malt", "magrpo": "magrpo", "collm-cc": "maac", "maporl": "mappo"}


def peer(name: str) -> TrainedPeer:
    method = make_method(name)
    assert isinstance(method, TrainedPeer)
    return method


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("compared", ["1-1-1", "2-2-1", "3x2"])
def test_a_peer_has_the_parameters_and_the_sampled_messages_of_the_network(
    backbone: Backbone, name: str, compared: str
) -> None:
    network = TrainConfig("chain", topology=compared, rank=12, updates=20, options={"baseline": "group"})
    config = peer(name).training_config(dataclasses.replace(network, topology="1-1-1"), network)
    graph, own = Topology.parse(compared), resolve_topology(config.topology)
    trainable = Network.create(own, backbone, config.rank).trainable_parameters
    assert trainable == pytest.approx(Network.create(graph, backbone, 12).trainable_parameters, rel=0.1)
    assert config.alpha / config.rank == pytest.approx(network.alpha / network.rank)
    sampled = config.updates * messages(config, own)
    assert sampled == pytest.approx(network.updates * graph.calls, rel=0.05)
    assert (config.questions, config.samples) == (network.questions, network.samples)
    assert config.algorithm == (PEERS[name] or network.algorithm)
    # What the network's algorithm was told means nothing to another one.
    assert config.options == ({"baseline": "group"} if PEERS[name] is None else {})


def test_shared_messages_of_a_tree_count_once() -> None:
    config = TrainConfig("chain", algorithm="malt", samples=8)
    assert messages(config, Topology.parse("1-1-1")) == (2 + 4 + 8) / 8
    assert messages(TrainConfig("chain"), Topology.parse("3x2")) == 7


def test_the_network_is_what_peers_are_measured_against_wherever_it_stands(backbone: Backbone, tmp_path: Path) -> None:
    methods = [make_method(name) for name in ("malt", "maporl", "neuromas:2-1", "neuromas:1-1-1")]
    comparison = Comparison(make_task("chain"), "test", [], methods, [0], backbone, TrainConfig("chain"), tmp_path)
    assert str(comparison.compared) == "neuromas:2-1"
    assert comparison.context(0).compared.topology == "2-1"
    alone = dataclasses.replace(comparison, methods=methods[:2])
    assert str(alone.compared) == "malt"
    assert alone.context(0).compared.topology == "1-1-1"  # the budgets of the network that is not there


def test_roles_are_told_and_can_be_told_otherwise(backbone: Backbone, tmp_path: Path) -> None:
    task = make_task("chain")
    wordings = {"malt": {"verifier": "Look for the mistake."}}
    training = TrainConfig("chain", updates=1, questions=2, samples=2, validation_questions=0, tensorboard=False)
    questions = [task.question("test", index) for index in range(3)]
    comparison = Comparison(
        task, "test", questions, [make_method("malt")], [0], backbone, training, tmp_path, wordings=wordings
    )
    run_comparison(comparison)
    (run,) = (tmp_path / "runs").iterdir()
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["instructions"] == {"node_1": "Look for the mistake."}
    header = read_transcript(tmp_path / "transcripts" / "malt-seed0.jsonl").header
    assert header.instructions == {"node_1": "Look for the mistake."}
    assert header.topology.incoming("node_2") == ("node_0", "node_1")  # the refiner hears generator and verifier
    (other,) = peer("malt").run_configs(context(backbone, out=tmp_path))
    assert other.folder != run  # another wording is another run


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("malt:algorithm=grpo", "trained by its own algorithm"),
        ("maporl:credit=shared", "trained by its own credit"),
        ("collm-cc:threshold=1", "threshold"),
        ("magrpo:1-1", "takes nothing after"),
        ("sft:threshold=2", "at most 1"),
        ("maporl:discount=2", "0 to 1"),
    ],
)
def test_what_a_peer_does_not_take_is_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_method(name)


def test_options_of_its_own_algorithm_are_taken() -> None:
    config = peer("malt:beta=0.3:token_budget=900").training_config(TrainConfig("chain"), TrainConfig("chain"))
    assert (config.options, config.token_budget) == ({"beta": "0.3"}, 900)
    credit = peer("maporl:discount=0.5").training_config(TrainConfig("chain"), TrainConfig("chain"))
    assert (credit.credit, credit.credit_options) == ("verifier", {"discount": "0.5"})
    by = peer("single-rl:algorithm=grpo").training_config(TrainConfig("chain"), TrainConfig("chain"))
    assert by.algorithm == "grpo"
