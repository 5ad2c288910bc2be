"""PPO, MAPPO and MAAC: advantages and losses against plain numbers, what their critics read, and in training."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import oracle
import pytest
import tiny_models
import torch
from left_behind import contents
from torch import Tensor

from algorithms.algorithm import Minibatch, make_algorithm
from algorithms.backbone import Backbone
from algorithms.checkpoint import ALGORITHM
from algorithms.config import TrainConfig
from algorithms.critic import Critic
from algorithms.errors import NotFiniteError, TrainingError, TrainingStopped
from algorithms.grpo import GRPO, GRPOConfig
from algorithms.learner import backward, learn
from algorithms.network import Network
from algorithms.optimizer import StackedAdam
from algorithms.ppo import PPO, ActorCritic, following_calls, generalised_advantages, joint_prompts, own_prompts
from algorithms.rollout import Rollout, calls_of, roll_out
from algorithms.run import Run
from algorithms.training import train
from neuromas_env.errors import UsageError
from neuromas_env.topology import Topology

NAMES = ["ppo", "mappo", "maac"]
STEP = {"temperature": 0.8, "micro_batch_tokens": 10**6}


TASK = tiny_models.LongEcho()


@pytest.fixture
def played(backbone: Backbone) -> Callable[..., tuple[Network, Rollout]]:
    """A network with adapters that do something, and what it did on 3 questions."""

    def play(topology: str = "2-1-1", samples: int = 4, **options: object) -> tuple[Network, Rollout]:
        network = Network.create(topology, backbone, rank=2, seed=1)
        oracle.shake(network.adapters)
        questions = [TASK.question("train", index) for index in range(3)]
        return network, roll_out(network, TASK, questions, samples, temperature=0.8, seed=7, **options)

    return play


def bound(name: str, network: Network, shaken: bool = True, **options: object) -> ActorCritic:
    """The algorithm with a critic for `network`, which says something where it is `shaken`."""
    algorithm = make_algorithm(name, options)
    assert isinstance(algorithm, ActorCritic)
    algorithm.bind(network, seed=3, learning_rate=0.1)
    if shaken:
        oracle.shake_critic(algorithm.critic)
    return algorithm


def some_rewards(rollout: Rollout) -> np.ndarray:
    """Rewards [Q, G, C] of each call apart."""
    shape = (*rollout.rewards_QG.shape, len(rollout.leaves_C))
    return np.random.default_rng(0).normal(size=shape)


# ---------------------------------------------------------------------- advantages


def test_traces_are_a_nodes_own_calls_or_the_steps():
    debate = Topology.parse("2x3")  # calls 0-1, 2-3, 4-5 of two agents, then the output
    assert following_calls(debate, joint=False) == [2, 3, 4, 5, None, None, None]
    assert following_calls(debate, joint=True) == [2, 2, 4, 4, 6, 6, None]
    assert following_calls(Topology.parse("2-2-1"), joint=False) == [None] * 5
    assert following_calls(Topology.parse("2-2-1"), joint=True) == [2, 2, 4, 4, None]


def test_advantages_by_hand():
    """Three calls in a trace, V = 0.5, 0.2, 0.4, and R = 1, with gamma 0.9 and lambda 0.5."""
    values_QGC, rewards_QGC = np.array([[[0.5, 0.2, 0.4]]]), np.ones((1, 1, 3))
    last = 1 - 0.4
    middle = 0.9 * 0.4 - 0.2 + 0.45 * last
    first = 0.9 * 0.2 - 0.5 + 0.45 * middle
    seen = generalised_advantages(values_QGC, rewards_QGC, [1, 2, None], 0.9, 0.5)
    np.testing.assert_allclose(seen[0, 0], [first, middle, last], rtol=1e-12)
    rewards_QGC[0, 0, 0] = 2.0  # a call's own reward moves its own advantage only, through the end of its trace
    other = generalised_advantages(values_QGC, rewards_QGC, [1, 2, None], 0.9, 0.5)
    np.testing.assert_allclose(other[0, 0], [first + 0.45**2, middle, last], rtol=1e-12)


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.97, 0.0)])
@pytest.mark.parametrize("joint", [False, True])
def test_advantages_are_those_of_stable_baselines(gamma, gae_lambda, joint):
    """Its rollout buffer, filled with each trace of a debate as an episode with a reward at its end."""
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    from gymnasium.spaces import Discrete

    topology, E = Topology.parse("2x3"), 6
    calls = calls_of(topology)
    rng = np.random.default_rng(1)
    rewards_QG, values_QGC = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 7))
    if joint:
        values_QGC = values_QGC[..., [0, 0, 2, 2, 4, 4, 6]]
        traces = [[c, *later] for c, later in ((0, (2, 4, 6)), (1, (3, 5, 6)))]
    else:
        traces = [[c for c, (_, speaker) in enumerate(calls) if speaker == node] for node in topology.nodes]
    rewards_QGC = np.repeat(rewards_QG[..., None], 7, axis=2)
    seen_EC = generalised_advantages(
        values_QGC, rewards_QGC, following_calls(topology, joint), gamma, gae_lambda
    ).reshape(E, 7)  # fmt: skip
    for trace in traces:
        buffer = buffers.RolloutBuffer(
            len(trace), Discrete(2), Discrete(2), gae_lambda=gae_lambda, gamma=gamma, n_envs=E
        )
        buffer.rewards[-1] = rewards_QG.reshape(-1)
        buffer.values[:] = values_QGC.reshape(E, 7)[:, trace].T
        buffer.compute_returns_and_advantage(torch.zeros(E), np.ones(E))
        np.testing.assert_allclose(seen_EC[:, trace], buffer.advantages.T, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mappo", "maac"])
def test_without_a_value_advantages_are_those_of_reinforce(name, played):
    network, rollout = played()
    rewards_QGC = np.repeat(rollout.rewards_QG[..., None], 4, axis=2)
    assert np.ptp(rollout.rewards_QG) > 0
    algorithm = bound(name, network, shaken=False, gae_lambda=1.0)  # the first values are 0
    expected = make_algorithm("reinforce").assign(rollout, rewards_QGC)
    np.testing.assert_allclose(algorithm.assign(rollout, rewards_QGC), expected, rtol=1e-6)
    np.testing.assert_array_equal(algorithm.seen.targets_M, rollout.by_message(rewards_QGC))
    plain = bound(name, network, shaken=False, gae_lambda=1.0, normalize=False)
    np.testing.assert_array_equal(plain.assign(rollout, rewards_QGC), rewards_QGC)


@pytest.mark.parametrize("name", NAMES)
def test_advantages_of_a_batch_are_standardised_call_by_call(name, played):
    network, rollout = played("2x2")
    rewards_QGC = some_rewards(rollout)
    plain = bound(name, network, normalize=False)
    advantages_QGC = plain.assign(rollout, rewards_QGC)
    values_QGC = rollout.by_call(plain.seen.values_M)
    config = plain.config
    expected = generalised_advantages(
        values_QGC, rewards_QGC, following_calls(rollout.topology, plain.joint), config.gamma, config.gae_lambda
    )
    np.testing.assert_allclose(advantages_QGC, expected, rtol=1e-12)
    if name == "maac":
        np.testing.assert_allclose(advantages_QGC, rewards_QGC - values_QGC, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        plain.seen.targets_M, rollout.by_message(advantages_QGC + values_QGC), rtol=1e-10, atol=1e-12
    )
    standard = bound(name, network).assign(rollout, rewards_QGC)
    centred = advantages_QGC - advantages_QGC.mean(axis=(0, 1))
    np.testing.assert_allclose(standard, centred / centred.std(axis=(0, 1)), rtol=1e-6)


def test_equal_advantages_are_exactly_none(played):
    network, rollout = played()
    algorithm = bound("mappo", network, shaken=False)
    assert not algorithm.assign(rollout, np.full((3, 4, 4), 0.1)).any()


def test_messages_that_share_a_step_share_the_joint_value_and_not_their_own(played):
    network, rollout = played("2x2")
    values = {}
    for name in ("ppo", "mappo"):
        algorithm = bound(name, network)
        algorithm.assign(rollout, some_rewards(rollout))
        values[name] = rollout.by_call(algorithm.seen.values_M)
    for first in (0, 2):
        np.testing.assert_array_equal(values["mappo"][..., first], values["mappo"][..., first + 1])
    assert (values["ppo"][..., 2] != values["ppo"][..., 3]).any()  # each has heard the other
    assert np.ptp(values["mappo"][0, :, 0]) == 0.0  # nobody has spoken: the question is all that is known
    assert np.ptp(values["mappo"][0, :, 2]) > 0.0


@pytest.mark.parametrize("name", NAMES)
def test_in_a_tree_a_shared_message_has_the_mean_advantage_of_what_follows(name, played):
    network, rollout = played("1-1-1", samples=12, branching=[3, 2, 2])
    terminal_QG1 = np.random.default_rng(2).normal(size=(3, 12, 1))
    rewards_QGC = rollout.over_leaves(np.repeat(terminal_QG1, len(rollout.leaves_C), axis=2))
    algorithm = bound(name, network, normalize=False)
    advantages_QGC = algorithm.assign(rollout, rewards_QGC)
    assert len(algorithm.seen.prompts_M) == len(rollout.turns) == 3 * (3 + 6 + 12)
    values_QGC, config = rollout.by_call(algorithm.seen.values_M), algorithm.config
    trace = following_calls(rollout.topology, algorithm.joint)
    every = generalised_advantages(values_QGC, rewards_QGC, trace, config.gamma, config.gae_lambda)
    for call, leaves in enumerate(rollout.leaves_C):
        for start in range(0, 12, leaves):
            mine = slice(start, start + leaves)
            expected = np.repeat(every[:, mine, call].mean(axis=1, keepdims=True), leaves, axis=1)
            np.testing.assert_allclose(advantages_QGC[:, mine, call], expected, rtol=1e-10)
            assert (np.ptp(values_QGC[:, mine, call], axis=1) == 0.0).all()


# ---------------------------------------------------------------------- what the critic reads


def test_the_joint_prompt_has_every_message_so_far_in_order_and_none_of_later_steps(played, backbone):
    _, rollout = played("2x2")
    for episode, call in rollout.heard:
        rollout.heard[episode, call] = f"+{call + 1} *{episode % 9 + 1}"
    rollout.heard[0, 1] = ""  # what was dropped is left out
    prompts = joint_prompts(rollout, backbone)
    known_before = {0: [], 1: [0, 1], 2: [0, 1, 2, 3]}
    for turn, prompt in zip(rollout.turns, prompts, strict=True):
        episode, words = turn.request.episode, backbone.tokenizer.decode(prompt.ids).split()
        assert prompt.question == episode // 4
        known = [call for call in known_before[turn.request.step] if rollout.heard[episode, call]]
        assert [word for word in words if word[0] in "+*"] == [
            word for call in known for word in (f"+{call + 1}", f"*{episode % 9 + 1}")
        ]
        assert " ".join(words).count(turn.request.task) == 1
        assert words[-5:] == [
            "output",
            "<unk>",
            "node",
            "<unk>",
            "<assistant>",
        ]  # the output's place, whoever is about to speak
    whole = {prompt.ids for turn, prompt in zip(rollout.turns, prompts, strict=True) if turn.request.step == 0}
    assert len(whole) == 2  # questions 0 and 2 have the same text


def test_the_own_prompt_is_what_the_node_was_given(played):
    _, rollout = played("2x2")
    for prompt, turn, sample in zip(own_prompts(rollout), rollout.turns, rollout.samples, strict=True):
        assert prompt == (turn.request.episode // 4, turn.message.prompt_ids)
        assert prompt.ids == tuple(sample.prompt_ids)


def test_a_critic_starts_at_zero_learns_a_batch_and_leaves_the_network_alone(played):
    network, rollout = played()
    before, random_state = network.adapters.flat_NP.clone(), torch.get_rng_state()
    critic = Critic(network.backbone, rank=4)
    prompts = joint_prompts(rollout, network.backbone)
    assert not critic.values(prompts).any()
    targets = np.array([float(len(set(prompt.ids)) % 3 == 0) + 0.1 * prompt.question for prompt in prompts])
    assert np.ptp(targets) > 0.5
    losses, explained = [], []
    for _ in range(60):
        columns = critic.fit(prompts, critic.values(prompts), targets, learning_rate=1e-2, value_clip=0.2, epochs=2)
        losses.append(columns["value_loss"])
        explained.append(columns["explained_variance"])
    assert losses[-1] < 0.05 * losses[0]
    assert explained[0] == 0.0
    assert explained[-1] > 0.95
    np.testing.assert_allclose(critic.values(prompts), targets, atol=0.3)
    assert torch.equal(network.adapters.flat_NP, before)
    assert not network.adapters.grad_NP.any()
    assert torch.equal(torch.get_rng_state(), random_state)


# ---------------------------------------------------------------------- losses


def a_batch(advantages: list[float], seed: int = 0) -> dict[str, Tensor]:
    """Samples of 1 to 5 tokens; the policy has moved from the sampler's; padding holds rubbish."""
    generator, M = torch.Generator().manual_seed(seed), len(advantages)
    old_MT = -3.0 * torch.rand(M, 5, generator=generator, dtype=torch.float64)
    moved_MT = 0.3 * torch.randn(M, 5, generator=generator, dtype=torch.float64)
    mask_MT = (torch.arange(5) < torch.arange(M)[:, None] % 5 + 1).double()
    return {
        "logprobs_MT": torch.where(mask_MT > 0, old_MT + moved_MT, 7.0).requires_grad_(),
        "old_logprobs_MT": old_MT,
        "mask_MT": mask_MT,
        "advantages_M": torch.tensor(advantages, dtype=torch.float64),
        "denominators_M": torch.full((M,), float(mask_MT.sum()), dtype=torch.float64),
    }


