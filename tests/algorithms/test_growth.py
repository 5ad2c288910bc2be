"""Growing networks: what they say, what is carried over, how gates open, and runs that go on from others."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
import torch
from left_behind import contents

from algorithms import Backbone, Network, TrainConfig, load_backbone
from algorithms.descent import spent_by_ancestors
from algorithms.errors import TrainingStopped
from algorithms.gates import Gate, Gates
from algorithms.growth import carried, disconnect, extended, grow, prune
from algorithms.run import Run
from algorithms.training import train
from neuromas_env import Meter, make_task, run_episodes
from neuromas_env.errors import CheckpointError, TopologyError, UsageError
from neuromas_env.growth import Growth, connect
from neuromas_env.topology import Topology

ECHO = tiny_models.LongEcho()


def awake(network: Network, seed: int = 0, scale: float = 0.3) -> Network:
    """With adapters that say something of their own."""
    assert network.adapters is not None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        network.adapters.flat_NP.copy_(scale * torch.randn(network.adapters.flat_NP.shape, generator=generator))
    return network


def answers(network: Network, task: object = ECHO, count: int = 12) -> tuple[list[str], int]:
    meter = Meter()
    batch = run_episodes(task, network.topology, network, range(count), meter=meter)  # type: ignore[arg-type]
    return batch.answers, meter.calls


def files(network: Network, folder: Path) -> dict[str, bytes]:
    network.save(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------- the function is preserved


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma3"])
def any_backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load_backbone(tiny_models.save(tmp_path_factory.mktemp(request.param), request.param))


@pytest.mark.parametrize("init", ["fresh", "clone", "relay"])
def test_a_grown_network_says_what_it_said_and_pruning_gives_it_back(any_backbone, init, tmp_path):
    network = awake(Network.create("2-2-1", any_backbone, rank=2))
    before, saved = answers(network), files(network, tmp_path / "before")
    larger = grow(network, "3-3-3-1/all", init=init, seed=5)
    assert larger.topology.name == "3-3-3-1/all"
    assert answers(larger) == before
    for edge in list(larger.gates.edges):
        larger = disconnect(larger, edge)
    for node in reversed(list(larger.gates.nodes)):
        larger = prune(larger, node)
    assert files(larger, tmp_path / "after") == saved
    assert (
        answers(grow(network, "3-3-3-1/all", init="clone" if init == "relay" else init, opening="immediate")) != before
    )


@pytest.mark.parametrize("model", ["nano", "qwen3", "gemma3"])
def test_a_thousand_questions_get_the_same_answers(model, tmp_path):
    """The three operators, one by one and all together, on the embedded backbone and on random chat models."""
    backbone = load_backbone("nano" if model == "nano" else tiny_models.save_chat_model(tmp_path, model))
    with torch.no_grad():  # random attention looks everywhere at once, so that all questions would get one answer
        for name, parameter in backbone.model.named_parameters() if model != "nano" else ():
            if "q_norm" in name or ("post_attention_layernorm" in name and model == "gemma3"):
                parameter.add_(12.0)
            elif "o_proj" in name:
                parameter.mul_(20.0)
    network = awake(Network.create("1-1-1", backbone, rank=2), scale=0.02 if model == "nano" else 0.2)
    task = make_task("chain", difficulty="2-3")
    task.max_message_tokens = 8 if model == "nano" else 3
    before, calls = answers(network, task, 1000)
    assert len(set(before)) >= 3  # they have something to say
    skip = Growth(network.topology).then(connect(network.topology, [("node_0", "node_2")]))
    for larger in (
        grow(network, "2-1-1"),
        grow(network, "1-1-1-1"),
        extended(network, skip),
        grow(network, "2-2-2-1/all"),
    ):
        assert answers(larger, task, 1000) == (before, calls)


def test_saving_keeps_gates_and_older_programs_are_told_that_they_cannot_read_them(backbone, tmp_path):
    network = awake(Network.create("1-1", backbone, rank=2))
    larger = grow(network, "2-1-1", init="clone")
    files(larger, tmp_path / "larger")
    again = Network.load(tmp_path / "larger", backbone)
    assert again.gates == larger.gates
    assert answers(again) == answers(network)
    assert json.loads((tmp_path / "larger" / "network.json").read_text())["version"] == 3
    assert json.loads(files(network, tmp_path / "network")["network.json"])["version"] == 2  # nothing new in it


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        ({"nodes": {"node_9": {"opening": 0, "relays": None}}, "edges": []}, "'node_9', which is none of its nodes"),
        ({"nodes": {"node_1": {"opening": 2, "relays": None}}, "edges": []}, "a degree from 0 to 1"),
        ({"nodes": {"node_1": {"opening": float("nan"), "relays": None}}, "edges": []}, "a degree from 0 to 1"),
        ({"nodes": {"node_1": {"opening": 0, "relays": "node_7"}}, "edges": []}, "node_7"),
        ({"nodes": {"node_1": 0.5}, "edges": []}, "cannot be read"),
        ({"nodes": {}, "edges": [["node_0"]]}, "cannot be read"),
    ],
)
def test_gates_that_make_no_sense_are_refused(backbone, tmp_path, gates, told):
    Network.create("1-1", backbone, rank=2).save(tmp_path)
    path = tmp_path / "network.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "gates": gates}))
    with pytest.raises(CheckpointError, match=told):
        Network.load(tmp_path, backbone)


def test_cloning_the_last_hidden_node_goes_on_with_what_it_does(backbone):
    network = awake(Network.create("1-1-1", backbone, rank=2))
    longer = grow(network, "1-1-1-1-1", init="clone", opening="immediate")
    rows, old = longer.adapters.flat_NP, network.adapters.flat_NP
    layers = [longer.topology.index(node) for (node,) in longer.topology.layers]
    assert [int((rows[row] == old).all(1).nonzero()[0, 0]) for row in layers] == [0, 1, 1, 1, 2]
    assert not longer.gates
    assert answers(longer)[1] == 5 * 12
    fresh = grow(network, "1-1-1-1-1", opening="immediate", seed=7)
    new = [fresh.topology.index(node) for (node,) in fresh.topology.layers[2:4]]
    expected = Network.create(fresh.topology, backbone, rank=2, seed=7)
    assert torch.equal(fresh.adapters.flat_NP[new], expected.adapters.flat_NP[new])


def test_what_cannot_be_grown_is_refused_and_nothing_has_changed(backbone):
    network = awake(Network.create("2-2-1", backbone, rank=2))
    before = network.adapters.flat_NP.clone()
    with pytest.raises(TopologyError, match="cannot pass on what 2 nodes say"):
        grow(network, "2-2-1-1")
    with pytest.raises(UsageError, match="relays nothing"):
        grow(network, "2-2-2-1", init="relay", opening="immediate")
    assert grow(network, "2-2-1-1", opening="immediate").topology.name == "2-2-1-1"
    assert torch.equal(network.adapters.flat_NP, before)
    assert (network.topology.name, network.gates) == ("2-2-1", Gates())


# ---------------------------------------------------------------------- gates that are open in part


def test_a_gate_is_open_for_its_share_of_the_questions_and_alike_for_all_samples(backbone):
    from algorithms.credit import Credit
    from algorithms.experience import credited, play

    network = awake(Network.create("1-1", backbone, rank=2))
    growth = connect(grow(network, "2-1-1").topology, [("node_0", "node_1")])
    larger = extended(grow(network, "2-1-1"), growth)
    config = TrainConfig("echo", topology="2-1-1", questions=40, samples=3)
    gates = larger.gates.opened(0.3)
    spoke, edge_open = Counter(), 0
    for update in range(1, 4):
        larger.gates = gates.drawn(update)
        rollout = play(config, larger, ECHO, Credit(), update)
        by_question = Counter((turn.request.agent, turn.request.episode // 3) for turn in rollout.turns)
        assert set(by_question.values()) == {3}  # all samples of a question, or none
        spoke.update(node for node, _ in by_question)
        edge_open += sum(larger.gates._open(0.3, "node_0 node_1", question.id) for question in rollout.questions)
        # Episodes that are played again meet the same gates: only what lies downstream of the change is sampled.
        meter = Meter()
        counterfactual = Credit("counterfactual")
        credited(config, larger, ECHO, counterfactual, update, rollout, rollout.rewards_QG, meter)
        assert meter.calls <= 120 * larger.topology.num_nodes
    assert spoke["node_0"] == spoke["node_1"] == 120
    assert 0.15 < spoke["node_2"] / 120 < 0.45
    assert 0.15 < edge_open / 120 < 0.45
    assert spoke["node_2"] != spoke["node_3"] or larger.topology.num_nodes == 3  # each gate draws for itself
    # Judged, a gate does what it does more often than not, whatever was drawn before.
    for opening, calls in ((0.49, 2), (0.5, 4)):
        larger.gates = gates.opened(opening).drawn(None)
        assert answers(larger)[1] == calls * 12


def test_opening_never_closes_what_is_open():
    gates = Gates({"a": Gate(0.7, "b"), "b": Gate()}, {("a", "c"): 0.2})
    assert gates.opened(0.5) == Gates({"a": Gate(0.7, "b"), "b": Gate(0.5)}, {("a", "c"): 0.5})
    assert gates.without("b") == Gates({"a": Gate(0.7, None)}, {("a", "c"): 0.2})


# ---------------------------------------------------------------------- runs that go on from others


@pytest.fixture(scope="module")
def parent(backbone, tmp_path_factory) -> Run:
    config = TrainConfig(
        "long-echo", topology="1-1", out=str(tmp_path_factory.mktemp("parent") / "run"), updates=4, questions=2,
        samples=4, learning_rate=1e-2, rank=2, validation_questions=4, validation_every=2, tensorboard=False,
    )  # fmt: skip
    return train(config, task=ECHO, backbone=backbone)


def grown_config(run: Run, tmp_path: Path, **changes) -> TrainConfig:
    given = {"parent": str(run.folder), "topology": "2-1-1", "out": str(tmp_path / "grown"), "opening_updates": 4}
    return replace(run.config, **{**given, **changes})


def test_a_grown_run_starts_as_its_parent_and_opens(parent, backbone, tmp_path):
    config = grown_config(parent, tmp_path, updates=6, keep_checkpoints=9, checkpoint_every=1, opening="gradual")
    run = train(config, task=ECHO, backbone=backbone)
    best = parent.checkpoint("best")
    assert run.metrics[0]["validation_accuracy"] == best.state().best_accuracy
    openings = []
    for update in range(7):
        network = run.network(update, backbone)
        openings.append([gate.opening for gate in network.gates.nodes.values()])
    assert openings == [[0.0] * 2, [0.25] * 2, [0.5] * 2, [0.75] * 2, *[[1.0] * 2] * 3]
    assert run.network(0, backbone).adapters.flat_NP[:2].equal(best.network(backbone).adapters.flat_NP)
    calls = [row["calls"] for row in run.metrics[1:]]
    assert calls[-1] - calls[-2] == 4 * 8  # all open
    assert calls[0] < 4 * 8
    (ancestor,) = run.record["ancestors"]
    assert (ancestor["topology"], ancestor["update"]) == ("1-1", best.update)
    assert spent_by_ancestors(run.record) == parent.metrics[-1]["sampled_tokens"]
    other = grown_config(parent, tmp_path, topology="2-2-2-1", out=str(tmp_path / "again"), updates=1)
    again = train(replace(other, parent=str(run.folder)), task=ECHO, backbone=backbone)
    assert [each["topology"] for each in again.record["ancestors"]] == ["1-1", "2-1-1"]
    assert spent_by_ancestors(again.record) == (
        parent.metrics[-1]["sampled_tokens"] + run.metrics[-1]["sampled_tokens"]
    )


def test_what_is_closed_does_not_learn_and_old_nodes_keep_their_optimizer(parent, backbone, tmp_path):
    config = grown_config(parent, tmp_path, updates=2, opening="silent", init="clone")
    run = train(config, task=ECHO, backbone=backbone)
    first, last = run.network(0, backbone), run.network("last", backbone)
    assert torch.equal(first.adapters.flat_NP[2:], last.adapters.flat_NP[2:])
    assert not torch.equal(first.adapters.flat_NP[:2], last.adapters.flat_NP[:2])
    before = parent.checkpoint("best").optimizer_state()
    start, end = run.checkpoint(0).optimizer_state(), run.checkpoint("last").optimizer_state()
    for name, tensor in before.items():
        assert torch.equal(start[name][:2], tensor)
        assert not start[name][2:].any()
        assert not end[name][2:].any()
    assert end["steps_N"][:2].sum() > before["steps_N"].sum()
    assert carried(before, 3)["mean_NP"].shape == (3, before["mean_NP"].shape[1])


def test_a_grown_run_that_was_stopped_goes_on_as_if_it_never_had_even_without_its_parent(parent, backbone, tmp_path):
    shutil.copytree(parent.folder, tmp_path / "copy")
    config = replace(grown_config(parent, tmp_path, updates=5), parent=str(tmp_path / "copy"), credit="counterfactual")
    whole = train(replace(config, out=str(tmp_path / "whole")), task=ECHO, backbone=backbone)

    def interrupt(row):
        if row["update"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped):
        train(config, task=ECHO, backbone=backbone, on_update=interrupt)
    shutil.rmtree(tmp_path / "copy")
    run = train(config, task=ECHO, backbone=backbone, resume=True)
    assert contents(run.folder) == contents(whole.folder)


@pytest.mark.parametrize("credit", [None, "counterfactual", "leave-one-out", "shapley"])
@pytest.mark.parametrize("algorithm", ["grpo", "malt", "ppo", "mappo", "maac", "sft", "dapo"])
def test_every_way_of_learning_takes_nodes_that_make_no_call(parent, backbone, tmp_path, algorithm, credit):
    if algorithm == "malt" and credit is not None:
        pytest.skip("malt has a credit assignment of its own")
    config = grown_config(parent, tmp_path, updates=2, algorithm=algorithm, credit=credit, samples=8)
    assert train(config, task=ECHO, backbone=backbone).finished


def test_an_update_that_fails_leaves_the_gates_as_they_were(parent, backbone, tmp_path, monkeypatch):
    from algorithms import trainer
    from algorithms.errors import NotFiniteError, TrainingError

    real, count = trainer.learn, 0

    def failing(*given, **named):
        nonlocal count
        count += 1
        if count == 3:
            raise NotFiniteError("the loss is not finite")
        return real(*given, **named)

    monkeypatch.setattr(trainer, "learn", failing)
    config = grown_config(parent, tmp_path, updates=4, checkpoint_every=4, validation_every=4)
    with pytest.raises(TrainingError, match="update 3"):
        train(config, task=ECHO, backbone=backbone)
    gates = Run(Path(config.out)).network(2, backbone).gates
    assert {gate.opening for gate in gates.nodes.values()} == {0.5}


def test_growing_without_training_only_judges(parent, backbone, tmp_path):
    config = grown_config(parent, tmp_path, updates=0, topology="1-1-1", init="clone", opening="immediate")
    run = train(config, task=ECHO, backbone=backbone)
    assert run.finished
    assert [row["update"] for row in run.metrics] == [0]
    assert train(config, task=ECHO, backbone=backbone, resume=True).metrics == run.metrics
    with pytest.raises(UsageError, match="or 0 with a parent"):
        TrainConfig("echo", updates=0)


def test_what_does_not_fit_the_parent_is_refused_before_anything_is_written(parent, backbone, tmp_path):
    other = load_backbone(tiny_models.save(tmp_path / "other", "llama", seed=9))
    for config, loaded, told in (
        (grown_config(parent, tmp_path, rank=3), backbone, "rank cannot be 3: the parent .* has 2"),
        (grown_config(parent, tmp_path, parent=str(tmp_path)), backbone, "not a training run"),
        (grown_config(parent, tmp_path), other, "other weights"),
        (grown_config(parent, tmp_path, topology="1"), backbone, "1 hidden layers, and that only 0"),
        (grown_config(parent, tmp_path, init="relay", opening="immediate"), backbone, "relays nothing"),
    ):
        with pytest.raises(UsageError, match=told):
            train(config, task=ECHO, backbone=loaded)
        assert not (tmp_path / "grown").exists()


def test_a_grown_run_is_asked_other_questions_than_its_parent(parent, tmp_path, backbone):
    from algorithms.credit import Credit
    from algorithms.experience import play

    config = replace(parent.config, task="chain")
    network = Network.create("1-1", backbone, rank=2)
    task = make_task("chain")
    asked = [play(config, network, task, Credit(), update).questions for update in (1, 2, 3)]
    grown_asked = play(replace(config, parent="x"), network, task, Credit(), 1).questions
    assert {q.id for q in grown_asked}.isdisjoint(q.id for questions in asked for q in questions)
    assert network.topology == Topology.parse("1-1")
