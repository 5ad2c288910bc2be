"""RLOO and the GRPO family: against loops over plain numbers, against TRL, and in training with two steps a batch."""

from __future__ import annotations

import math
import os
import signal
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
import torch
from left_behind import contents
from torch import Tensor

from algorithms.algorithm import BUILTIN, Algorithm, Minibatch, algorithm_class, make_algorithm
from algorithms.backbone import Backbone
from algorithms.config import TrainConfig
from algorithms.errors import NotFiniteError, TrainingStopped
from algorithms.grpo import DAPO, GRPO, CISPOConfig, DAPOConfig, GRPOConfig
from algorithms.learner import backward, learn
from algorithms.network import Network
from algorithms.optimizer import StackedAdam
from algorithms.ppo import ActorCritic
from algorithms.rloo import RLOO
from algorithms.rollout import Rollout, roll_out
from algorithms.run import Run
from algorithms.training import train
from neuromas_env.cli import main
from neuromas_env.errors import UsageError

FAMILY = ["grpo", "dr-grpo", "dapo", "gspo", "cispo"]
LONGEST = 9
LENGTHS_M = np.array([1, 4, 7, 3, 7, 2])
NODE_M = np.array([0, 1, 1, 0, 1, 0])


# ---------------------------------------------------------------------- advantages


def test_the_baseline_of_rloo_is_the_mean_of_the_others():
    rewards_QG = np.array([[1.0, 0.0, 0.0, 0.5], [0.0, 0.0, 1.0, 0.0]])
    advantages_QG = RLOO().advantages(rewards_QG)
    np.testing.assert_allclose(advantages_QG[0], [1 - 0.5 / 3, -0.5, -0.5, 0.5 - 1 / 3], rtol=1e-12)
    np.testing.assert_allclose(advantages_QG[1], [-1 / 3, -1 / 3, 1, -1 / 3], rtol=1e-12)


def test_grpo_divides_by_the_sample_deviation_of_the_question_and_dr_grpo_does_not():
    rewards_QG = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 2.0, 0.0]])
    expected_QG = np.array([[0.75, -0.25, -0.25, -0.25], [-1.0, 1.0, 1.0, -1.0]])
    assert make_algorithm("dr-grpo").advantages(rewards_QG).tolist() == expected_QG.tolist()
    spread_Q1 = np.array([[0.5], [math.sqrt(4 / 3)]])  # over G - 1
    for name in ("grpo", "dapo", "gspo", "cispo"):
        np.testing.assert_allclose(
            make_algorithm(name).advantages(rewards_QG), expected_QG / (spread_Q1 + 1e-4), rtol=1e-12
        )


@pytest.mark.parametrize("name", ["rloo", *FAMILY])
def test_equal_rewards_give_exactly_no_advantage_however_they_round(name):
    for reward in (0.1, 1 / 3, 0.7, 1e-9, 1e9):
        for samples in (2, 3, 7, 11):
            assert not make_algorithm(name).advantages(np.full((2, samples), reward)).any()


@pytest.mark.parametrize("name", ["rloo", *FAMILY])
def test_one_sample_a_question_is_refused(name):
    with pytest.raises(UsageError, match=rf"'{name}'.*samples cannot be 1 .*from 2"):
        make_algorithm(name).prepare(samples=1, epochs=1, max_tokens=9)
    with pytest.raises(UsageError, match="samples cannot be 1"):
        make_algorithm(name).advantages(np.ones((3, 1)))


# ---------------------------------------------------------------------- losses, against plain numbers


def a_batch(spread: float = 0.3, seed: int = 0) -> dict[str, Tensor]:
    """Six samples of two nodes: the policy has moved from the sampler's by `spread`; padding holds rubbish."""
    generator = torch.Generator().manual_seed(seed)
    T = int(LENGTHS_M.max())
    old_MT = -3.0 * torch.rand(6, T, generator=generator, dtype=torch.float64) - 0.1
    new_MT = old_MT + spread * torch.randn(6, T, generator=generator, dtype=torch.float64)
    mask_MT = torch.tensor([[float(t < length) for t in range(T)] for length in LENGTHS_M], dtype=torch.float64)
    rubbish_MT = 5.0 * torch.randn(6, T, generator=generator, dtype=torch.float64)
    return {
        "logprobs_MT": torch.where(mask_MT > 0, new_MT, rubbish_MT).requires_grad_(),
        "old_logprobs_MT": old_MT,
        "mask_MT": mask_MT,
        "advantages_M": torch.tensor([0.9, -1.3, 0.4, -0.7, 1.1, 2.0], dtype=torch.float64),
    }