def test_the_loss_of_ppo_and_its_gradient_by_hand():
    batch, low, high = a_batch([1.0, -0.8, 0.5, -2.0, 1.5, -1.0, 0.3]), 0.1, 0.25
    new, old = batch["logprobs_MT"].tolist(), batch["old_logprobs_MT"].tolist()
    tokens, expected, gradient_MT, flat = float(batch["mask_MT"].sum()), 0.0, np.zeros((7, 5)), 0
    for m, A in enumerate(batch["advantages_M"].tolist()):
        for t in range(m % 5 + 1):
            ratio = math.exp(new[m][t] - old[m][t])
            clipped = min(max(ratio, 1 - low), 1 + high)
            expected -= min(ratio * A, clipped * A) / tokens
            if ratio * A <= clipped * A:
                gradient_MT[m, t] = -ratio * A / tokens
            else:
                flat += 1
    for name in ("ppo", "mappo"):
        algorithm = make_algorithm(name, {"clip_low": low, "clip_high": high})
        loss = algorithm.loss(Minibatch(**batch))
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        (seen_MT,) = torch.autograd.grad(loss, batch["logprobs_MT"])
        np.testing.assert_allclose(seen_MT.numpy(), gradient_MT, rtol=1e-10, atol=1e-14)
        mask_MT = batch["mask_MT"]
        clipped_MT = algorithm.statistics(Minibatch(**batch))["clipped"] * mask_MT
        assert float(clipped_MT.sum()) == flat > 0
    # The loss that is held to TRL's in test_grpo.py.
    grpo = GRPO(GRPOConfig(aggregate="tokens", clip_low=low, clip_high=high)).loss(Minibatch(**batch))
    assert loss.item() == pytest.approx(grpo.item(), rel=1e-12)


