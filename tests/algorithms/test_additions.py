"""What may be added to any run: entropy, distance from the backbone, truncated weights; stopping early or by tokens."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

from algorithms.algorithm import make_algorithm
from algorithms.backbone import Backbone, load_backbone
from algorithms.checkpoint import checkpoints
from algorithms.config import TrainConfig
from algorithms.errors import TrainingStopped
from algorithms.learner import Additions, backward, learn
from algorithms.network import Network
from algorithms.optimizer import StackedAdam
from algorithms.rollout import Rollout, roll_out
from algorithms.training import train
from neuromas_env.errors import UsageError

ECHO = tiny_models.Echo()


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    torch.set_num_threads(1)
    return load_backbone(tiny_models.save(tmp_path_factory.mktemp("llama")), dtype="float64")


@pytest.fixture
def experience(exact: Backbone) -> tuple[Network, Rollout]:
    network = Network.create("1-1", exact, rank=2, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.adapters.flat_NP += 0.1 * torch.randn(network.adapters.flat_NP.shape, generator=generator).double()
    task = tiny_models.LongEcho()
    questions = [task.question("train", index) for index in range(3)]
    return network, roll_out(network, task, questions, 3, temperature=0.7, seed=7)


def token_logprobs(network: Network, sample: Any, adapted: bool) -> torch.Tensor:
    """Log-probabilities [T, V] at each completion token by the plain model, one sample at a time."""
    ids = torch.tensor([*sample.prompt_ids, *sample.completion_ids])
    network.backbone.router.route = network.route([(sample.node, 0, len(ids))]) if adapted else None
    logits_LV = network.backbone.model(ids[None]).logits[0] / 0.7
    network.backbone.router.route = None
    return logits_LV.log_softmax(-1)[-len(sample.completion_ids) - 1 : -1]


def by_hand(network: Network, rollout: Rollout, entropy_bonus: float, kl: float) -> tuple[float, torch.Tensor]:
    network.adapters.zero_grad()
    total = 0.0
    for sample in rollout.samples:
        tokens = sum(len(other.completion_ids) for other in rollout.samples if other.node == sample.node)
        chosen = torch.tensor(sample.completion_ids)[:, None]
        logprobs_TV = token_logprobs(network, sample, adapted=True)
        with torch.no_grad():
            reference_T = token_logprobs(network, sample, adapted=False).gather(1, chosen)[:, 0]
        distance_T = reference_T - logprobs_TV.gather(1, chosen)[:, 0]
        k3 = (distance_T.exp() - distance_T - 1).sum()
        entropy = -(logprobs_TV.exp() * logprobs_TV).sum()
        loss = (kl * k3 - entropy_bonus * entropy) / tokens
        loss.backward()
        total += loss.item()
    return total, network.adapters.grad_NP.clone()


@pytest.mark.parametrize(("entropy_bonus", "kl"), [(0.3, 0.0), (0.0, 0.4), (0.3, 0.4)])
def test_entropy_and_distance_are_those_of_the_plain_model(entropy_bonus, kl, experience):
    """With no advantage at all the loss is only what was added: over all tokens, each node apart."""
    network, rollout = experience
    expected, expected_NP = by_hand(network, rollout, entropy_bonus, kl)
    for tokens in (10**6, 1):
        network.adapters.zero_grad()
        report = backward(
            network, make_algorithm("reinforce"), rollout, np.zeros((3, 3)), temperature=0.7,
            micro_batch_tokens=tokens, additions=Additions(entropy_bonus, kl),
        )  # fmt: skip
        assert report.loss == pytest.approx(expected, rel=1e-6)
        torch.testing.assert_close(network.adapters.grad_NP, expected_NP, rtol=1e-5, atol=1e-8)
        assert len(report.trained) == len(rollout.samples)
        assert ("backbone_kl" in report.statistics_N) == bool(kl)


def shifted(rollout: Rollout, by: float) -> Rollout:
    """The same messages from a sampler whose log-probabilities are off by alternating amounts."""
    turns = []
    for turn in rollout.turns:
        logprobs = tuple(value + (by if t % 2 else -by) for t, value in enumerate(turn.message.logprobs))
        turns.append(replace(turn, message=replace(turn.message, logprobs=logprobs)))
    return replace(rollout, turns=turns)


def test_truncated_weights_are_those_of_trainer_over_sampler(experience):
    network, rollout = experience
    advantages_QG = np.random.default_rng(0).normal(size=(3, 3))
    other = shifted(rollout, 0.5)
    network.adapters.zero_grad()
    for sample, turn, episode in zip(other.samples, other.turns, other.episode_M, strict=True):
        tokens = sum(len(s.completion_ids) for s in other.samples if s.node == sample.node)
        chosen_T = token_logprobs(network, sample, True).gather(1, torch.tensor(sample.completion_ids)[:, None])[:, 0]
        weights_T = (chosen_T.detach() - torch.tensor(turn.message.logprobs)).exp().clamp(max=1.2)
        assert (weights_T < 0.7).any() or len(weights_T) == 1 or turn.message.finish_reason
        (-(weights_T * chosen_T).sum() * advantages_QG.reshape(-1)[episode] / tokens).backward()
    expected_NP = network.adapters.grad_NP.clone()
    network.adapters.zero_grad()
    options = {"temperature": 0.7, "micro_batch_tokens": 10**6}
    backward(network, make_algorithm("reinforce"), other, advantages_QG, **options, additions=Additions(truncate=1.2))
    torch.testing.assert_close(network.adapters.grad_NP, expected_NP, rtol=1e-4, atol=1e-7)


def test_with_truncation_ratios_start_from_the_trainer_and_without_from_the_sampler(experience):
    network, rollout = experience
    other = shifted(rollout, 0.5)
    advantages_QG = np.random.default_rng(0).normal(size=(3, 3))
    options: dict[str, Any] = {"learning_rate": 2e-3, "clip": 1.0, "temperature": 0.7, "micro_batch_tokens": 200}
    start_NP = network.adapters.flat_NP.clone()
    ratios = {}
    for truncate in (0.0, 5.0):
        for epochs in (1, 2):
            network.adapters.flat_NP.copy_(start_NP)
            report = learn(
                network, StackedAdam(network.adapters, 0.0), make_algorithm("grpo"), other, advantages_QG,
                **options, epochs=epochs, additions=Additions(truncate=truncate),
            )  # fmt: skip
            ratios[truncate, epochs] = report.statistics["node_0"]["ratio"]
    assert ratios[5.0, 1] == pytest.approx(1.0, abs=1e-6)
    assert 1e-4 < abs(ratios[5.0, 2] - 1.0) < 0.2  # the second pass compares with the first
    assert abs(ratios[0.0, 1] - 1.0) > 0.05


# ---------------------------------------------------------------------- in the trainer


def stopped_and_resumed(config: TrainConfig, backbone: Backbone, at: int) -> tuple[bytes, bytes]:
    """metrics.jsonl of a run that was stopped after update `at`, and of one that was not; their adapters are equal."""

    def interrupt(row: dict[str, Any]) -> None:
        if row["update"] == at:
            os.kill(os.getpid(), signal.SIGINT)

    whole = train(replace(config, out=config.out + "-whole"), task=ECHO, backbone=backbone)
    with pytest.raises(TrainingStopped):
        train(config, task=ECHO, backbone=backbone, on_update=interrupt)
    run = train(config, resume=True, task=ECHO, backbone=backbone)
    ends = [checkpoints(each.folder)[-1].network(backbone).adapters.flat_NP for each in (whole, run)]
    assert torch.equal(*ends)
    return (run.folder / "metrics.jsonl").read_bytes(), (whole.folder / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    "fields",
    [
        {"credit": "shapley", "credit_options": {"orders": "2"}, "message_dropout": 0.3},
        {"credit": "counterfactual", "silence_cost": 0.2, "length_cost": 0.1, "format_reward": 0.1},
        {"credit": "leave-one-out", "algorithm": "dapo", "epochs": 2, "kl": 0.1, "entropy_bonus": 0.1},
        {"algorithm": "malt", "epochs": 2},
        {"credit": "tree", "algorithm": "grpo", "truncate": 2.0, "checkpoint_activations": True},
        {"token_budget": 100, "algorithm": "rloo"},
        {"patience": 2, "targets": ("q_proj", "v_proj"), "lora": "rslora"},
    ],
    ids=lambda fields: "-".join(map(str, fields)),
)
def test_resuming_restores_every_option(fields, config, backbone):
    resumed, whole = stopped_and_resumed(replace(config, **fields), backbone, at=3)
    assert resumed == whole
    rows = [json.loads(line) for line in whole.decode().splitlines()]
    if "credit" in fields and fields["credit"] != "tree":
        assert any(row.get("credit_calls", 0) > 0 for row in rows)
        assert all("credit" in node for node in rows[-1]["nodes"].values())
    assert any("backbone_kl" in row["nodes"]["node_1"] for row in rows[1:]) == ("kl" in fields)


def test_a_token_budget_ends_the_run_and_bends_the_schedule(config, backbone):
    run = train(replace(config, token_budget=150, updates=5), task=ECHO, backbone=backbone)
    rows = [row for row in run.metrics if row["update"]]
    spent = [row["sampled_tokens"] for row in rows]
    assert spent[-2] < 150 <= spent[-1]
    assert len(rows) == math.ceil(150 / 16)  # 16 messages of one token an update: more updates than `updates`
    expected = [1e-2 * (1 - before / 150) for before in [0, *spent[:-1]]]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)
    assert "validation_accuracy" in rows[-1]
    assert run.finished
    assert train(run.config, resume=True, task=ECHO, backbone=backbone).metrics[-1] == rows[-1]


def test_patience_stops_after_validations_without_a_new_best(config, backbone):
    never_better = replace(config, learning_rate=1e-12, patience=2, validation_every=1)
    run = train(never_better, task=ECHO, backbone=backbone)
    assert run.metrics[-1]["update"] == 2
    assert run.finished
    assert run.checkpoint("best").update == 0
    before = (run.folder / "metrics.jsonl").read_bytes()
    assert train(never_better, resume=True, task=ECHO, backbone=backbone).metrics[-1]["update"] == 2
    assert (run.folder / "metrics.jsonl").read_bytes() == before
    with pytest.raises(UsageError, match="patience"):
        replace(config, patience=2, validation_questions=0)


def test_a_tree_costs_fewer_calls_and_says_so(config, backbone):
    calls = {}
    for credit in ("shared", "tree"):
        run = train(
            replace(config, credit=credit, updates=1, out=f"{config.out}-{credit}"), task=ECHO, backbone=backbone
        )
        calls[credit] = run.metrics[-1]["calls"]
        assert run.record["resolved"]["credit"]["name"] == credit
    assert calls == {"shared": 16, "tree": 2 * (2 + 4)}
    bad = replace(config, credit="tree", credit_options={"branching": "3-1"}, out=config.out + "-bad")
    with pytest.raises(UsageError, match="branching '3-1'"):
        train(bad, task=ECHO, backbone=backbone)
    assert not Path(config.out + "-bad").exists()


def test_a_micro_batch_that_is_found_is_kept_for_resuming(config, backbone, monkeypatch):
    run = train(replace(config, micro_batch_tokens=0, updates=2), task=ECHO, backbone=backbone)
    found = run.record["micro_batch_tokens"]
    assert found >= 64
    import algorithms.training

    monkeypatch.setattr(algorithms.training, "fitting_micro_batch", lambda *_: pytest.fail("measured again"))
    record = json.loads((run.folder / "config.json").read_text())
    record["config"]["updates"] = 3
    (run.folder / "config.json").write_text(json.dumps(record))
    longer = replace(config, micro_batch_tokens=0, updates=3)
    assert train(longer, resume=True, task=ECHO, backbone=backbone).metrics[-1]["update"] == 3


def test_weights_and_biases_get_the_rows_and_a_run_that_resuming_finds(config, backbone, monkeypatch):
    logged: list[tuple[str, int, dict[str, float]]] = []

    def init(**options: Any) -> Any:
        started.append(options)
        return SimpleNamespace(
            log=lambda numbers, step: logged.append((options["id"], step, numbers)), finish=lambda: None
        )

    started: list[dict[str, Any]] = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    config = replace(config, wandb="a-project", updates=4)
    with pytest.raises(TrainingStopped):
        train(config, task=ECHO, backbone=backbone,
              on_update=lambda row: os.kill(os.getpid(), signal.SIGINT) if row["update"] == 2 else None)  # fmt: skip
    run = train(config, resume=True, task=ECHO, backbone=backbone)
    assert [step for _, step, _ in logged] == [0, 1, 2, 3, 4]
    assert len(started) == 2
    assert len({options["id"] for options in started}) == 1
    assert started[0]["project"] == "a-project"
    assert started[0]["config"]["learning_rate"] == 1e-2
    assert logged[-1][2]["reward"] == run.metrics[-1]["reward"]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="pip install wandb"):
        train(replace(config, out=config.out + "-without"), task=ECHO, backbone=backbone)