def denominators(algorithm: Algorithm) -> Tensor:
    algorithm.prepare(samples=6, epochs=1, max_tokens=LONGEST)
    tokens_N = np.bincount(NODE_M, weights=LENGTHS_M).astype(float)
    return torch.tensor(algorithm.denominators(tokens_N, np.bincount(NODE_M).astype(float))[NODE_M])


def loss_and_gradient(algorithm: Algorithm, batch: dict[str, Tensor], divisors_M: Tensor) -> tuple[float, Tensor]:
    loss = algorithm.loss(Minibatch(**batch, denominators_M=divisors_M))
    (gradient_MT,) = torch.autograd.grad(loss, batch["logprobs_MT"])
    return loss.item(), gradient_MT


def by_hand(config: GRPOConfig, batch: dict[str, Tensor]) -> tuple[float, np.ndarray]:
    """The loss and its gradient, token by token, with the derivatives written out."""
    new_MT, old_MT = batch["logprobs_MT"].tolist(), batch["old_logprobs_MT"].tolist()
    advantages = batch["advantages_M"].tolist()
    value, gradient_MT = 0.0, np.zeros((6, max(LENGTHS_M)))
    for m, length in enumerate(LENGTHS_M):
        mine = [int(LENGTHS_M[j]) for j in range(6) if NODE_M[j] == NODE_M[m]]
        weight = {
            "sample": 1 / len(mine) / length,
            "tokens": 1 / sum(mine),
            "constant": 1 / (len(mine) * (config.length or LONGEST)),
        }[config.aggregate]
        logs = [new_MT[m][t] - old_MT[m][t] for t in range(length)]
        if config.ratio == "sequence":
            logs = [sum(logs) / length] * int(length)
        for t in range(length):
            ratio, A = math.exp(logs[t]), advantages[m]
            if config.loss == "cispo":
                value -= weight * min(ratio, config.cispo_max) * A * new_MT[m][t]
                gradient_MT[m, t] -= weight * min(ratio, config.cispo_max) * A
                continue
            clipped = ratio > 1 + config.clip_high if A > 0 else ratio < 1 - config.clip_low
            bound = 1 + config.clip_high if A > 0 else 1 - config.clip_low
            value -= weight * A * (bound if clipped else ratio)
            if clipped:
                continue
            if config.ratio == "token":
                gradient_MT[m, t] -= weight * A * ratio
            else:  # the ratio is the geometric mean, so every token of the sequence moves it
                gradient_MT[m, :length] -= weight * A * ratio / length
    return value, gradient_MT