def test_the_loss_of_maac_is_that_of_reinforce():
    batch = a_batch([1.0, -0.8, 0.5])
    assert make_algorithm("maac").loss(Minibatch(**batch)) == make_algorithm("reinforce").loss(Minibatch(**batch))


def test_every_two_algorithms_pull_another_way_on_the_same_batch(played):
    """The three with a critic and those without, on a policy that has moved since it sampled."""
    network, rollout = played("1-1-1")
    oracle.shake(network.adapters, scale=0.05, seed=8)
    rewards_QG = np.array([[1.0, 0.0, 0.5, 0.0], [0.3, 0.3, 0.3, 0.3], [0.0, 0.2, 1.0, 1.0]])
    directions = {}
    for name in ("reinforce", "rloo", "grpo", "dr-grpo", "dapo", "gspo", "cispo", "magrpo", *NAMES):
        algorithm = bound(name, network) if name in NAMES else make_algorithm(name)
        algorithm.prepare(samples=4, epochs=1, max_tokens=4)
        advantages_QGC = algorithm.assign(rollout, np.repeat(rewards_QG[..., None], 3, axis=2))
        network.adapters.zero_grad()
        backward(network, algorithm, rollout, advantages_QGC, **STEP)
        directions[name] = network.adapters.grad_NP.flatten() / network.adapters.grad_NP.norm()
    for first, second in combinations(directions, 2):
        if {first, second} & set(NAMES):
            assert float(directions[first] @ directions[second]) < 0.9999, (first, second)


