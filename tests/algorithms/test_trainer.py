"""Training end to end on tiny random models: what a run leaves, how it survives, and that it learns."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from left_behind import contents

from algorithms.algorithm import register_algorithm
from algorithms.backbone import Backbone, load_backbone
from algorithms.checkpoint import checkpoints
from algorithms.config import TrainConfig
from algorithms.errors import TrainingError, TrainingStopped
from algorithms.learner import backward, learn
from algorithms.network import Network
from algorithms.optimizer import StackedAdam
from algorithms.reinforce import Reinforce
from algorithms.rollout import roll_out
from algorithms.run import Run
from algorithms.training import train
from neuromas_env.cli import main
from neuromas_env.errors import UsageError
from neuromas_env.transcripts import replay

ECHO = tiny_models.Echo()


@pytest.fixture
def uninterrupted(config: TrainConfig, backbone: Backbone, tmp_path: Path) -> dict[str, bytes]:
    return contents(train(replace(config, out=str(tmp_path / "whole")), task=ECHO, backbone=backbone).folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_resuming_gives_the_run_that_never_stopped(config, backbone, uninterrupted, number):
    config = replace(config, options={"baseline": "running"}) if number == signal.SIGTERM else config
    if number == signal.SIGTERM:  # a baseline with a memory
        whole = replace(config, out=config.out + "-running")
        uninterrupted = contents(train(whole, task=ECHO, backbone=backbone).folder)

    def interrupt(row):
        if row["update"] == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(TrainingStopped, match=r"after update 3.*--resume"):
        train(config, task=ECHO, backbone=backbone, on_update=interrupt)
    assert signal.getsignal(number) == before
    run = Run(Path(config.out))
    assert run.latest.update == 3
    assert not run.finished
    assert train(config, resume=True, task=ECHO, backbone=backbone).finished
    assert contents(run.folder) == uninterrupted


def test_a_finished_run_holds_what_it_promises(config, backbone):
    rows = []
    config = replace(config, tensorboard=True)
    run = train(config, task=ECHO, backbone=backbone, on_update=rows.append)
    assert run.metrics == rows
    assert [row["update"] for row in rows] == list(range(9))
    assert [row["update"] for row in rows if "validation_accuracy" in row] == [0, 3, 6, 8]
    assert [row["update"] for row in run.timings] == list(range(9))
    assert list((run.folder / "tensorboard").iterdir())
    nodes = rows[-1]["nodes"]
    assert set(nodes) == {"node_0", "node_1"}
    for node in nodes.values():
        common = {"tokens", "empty", "truncated", "entropy", "gradient_norm", "about_question"}
        assert set(node) - {"about_answer"} == common
        assert 0 < node["entropy"] < np.log(len(backbone.tokenizer))
    assert rows[-1]["calls"] == 8 * 8 * 2
    # The sampler and the trainer run the same policy, adapters included.
    assert max(row["mismatch"] for row in rows[1:]) < 1e-5
    assert len(replay(run.folder / "transcripts" / "validation_8.jsonl", task=ECHO)) == 4
    accuracy = {row["update"]: row["validation_accuracy"] for row in rows if "validation_accuracy" in row}
    best = run.checkpoint("best")
    assert accuracy[best.update] == max(accuracy.values())
    assert {checkpoint.update for checkpoint in checkpoints(run.folder)} == {6, 8, best.update}
    assert run.config == config
    before = contents(run.folder)
    assert train(config, resume=True, task=ECHO, backbone=backbone).folder == run.folder  # nothing is left to do
    assert contents(run.folder) == before


@pytest.fixture
def rollout(backbone):
    network = Network.create("1-1", backbone, rank=2, seed=1)
    with torch.no_grad():  # adapters that do something
        network.adapters.flat_NP += 0.1 * torch.randn(
            network.adapters.flat_NP.shape, generator=torch.Generator().manual_seed(0)
        )
    questions = [ECHO.question("train", index) for index in range(3)]
    return network, roll_out(network, ECHO, questions, 4, temperature=0.8, seed=7)


def test_rollouts_depend_on_the_seed_and_the_step_only(rollout):
    network, experience = rollout
    questions = experience.questions
    random_state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    again = roll_out(network, ECHO, questions, 4, temperature=0.8, seed=7)
    assert [turn.message for turn in again.turns] == [turn.message for turn in experience.turns]
    other = roll_out(network, ECHO, questions, 4, temperature=0.8, seed=8)
    assert [turn.message.token_ids for turn in other.turns] != [turn.message.token_ids for turn in experience.turns]
    assert torch.equal(torch.get_rng_state(), random_state[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == random_state[1:]

    seeds = []

    class Recording:
        topology = network.topology

        def sample(self, requests, temperature, seed):
            seeds.append(seed)
            return network.sample(requests, temperature, seed)

    roll_out(Recording(), ECHO, questions, 4, temperature=0.8, seed=7)
    assert len(set(seeds)) == 2  # the layers draw apart


def gradient(network: Network, rollout, advantages_QG, **options) -> torch.Tensor:
    network.adapters.zero_grad()
    options = {"temperature": 0.8, "micro_batch_tokens": 10**6, **options}
    backward(network, Reinforce(), rollout, advantages_QG, **options)
    return network.adapters.grad_NP.clone()


def test_accumulated_micro_batches_are_one_batch_and_skipped_samples_stay_in_the_denominator(rollout):
    network, experience = rollout
    advantages_QG = np.random.default_rng(0).normal(size=(3, 4))
    advantages_QG[1] = 0.0
    at_once = gradient(network, experience, advantages_QG)
    in_parts = gradient(network, experience, advantages_QG, micro_batch_tokens=1)
    torch.testing.assert_close(in_parts, at_once, rtol=1e-4, atol=1e-6)

    # The formula, sample by sample through the plain model: every sample counts, those without advantage too.
    network.adapters.zero_grad()
    tokens_N = np.zeros(2)
    for sample in experience.samples:
        tokens_N[sample.node] += len(sample.completion_ids)
    for sample, episode in zip(experience.samples, experience.episode_M, strict=True):
        ids = torch.tensor([*sample.prompt_ids, *sample.completion_ids])
        with_adapter = network.route([(sample.node, 0, len(ids))])
        network.backbone.router.route = with_adapter
        logits_LV = network.backbone.model(ids[None]).logits[0] / 0.8
        network.backbone.router.route = None
        logprobs_LV = logits_LV.log_softmax(-1)
        n = len(sample.completion_ids)
        chosen_T = logprobs_LV[-n - 1 : -1].gather(1, ids[-n:, None])
        (-advantages_QG.reshape(-1)[episode] * chosen_T.sum() / tokens_N[sample.node]).backward()
    torch.testing.assert_close(at_once, network.adapters.grad_NP, rtol=1e-4, atol=1e-6)


def test_a_node_without_signal_is_not_touched(rollout):
    network, experience = rollout
    experience.truncated_M[experience.node_M == 0] = True
    experience.truncated_M[experience.node_M == 1] = False
    before = network.adapters.flat_NP.clone()
    optimizer = StackedAdam(network.adapters, 0.0)
    report = learn(
        network, optimizer, Reinforce(), experience, np.array([[1.0, -1.0, 0.0, 0.0]] * 3), learning_rate=1e-2,
        temperature=0.8, clip=1.0, micro_batch_tokens=4096, mask_truncated=True,
    )  # fmt: skip
    assert report.trained == 6
    assert report.gradient_norm_N[0] == 0 < report.gradient_norm_N[1]
    assert torch.equal(network.adapters.flat_NP[0], before[0])
    assert not torch.equal(network.adapters.flat_NP[1], before[1])
    assert optimizer.steps_N.tolist() == [0, 1]


def test_it_learns(config, backbone):
    config = replace(
        config, updates=80, questions=8, samples=8, learning_rate=3e-3, schedule="constant", rank=4, seed=1,
        options={"baseline": "group"}, validation_questions=20, validation_every=10, checkpoint_every=100,
    )  # fmt: skip
    run = train(config, task=ECHO, backbone=backbone)
    accuracy = [row["validation_accuracy"] for row in run.metrics if "validation_accuracy" in row]
    assert accuracy[0] <= 0.5
    assert max(accuracy) >= 0.9
    first, last = (np.mean([row["reward"] for row in run.metrics[part]]) for part in (slice(1, 6), slice(-5, None)))
    assert last > first + 0.2
    # What was learnt is in the checkpoint: the reloaded network answers as the run measured.
    assert run.latest.state().best_update not in (0, 80)  # so that the best one is kept for its own sake
    network = run.network("best", backbone)
    questions = [ECHO.question("validation", index) for index in range(20)]
    greedy = roll_out(network, ECHO, questions, 1, temperature=0.0, seed=0)
    assert greedy.rewards_QG.mean() == max(accuracy)


@pytest.mark.parametrize("architecture", ["qwen3", "gemma3"])
def test_models_of_other_architectures_train_through_the_command(architecture, tmp_path, capsys):
    backbone = tiny_models.save(tmp_path / "model", architecture)
    options = "--updates 3 --questions 2 --samples 4 --validation-questions 4 --max-tokens 6 --options baseline running"
    command = ["train", "chain", "--topology", "2-1", "--backbone", backbone, "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stop:
        main([*command, *options.split(), "--no-tensorboard"])
    assert not stop.value.code
    assert "best network:" in capsys.readouterr().out
    run = Run(tmp_path / "run")
    assert run.finished
    assert max(row["mismatch"] for row in run.metrics[1:]) < 1e-4
    assert all(row["nodes"][f"node_{n}"]["tokens"] <= 6 for row in run.metrics[1:] for n in range(3))


@register_algorithm
class Exploding(Reinforce):
    """Its advantages, and so its loss and gradient, are not numbers in the third update."""

    name = "exploding"
    calls = 0

    def advantages(self, rewards_QG):
        self.calls += 1
        return super().advantages(rewards_QG) * (1.0 if self.calls < 3 else float("nan"))


def test_a_loss_that_is_no_number_stops_and_loses_nothing(config, backbone):
    config = replace(config, algorithm="exploding", checkpoint_every=100, options={"baseline": "running"})
    with pytest.raises(TrainingError, match=r"update 3: the (loss|gradient).*not finite.*up to update 2 is kept"):
        train(config, task=ECHO, backbone=backbone)
    run = Run(Path(config.out))
    assert [row["update"] for row in run.metrics] == [0, 1, 2]
    assert run.latest.update == 2
    assert run.latest.state().algorithm == {"running_mean": run.metrics[2]["running_mean"]}
    assert torch.isfinite(run.network("last", backbone).adapters.flat_NP).all()


def test_folders_are_refused_with_their_reason(config, backbone, tmp_path):
    run = train(replace(config, updates=1), task=ECHO, backbone=backbone).folder
    before = contents(run)
    with pytest.raises(UsageError, match=r"already holds a run.*--resume"):
        train(config, task=ECHO, backbone=backbone)
    with pytest.raises(UsageError, match=r"updates is 1 there and 8 here; learning-rate is 0.01 there and 0.5 here"):
        train(replace(config, learning_rate=0.5), resume=True, task=ECHO, backbone=backbone)
    with pytest.raises(UsageError, match="topology"):
        train(replace(config, updates=1, topology="1-1-1"), resume=True, task=ECHO, backbone=backbone)
    with pytest.raises(UsageError, match="algorithm-options"):
        train(replace(config, updates=1, options={"baseline": "group"}), resume=True, task=ECHO, backbone=backbone)
    other = load_backbone(tiny_models.save(tmp_path / "other", seed=1))
    with pytest.raises(UsageError, match="backbone"):
        train(replace(config, updates=1), resume=True, task=ECHO, backbone=other)
    assert contents(run) == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        train(replace(config, out=str(tmp_path / "letters")), task=ECHO, backbone=backbone)
    started = tmp_path / "started"  # a kill between the first folder and config.json
    (started / "checkpoints").mkdir(parents=True)
    (started / ".partial-config.json").write_text("{")
    assert train(replace(config, updates=1, out=str(started)), resume=True, task=ECHO, backbone=backbone).finished
    with pytest.raises(UsageError, match=r"cannot write .*Not a directory"):
        train(replace(config, out=str(tmp_path / "letters" / "dear.txt" / "run")), task=ECHO, backbone=backbone)


@pytest.mark.parametrize(
    "options",
    ["nosuchtask", "chain --topology 2-2", "chain --algorithm ppoo", "chain --options baseline mean",
     "chain --updates 0", "chain --difficulty 9-1", "chain --backbone /nowhere", "chain --device tpu"],
)  # fmt: skip
def test_bad_input_is_one_line_with_exit_code_2_and_nothing_is_written(options, backbone, tmp_path, capsys):
    command = ["train", *options.split(), "--out", str(tmp_path / "run")]
    if "--backbone" not in options:
        command += ["--backbone", backbone.name]
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("neuromas: error: ")
    assert not (tmp_path / "run").exists()