CONFIGS = {
    **{name: algorithm_class(name).Config() for name in FAMILY},
    "a constant length": GRPOConfig(aggregate="constant", length=50),
    "a low bound": CISPOConfig(cispo_max=1.05),
    "sequences of CISPO": CISPOConfig(ratio="sequence", cispo_max=1.01, aggregate="sample"),
    "sequences of DAPO": DAPOConfig(ratio="sequence", clip_low=0.05, clip_high=0.1),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_losses_and_gradients_are_those_of_the_formulas(config):
    batch, algorithm = a_batch(), GRPO(config)
    value, gradient_MT = loss_and_gradient(algorithm, batch, denominators(algorithm))
    expected, expected_MT = by_hand(config, batch)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient_MT.numpy(), expected_MT, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("denominator", ["tokens", "samples"])
def test_the_loss_of_rloo_is_that_of_reinforce(denominator):
    batch = a_batch()
    rloo, reinforce = (make_algorithm(name, {"denominator": denominator}) for name in ("rloo", "reinforce"))
    divisors_M = denominators(rloo)
    assert torch.equal(divisors_M, denominators(reinforce))
    value, gradient_MT = loss_and_gradient(rloo, batch, divisors_M)
    expected, expected_MT = loss_and_gradient(reinforce, batch, divisors_M)
    assert value == expected
    assert torch.equal(gradient_MT, expected_MT)
    by_token_MT = -(batch["advantages_M"] / divisors_M)[:, None] * batch["mask_MT"]
    torch.testing.assert_close(gradient_MT, by_token_MT)


@pytest.mark.parametrize("name", ["rloo", *FAMILY])
def test_every_sampled_token_is_trained_the_last_included_and_padding_is_not(name):
    batch = a_batch(spread=1e-5)  # nothing is clipped
    algorithm = make_algorithm(name)
    divisors_M = denominators(algorithm)
    value, gradient_MT = loss_and_gradient(algorithm, batch, divisors_M)
    assert torch.equal(gradient_MT != 0, batch["mask_MT"] > 0)
    other = {**batch, "logprobs_MT": (batch["logprobs_MT"] + 1.0 - batch["mask_MT"]).detach().requires_grad_()}
    assert loss_and_gradient(algorithm, other, divisors_M)[0] == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("name", ["rloo", *FAMILY])
def test_the_loss_of_a_batch_is_the_sum_over_its_parts_in_any_order(name):
    batch = a_batch()
    algorithm = make_algorithm(name)
    divisors_M = denominators(algorithm)
    value, gradient_MT = loss_and_gradient(algorithm, batch, divisors_M)
    total, in_parts_MT = 0.0, torch.zeros_like(gradient_MT)
    for rows in ([5, 1], [3], [0, 4, 2]):
        longest = int(LENGTHS_M[rows].max())  # a part is only as wide as its longest sample
        part = {key: tensor[rows][..., :longest].detach() for key, tensor in batch.items() if key != "advantages_M"}
        part["logprobs_MT"].requires_grad_()
        part["advantages_M"] = batch["advantages_M"][rows]
        part_value, part_MT = loss_and_gradient(algorithm, part, divisors_M[rows])
        total += part_value
        in_parts_MT[rows, :longest] = part_MT
    assert total == pytest.approx(value, rel=1e-12)
    torch.testing.assert_close(in_parts_MT, gradient_MT, rtol=1e-12, atol=1e-15)


def test_every_two_algorithms_pull_another_way_on_the_same_batch():
    """Not only by another factor, which Adam would take out again. Those with a critic: test_ppo.py."""
    rewards_QG = np.array([[1.0, 0.0, 0.5], [0.3, 0.3, 0.3], [0.0, 0.2, 1.0]])
    generator = torch.Generator().manual_seed(1)
    lengths_M = torch.tensor([1, 4, 2, 5, 3, 6, 6, 2, 3])
    mask_MT = (torch.arange(6) < lengths_M[:, None]).double()
    node_M = np.array([0, 0, 1, 0, 1, 1, 0, 1, 1])
    old_MT = -3.0 * torch.rand(9, 6, generator=generator, dtype=torch.float64)
    logprobs_MT = (old_MT + 0.4 * torch.randn(9, 6, generator=generator, dtype=torch.float64)).requires_grad_()
    directions = {}
    names = [name for name in BUILTIN if not issubclass(algorithm_class(name), ActorCritic)]
    for name in names:
        algorithm = make_algorithm(name)
        algorithm.prepare(samples=3, epochs=1, max_tokens=6)
        advantages_QG = algorithm.advantages(rewards_QG)
        counted_M = algorithm.counted(advantages_QG).reshape(-1)
        tokens_N = np.bincount(node_M, weights=lengths_M.numpy() * counted_M).astype(float)
        divisors_N = algorithm.denominators(tokens_N, np.bincount(node_M, weights=counted_M).astype(float))
        loss = algorithm.loss(
            Minibatch(
                logprobs_MT,
                old_MT,
                mask_MT,
                torch.tensor(advantages_QG.reshape(-1)),
                torch.tensor(divisors_N[node_M]),
                torch.arange(9) // 3 * 2 + torch.tensor(node_M),
            )
        )
        (gradient_MT,) = torch.autograd.grad(loss, logprobs_MT)
        directions[name] = gradient_MT / gradient_MT.norm()
    assert len(directions) == len(BUILTIN) - 3
    for first, second in combinations(directions, 2):
        assert float((directions[first] * directions[second]).sum()) < 0.9999, (first, second)


def test_statistics_say_how_far_the_policy_has_moved():
    new = torch.tensor([[1.5, 1.1], [0.5, 7.0], [0.5, 1.5]], dtype=torch.float64).log()  # ratios, as old is 1
    advantages_M = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    mask_MT = torch.tensor([[1, 1], [1, 0], [1, 1]]).double()
    batch = Minibatch(new, torch.zeros_like(new), mask_MT, advantages_M, torch.ones(3, dtype=torch.float64))
    seen = GRPO().statistics(batch)
    sampled_MT = mask_MT > 0
    torch.testing.assert_close(seen["ratio"][sampled_MT], new.exp()[sampled_MT])
    assert seen["clipped"][sampled_MT].tolist() == [1, 0, 1, 0, 1]  # 0.5 is only clipped where A < 0
    expected = [ratio - 1 - math.log(ratio) for ratio in (1.5, 1.1, 0.5, 0.5, 1.5)]
    np.testing.assert_allclose(seen["kl"][sampled_MT], expected, rtol=1e-9)
    seen = make_algorithm("cispo", {"cispo_max": 1.2}).statistics(batch)
    assert seen["clipped"][sampled_MT].tolist() == [1, 0, 0, 0, 1]
    seen = make_algorithm("gspo", {"clip_high": 0.2}).statistics(batch)
    expected = [math.sqrt(1.65)] * 2 + [0.5] + [math.sqrt(0.75)] * 2
    np.testing.assert_allclose(seen["ratio"][sampled_MT], expected, rtol=1e-9)
    assert seen["clipped"][sampled_MT].tolist() == [1, 1, 1, 0, 0]


def test_bad_options_are_refused_and_presets_take_all_of_them():
    assert make_algorithm("dapo", {"clip_low": "0.1"}).config == DAPOConfig(clip_low=0.1)
    assert isinstance(make_algorithm("dapo"), DAPO)
    clips = {name: (config.clip_low, config.clip_high) for name, config in CONFIGS.items() if name in FAMILY[:4]}
    assert clips == {"grpo": (0.2, 0.2), "dr-grpo": (0.2, 0.2), "dapo": (0.2, 0.28), "gspo": (3e-4, 4e-4)}
    for options in ({"clip_low": 1.5}, {"clip_high": -1}, {"cispo_max": 0}, {"length": -1}, {"clip_high": "nan"},
                    {"ratio": "word"}, {"drop_equal": "perhaps"}):  # fmt: skip
        with pytest.raises(UsageError, match="accepted"):
            make_algorithm("gspo", options)
    with pytest.raises(UsageError, match="'length'"):  # nobody said how long a message may be
        make_algorithm("dr-grpo").denominators(np.ones(2), np.ones(2))


# ---------------------------------------------------------------------- losses, against TRL


@pytest.mark.parametrize(
    ("config", "loss_type"),
    [
        (GRPOConfig(), "grpo"),
        (algorithm_class("dr-grpo").Config(), "dr_grpo"),
        (DAPOConfig(), "dapo"),
        (DAPOConfig(clip_low=0.1), "bnpo"),
        (algorithm_class("gspo").Config(), "grpo"),
        (GRPOConfig(ratio="sequence", clip_low=0.05, clip_high=0.1), "grpo"),
        (CISPOConfig(), "cispo"),
        (CISPOConfig(cispo_max=1.05), "cispo"),
    ],
    ids=["grpo", "dr-grpo", "dapo", "bnpo", "gspo", "gspo-wide", "cispo", "cispo-low"],
)
def test_losses_and_gradients_are_those_of_trl(config, loss_type):
    """TRL's own loss of one node's samples, its trainer replaced by the few attributes that the loss reads."""
    pytest.importorskip("trl")
    try:
        from trl import GRPOTrainer
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"GRPOTrainer of trl cannot be imported: {error}")
    batch = a_batch()
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (batch["logprobs_MT"], torch.zeros(6, 7), None),
        loss_type=loss_type,
        importance_sampling_level=config.ratio,
        epsilon_low=config.clip_low,
        epsilon_high=config.cispo_max if loss_type == "cispo" else config.clip_high,
        max_completion_length=LONGEST,
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        beta=0.0,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=1,
        args=SimpleNamespace(delta=None, steps_per_generation=1),
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
        _metrics={"train": defaultdict(list)},
    )
    inputs = {
        "prompt_ids": torch.zeros(6, 2, dtype=torch.int64),
        "prompt_mask": torch.ones(6, 2),
        "completion_ids": torch.zeros(6, 7, dtype=torch.int64),
        "completion_mask": batch["mask_MT"],
        "advantages": batch["advantages_M"],
        "old_per_token_logps": batch["old_logprobs_MT"],
        "num_items_in_batch": batch["mask_MT"].sum(),
    }
    expected = GRPOTrainer._compute_loss(trainer, None, inputs)
    (expected_MT,) = torch.autograd.grad(expected, batch["logprobs_MT"])

    algorithm = GRPO(config)
    algorithm.prepare(samples=6, epochs=1, max_tokens=LONGEST)
    divisor = algorithm.denominators(np.array([float(LENGTHS_M.sum())]), np.array([6.0]))
    value, gradient_MT = loss_and_gradient(algorithm, batch, torch.tensor(divisor).expand(6))
    assert value == pytest.approx(expected.item(), rel=1e-10)
    torch.testing.assert_close(gradient_MT, expected_MT, rtol=1e-10, atol=1e-14)

    detached = {key: tensor.detach() for key, tensor in batch.items()}
    seen = algorithm.statistics(Minibatch(**detached, denominators_M=torch.ones(6)))
    weights_MT = batch["mask_MT"]
    if config.ratio == "sequence":  # TRL averages over sequences here, not over tokens
        weights_MT = weights_MT / weights_MT.sum(1, keepdim=True)
    if loss_type != "cispo":  # and leaves out bounded weights with A < 0 there
        clipped = float((seen["clipped"] * weights_MT).sum() / weights_MT.sum())
        assert clipped == pytest.approx(trainer._metrics["train"]["clip_ratio/region_mean"][0])
        assert 0 < clipped < 1 or config.ratio == "sequence"