# ---------------------------------------------------------------------- what can go wrong


@pytest.mark.parametrize("name", NAMES)
def test_bad_options_and_calls_out_of_order_are_refused(name, played):
    network, rollout = played()
    for options in ({"gamma": 1.5}, {"gae_lambda": -0.1}, {"value_clip": -1}, {"critic_learning_rate": 0},
                    {"critic_epochs": 0}, {"critic_rank": 0}, {"gamma": "nan"}):  # fmt: skip
        with pytest.raises(UsageError, match="accepted"):
            make_algorithm(name, options)
    for options in ({"clip_low": 1.5}, {"clip_high": -1}):
        with pytest.raises(UsageError, match="accepted" if name != "maac" else "clip"):
            make_algorithm(name, options)
    algorithm = make_algorithm(name)
    assert algorithm.extra_parameters == 0
    with pytest.raises(UsageError, match="its advantages come from assign"):
        algorithm.advantages(rollout.rewards_QG)
    with pytest.raises(UsageError, match="bind"):
        algorithm.assign(rollout, some_rewards(rollout))
    with pytest.raises(UsageError, match="after assign"):
        bound(name, network).fit(rollout, share=1.0, micro_batch_tokens=1000)
    if name == "maac":
        with pytest.raises(UsageError, match=r"one step on each batch.*mappo, ppo"):
            algorithm.prepare(samples=2, epochs=2, max_tokens=4)


