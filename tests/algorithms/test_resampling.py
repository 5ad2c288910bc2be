"""Dynamic sampling: which questions a batch is filled with, and that nothing of them is lost or mixed up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from algorithms.algorithm import make_algorithm
from algorithms.backbone import Backbone
from algorithms.config import TrainConfig
from algorithms.learner import backward
from algorithms.network import Network
from algorithms.resampling import chosen, joined, signalling, with_signal
from algorithms.rollout import Rollout, roll_out
from algorithms.training import train

ECHO = tiny_models.Echo()


@pytest.fixture
def network(backbone: Backbone) -> Network:
    return Network.create("2-1", backbone, rank=2)


def batch(network: Network, number: int, rewards: list[list[float]]) -> Rollout:
    questions = [ECHO.question("train", 10 * number + index) for index in range(len(rewards))]
    rollout = roll_out(network, ECHO, questions, len(rewards[0]), temperature=1.0, seed=number)
    rollout.rewards_QG[:] = rewards
    return rollout


EQUAL, MIXED = [1.0, 1.0], [0.0, 1.0]


def test_a_batch_is_filled_with_questions_that_have_signal(network):
    batches = [[EQUAL, MIXED, EQUAL], [EQUAL, EQUAL, MIXED], [MIXED, MIXED, MIXED], [MIXED] * 3]
    drawn: list[int] = []

    def draw(number: int) -> Rollout:
        drawn.append(number)
        return batch(network, number, batches[number])

    first, filled = with_signal(draw, 3)
    assert drawn == [0, 1, 2]
    assert [question.id for question in first.questions] == ["echo/train/0", "echo/train/1", "echo/train/2"]
    assert [question.id for question in filled.questions] == ["echo/train/1", "echo/train/12", "echo/train/20"]
    assert signalling(filled) == [0, 1, 2]
    drawn.clear()
    _, short = with_signal(draw, 1)
    assert drawn == [0, 1]
    assert len(short.questions) == 2
    first, same = with_signal(draw, 0)
    assert same is first
    hopeless, whole = with_signal(lambda number: batch(network, number, [EQUAL, EQUAL]), 2)
    assert whole is hopeless


def test_parts_put_together_again_are_the_batch(network):
    """Every message keeps its question, its place in the network, its reward and what it heard."""
    whole = batch(network, 0, [MIXED, EQUAL, [0.5, 0.0], EQUAL])
    again = joined([chosen(whole, [0]), chosen(whole, [1, 2]), chosen(whole, [3])])
    for name in ("rewards_QG", "episode_M", "node_M", "call_M", "truncated_M"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    assert again.turns == whole.turns
    assert again.samples == whole.samples
    assert again.heard == whole.heard
    assert again.scores == whole.scores
    back = chosen(whole, [3, 1])
    assert [turn.request.question_id for turn in back.turns[:4]] == ["echo/train/3"] * 2 + ["echo/train/1"] * 2
    assert [turn.request.episode for turn in back.turns[:4]] == [0, 1, 2, 3]
    for row, turn in enumerate(back.turns):
        assert back.questions[back.episode_M[row] // 2].id == turn.request.question_id
        assert back.samples[row].completion_ids == turn.message.token_ids
        assert back.heard[turn.request.episode, int(back.call_M[row])] == turn.message.text


def test_the_gradient_of_a_filled_batch_is_that_of_its_questions_alone(network):
    whole = batch(network, 0, [MIXED, EQUAL, MIXED])
    with torch.no_grad():
        network.adapters.flat_NP += 0.1 * torch.randn(
            network.adapters.flat_NP.shape, generator=torch.Generator().manual_seed(0)
        )
    gradients = []
    for rollout in (whole, chosen(whole, [0, 2])):
        network.adapters.zero_grad()
        dapo = make_algorithm("dapo")
        backward(network, dapo, rollout, dapo.advantages(rollout.rewards_QG), temperature=1.0, micro_batch_tokens=999)
        gradients.append(network.adapters.grad_NP.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)


def test_in_training_further_batches_are_metered_and_the_reward_is_that_of_the_first(backbone, tmp_path: Path):
    config = TrainConfig(
        "echo", topology="1-1", algorithm="dapo", out=str(tmp_path / "run"), updates=4, questions=3, samples=4,
        learning_rate=1e-2, rank=2, validation_questions=0, tensorboard=False,
    )  # fmt: skip
    rows = {}
    for resample in (0, 2):
        options = {"resample": str(resample)}
        run = train(replace(config, options=options, out=f"{config.out}-{resample}"), task=ECHO, backbone=backbone)
        rows[resample] = [row for row in run.metrics if row["update"]]
    plain, filled = rows[0][0], rows[2][0]
    assert plain["reward"] == filled["reward"]
    assert plain["calls"] == 3 * 4 * 2
    assert filled["calls"] in (3 * 4 * 2 * 2, 3 * 4 * 2 * 3)
    assert "credit_calls" not in filled
    assert "questions_learnt_from" not in plain
    assert all(row["questions_learnt_from"] >= row["questions_with_signal"] * 3 for row in rows[2] if len(row) > 20)
    again = train(replace(config, options={"resample": "2"}, out=config.out + "-again"), task=ECHO, backbone=backbone)
    assert [row for row in again.metrics if row["update"]] == rows[2]