# ---------------------------------------------------------------------- in the learner


TASK = tiny_models.LongEcho()
STEP = {"temperature": 0.8, "micro_batch_tokens": 10**6}


@pytest.fixture
def experience(backbone: Backbone) -> tuple[Network, Rollout]:
    """What a network did, and that network a little later."""
    network = Network.create("1-1", backbone, rank=2, seed=1)
    generator = torch.Generator().manual_seed(0)

    def move(scale: float) -> None:
        with torch.no_grad():
            network.adapters.flat_NP += scale * torch.randn(network.adapters.flat_NP.shape, generator=generator)

    move(0.1)
    questions = [TASK.question("train", index) for index in range(4)]
    rollout = roll_out(network, TASK, questions, 4, temperature=0.8, seed=7)
    rollout.truncated_M[:] = np.arange(len(rollout.turns)) % 3 == 0
    move(0.05)
    return network, rollout


REWARDS_QG = np.array([[1.0, 0.0, 0.5, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [0.2, 0.2, 0.2, 0.2]])


def prepared(name: str, **options: object) -> Algorithm:
    algorithm = make_algorithm(name, options)
    algorithm.prepare(samples=4, epochs=2 if algorithm.takes_epochs else 1, max_tokens=4)
    return algorithm


@pytest.mark.parametrize("mask_truncated", [False, True])
@pytest.mark.parametrize("name", FAMILY)
def test_gradients_of_the_adapters_are_those_of_the_plain_model(name, mask_truncated, experience):
    """Sample by sample through the plain model: end tokens trained, denominators per node, no packing."""
    network, rollout = experience
    algorithm = prepared(name)
    advantages_QG = algorithm.advantages(REWARDS_QG)
    network.adapters.zero_grad()
    report = backward(network, algorithm, rollout, advantages_QG, **STEP, mask_truncated=mask_truncated)
    at_once = network.adapters.grad_NP.clone()
    network.adapters.zero_grad()
    options = {**STEP, "micro_batch_tokens": 1}
    in_parts = backward(network, algorithm, rollout, advantages_QG, **options, mask_truncated=mask_truncated)
    torch.testing.assert_close(network.adapters.grad_NP, at_once, rtol=1e-4, atol=1e-6)
    assert in_parts.loss == pytest.approx(report.loss, rel=1e-4, abs=1e-6)
    for key, values_N in report.statistics_N.items():
        np.testing.assert_allclose(in_parts.statistics_N[key], values_N, rtol=1e-4, atol=1e-6)

    network.adapters.zero_grad()
    dropped = {1, 3} if name == "dapo" else set()  # the questions with equal rewards
    counted = [
        m
        for m, episode in enumerate(rollout.episode_M)
        if episode // 4 not in dropped and not (mask_truncated and rollout.truncated_M[m])
    ]
    lengths_M = [len(sample.completion_ids) for sample in rollout.samples]
    assert len(set(lengths_M)) > 2
    ratios, config = [[], []], algorithm.config
    for m in counted:
        sample = rollout.samples[m]
        A, n = float(advantages_QG.reshape(-1)[rollout.episode_M[m]]), lengths_M[m]
        mine = [other for other in counted if rollout.node_M[other] == sample.node]
        divisor = {
            "sample": len(mine) * n,
            "tokens": sum(lengths_M[other] for other in mine),
            "constant": len(mine) * 4,
        }[config.aggregate]
        ids = torch.tensor([*sample.prompt_ids, *sample.completion_ids])
        network.backbone.router.route = network.route([(sample.node, 0, len(ids))])
        logits_LV = network.backbone.model(ids[None]).logits[0] / 0.8
        network.backbone.router.route = None
        chosen_T = logits_LV.log_softmax(-1)[-n - 1 : -1].gather(1, ids[-n:, None])[:, 0]
        ratio_T = (chosen_T - torch.tensor(rollout.turns[m].message.logprobs)).exp()
        if config.ratio == "sequence":
            ratio_T = ratio_T.log().mean().exp().repeat(n)
        if config.loss == "cispo":
            objective_T = ratio_T.detach().clamp(max=5.0) * A * chosen_T
        else:
            bound = 1 + config.clip_high if A > 0 else 1 - config.clip_low
            objective_T = torch.where(A * ratio_T < A * bound, A * ratio_T, A * bound)
        if A:
            (-objective_T.sum() / divisor).backward()
            ratios[sample.node] += ratio_T.tolist()
    torch.testing.assert_close(at_once, network.adapters.grad_NP, rtol=1e-4, atol=5e-6)
    np.testing.assert_allclose(report.statistics_N["ratio"], [np.mean(ratio) for ratio in ratios], rtol=1e-4)
    assert max(abs(np.mean(ratio) - 1) for ratio in ratios) > 1e-3


@pytest.mark.parametrize("name", FAMILY)
def test_two_passes_are_two_steps_that_compare_with_the_sampler(name, experience):
    network, rollout = experience
    algorithm, options = prepared(name), {**STEP, "learning_rate": 1e-2, "clip": 1.0}
    advantages_QG = algorithm.advantages(REWARDS_QG)
    start_NP = network.adapters.flat_NP.clone()
    report = learn(network, StackedAdam(network.adapters, 0.0), algorithm, rollout, advantages_QG, **options, epochs=2)
    moved_NP = network.adapters.flat_NP.clone()
    network.adapters.flat_NP.copy_(start_NP)
    optimizer = StackedAdam(network.adapters, 0.0)
    first, second = (learn(network, optimizer, algorithm, rollout, advantages_QG, **options) for _ in range(2))
    assert torch.equal(network.adapters.flat_NP, moved_NP)
    assert (report.loss, report.mismatch) == (first.loss, first.mismatch)
    assert report.statistics == second.statistics != first.statistics
    assert set(report.statistics) == {"node_0", "node_1"}
    assert set(report.statistics["node_0"]) == {"ratio", "clipped", "kl"}


class Breaking(GRPO):
    """Its second loss is not a number."""

    calls = 0

    def loss(self, *args, **options):
        self.calls += 1
        return super().loss(*args, **options) * (1.0 if self.calls < 2 else float("nan"))


def test_a_later_pass_that_is_no_number_undoes_the_earlier_ones(experience):
    network, rollout = experience
    algorithm, optimizer = Breaking(), StackedAdam(network.adapters, 0.0)
    advantages_QG = algorithm.advantages(REWARDS_QG)
    start_NP, start = network.adapters.flat_NP.clone(), optimizer.state_dict()
    with pytest.raises(NotFiniteError):
        learn(network, optimizer, algorithm, rollout, advantages_QG, **STEP, learning_rate=0.1, clip=1.0, epochs=2)
    assert algorithm.calls == 2
    assert torch.equal(network.adapters.flat_NP, start_NP)
    assert all(torch.equal(tensor, start[key]) for key, tensor in optimizer.state_dict().items())


# ---------------------------------------------------------------------- in training


@pytest.fixture
def config(config: TrainConfig) -> TrainConfig:
    return replace(config, task="long-echo", updates=5, questions=3, seed=1)


@pytest.mark.parametrize("name", ["rloo", *FAMILY])
def test_runs_are_deterministic_and_go_on_after_an_interruption(name, config, backbone):
    epochs = 2 if name in FAMILY else 1
    config = replace(config, algorithm=name, epochs=epochs)
    whole = train(replace(config, out=config.out + "-whole"), task=TASK, backbone=backbone)
    again = train(replace(config, out=config.out + "-again"), task=TASK, backbone=backbone)
    assert contents(again.folder) == contents(whole.folder)

    def interrupt(row):
        if row["update"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped):
        train(config, task=TASK, backbone=backbone, on_update=interrupt)
    assert Run(Path(config.out)).latest.update == 3
    run = train(config, resume=True, task=TASK, backbone=backbone)
    assert contents(run.folder) == contents(whole.folder)
    assert any(row["trained"] > 0 for row in run.metrics[1:])
    assert max(row["mismatch"] for row in run.metrics[1:]) < 1e-5  # the first pass is on-policy
    for row in run.metrics[1:]:
        for node in row["nodes"].values():
            assert ("kl" in node) == (name in FAMILY and row["trained"] > 0)
            if "kl" in node:
                assert node["kl"] > 1e-6
    optimizer = StackedAdam(run.network("last", backbone).adapters, 0.0)
    run.latest.load_optimizer(optimizer)
    steps = epochs * sum(row["trained"] > 0 for row in run.metrics[1:])
    assert optimizer.steps_N.tolist() == [steps, steps]


def test_the_first_pass_is_on_policy(config, backbone):
    run = train(replace(config, algorithm="gspo"), task=TASK, backbone=backbone)
    nodes = [node for row in run.metrics[1:] for node in row["nodes"].values() if "ratio" in node]
    assert nodes
    for node in nodes:
        assert node["ratio"] == pytest.approx(1.0, abs=1e-5)
        assert node["clipped"] == 0.0
        assert node["kl"] < 1e-9


def test_the_length_of_dr_grpo_is_the_longest_message_of_the_run(config, backbone):
    config = replace(config, algorithm="dr-grpo", updates=1)
    losses = {}
    for key, changes in {"task": {}, "option": {"options": {"length": "8"}}, "limit": {"max_tokens": 2},
                         "option and limit": {"max_tokens": 2, "options": {"length": "4"}}}.items():  # fmt: skip
        each = replace(config, out=f"{config.out} {key}", **changes)
        losses[key] = train(each, task=TASK, backbone=backbone).metrics[1]["nodes"]["node_1"]["gradient_norm"]
    assert losses["task"] == pytest.approx(2 * losses["option"], rel=1e-5)  # 4 tokens
    assert losses["limit"] == pytest.approx(2 * losses["option and limit"], rel=1e-5)
    assert losses["task"] > 0 < losses["limit"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--algorithm rloo --samples 1", "'rloo' compares the samples of a question, so samples cannot be 1"),
        ("--algorithm dapo --samples 1", "'dapo' compares"),
        ("--epochs 2", "'reinforce' takes one step on each batch, so epochs cannot be 2 (more than 1 are taken by"),
        ("--algorithm rloo --epochs 3", "cispo, dapo, dr-grpo, gspo, grpo"),
        ("--epochs 0", "epochs cannot be 0"),
        ("--algorithm grpo --options clip_low 2", "'clip_low' cannot be 2.0"),
    ],
)
def test_what_an_algorithm_cannot_take_is_refused_before_anything_is_written(
    options, message, backbone, tmp_path, capsys
):
    with pytest.raises(SystemExit) as stop:
        main(["train", "chain", "--backbone", backbone.name, "--out", str(tmp_path / "run"), *options.split()])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    for word in message.split(", ") if "cispo" in message else [message]:
        assert word in lines[0]
    assert not (tmp_path / "run").exists()