def test_a_critic_that_is_no_number_undoes_the_networks_steps(played):
    network, rollout = played()
    algorithm, optimizer = bound("mappo", network), StackedAdam(network.adapters, 0.0)
    advantages_QGC = algorithm.assign(rollout, some_rewards(rollout))
    algorithm.seen.targets_M[3] = np.nan
    before_NP, before = network.adapters.flat_NP.clone(), algorithm.tensors()
    with pytest.raises(NotFiniteError, match="critic"):
        learn(network, optimizer, algorithm, rollout, advantages_QGC, **STEP, learning_rate=0.1, clip=1.0)
    assert torch.equal(network.adapters.flat_NP, before_NP)
    assert optimizer.steps_N.tolist() == [0] * 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in algorithm.tensors().items())
    algorithm.assign(rollout, some_rewards(rollout))
    learn(network, optimizer, algorithm, rollout, advantages_QGC, **STEP, learning_rate=0.1, clip=1.0)
    assert not torch.equal(algorithm.tensors()["critic.adapter"], before["critic.adapter"])


class Poisoned(PPO):
    """Its critic is no number any more in the third update."""

    updates = 0

    def assign(self, rollout, rewards_QGC):
        self.updates += 1
        if self.updates == 3:
            self.critic.bias.data.fill_(float("nan"))
        return super().assign(rollout, rewards_QGC)


# ---------------------------------------------------------------------- in training


@pytest.fixture
def config(config: TrainConfig) -> TrainConfig:
    return replace(config, task="long-echo", updates=5, questions=3, seed=1)


@pytest.mark.parametrize("name", NAMES)
def test_runs_are_deterministic_and_go_on_after_an_interruption(name, config, backbone):
    config = replace(config, algorithm=name, epochs=1 if name == "maac" else 2, topology="2x2")
    whole = train(replace(config, out=config.out + "-whole"), task=TASK, backbone=backbone)
    assert any(Path(file).name == ALGORITHM for file in contents(whole.folder))

    def interrupt(row):
        if row["update"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped):
        train(config, task=TASK, backbone=backbone, on_update=interrupt)
    assert Run(Path(config.out)).latest.update == 3
    run = train(config, resume=True, task=TASK, backbone=backbone)
    assert contents(run.folder) == contents(whole.folder)
    rows = run.metrics[1:]
    assert all(row["value_loss"] > 0 and row["critic_gradient_norm"] > 0 for row in rows)
    assert any(row["explained_variance"] != 0 for row in rows)
    assert max(row["mismatch"] for row in rows) < 1e-5
    for row in rows:
        assert all(("ratio" in node) == (name != "maac") for node in row["nodes"].values())
    steps = run.latest.algorithm_tensors()["critic.adapter.step"]
    assert float(steps) == 5 * 2  # updates, critic_epochs


@pytest.mark.parametrize("name", NAMES)
def test_the_network_and_its_folder_are_those_without_a_critic(name, config, backbone):
    config = replace(config, updates=1)
    with_critic = train(replace(config, algorithm=name, out=config.out + name), task=TASK, backbone=backbone)
    plain = train(config, task=TASK, backbone=backbone)

    def files(run: Run) -> set[str]:
        return {path.relative_to(run.latest.path).as_posix() for path in run.latest.path.rglob("*")}

    assert files(with_critic) - files(plain) == {ALGORITHM}
    for file in ("network.json", "nodes/node_0/adapter_config.json"):
        assert (with_critic.latest.path / file).read_bytes() == (plain.latest.path / file).read_bytes()
    records = [json.loads((run.folder / "config.json").read_text()) for run in (plain, with_critic)]
    assert records[0]["trainable_parameters"] == records[1]["trainable_parameters"]
    assert records[0]["extra_parameters"] == 0
    rank_8 = Network.create("1", backbone, rank=8).trainable_parameters
    assert records[1]["extra_parameters"] == rank_8 + tiny_models.SHAPE["hidden_size"] + 1
    assert Network.load(with_critic.latest.path).trainable_parameters == records[1]["trainable_parameters"]


def test_the_critic_follows_the_schedule_and_its_options(config, backbone):
    tensors = {}
    for options in ({}, {"critic_learning_rate": "0.001"}, {"critic_epochs": "1"}):
        each = replace(config, algorithm="mappo", updates=1, options=options, out=config.out + "".join(options))
        tensors["".join(options)] = train(each, task=TASK, backbone=backbone).latest.algorithm_tensors()
    assert float(tensors[""]["critic.bias.step"]) == 2
    assert float(tensors["critic_epochs"]["critic.bias.step"]) == 1
    ratio = float(tensors[""]["critic.bias"] / tensors["critic_learning_rate"]["critic.bias"])
    assert ratio == pytest.approx(PPO().config.critic_learning_rate / 0.001, rel=0.1)
    slow = replace(each, warmup=1, out=config.out + "slow")  # the first update of two on the way up
    half = train(slow, task=TASK, backbone=backbone).latest.algorithm_tensors()
    assert float(half["critic.bias"]) == pytest.approx(float(tensors["critic_epochs"]["critic.bias"]) / 2, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("credit", ["tree", "counterfactual"])
def test_rewards_of_single_messages_train_too(name, credit, config, backbone):
    run = train(replace(config, algorithm=name, credit=credit, updates=2), task=TASK, backbone=backbone)
    assert run.finished
    assert all(row["trained"] > 0 and math.isfinite(row["value_loss"]) for row in run.metrics[1:])


def test_a_critic_that_is_no_number_stops_the_run_and_loses_nothing(config, backbone):
    with pytest.raises(TrainingError, match=r"update 3: a value of the critic is not finite.*up to update 2 is kept"):
        train(config, task=TASK, backbone=backbone, algorithm=Poisoned)
    run = Run(Path(config.out))
    assert [row["update"] for row in run.metrics] == [0, 1, 2]
    assert run.latest.update == 2
    assert all(torch.isfinite(tensor).all() for tensor in run.latest.algorithm_tensors().values())
