"""Our policy gradient against stable-baselines3's on a game of discrete messages, played through the environment.

A sender sees one of three signs and says one of three words; a receiver hears the word and names a sign. They earn 1
where it is the sign that was shown. Whoever learns the game finds a code, and with it a return of 1; who speaks at
random earns a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from algorithms.algorithm import Minibatch
from algorithms.reinforce import Reinforce
from baselines.architecture.sb3 import seeded_apart
from neuromas_env import Message, NodeRequest, Policy, Question, Task, parallel_env, run_episodes

SIGNS = ("a", "b", "c")
SENDER = "node_0"


class Signs(Task):
    """Name the sign."""

    name = "signs"

    def size(self, split: str) -> int | None:
        return len(SIGNS)

    def question(self, split: str, index: int) -> Question:
        return Question(f"signs/{index}", SIGNS[index], SIGNS[index])

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return text if text in SIGNS else None


def seen(request: NodeRequest) -> int:
    """What a player goes by: the sender by the sign, the receiver by the word alone."""
    return SIGNS.index(request.task if request.agent == SENDER else request.messages[0].text)


class Tables:
    """Ours: a table of log-odds for each player, [player, seen, said]."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.logits_PSW = (0.1 * torch.randn(2, 3, 3, generator=self.generator)).requires_grad_()
        self.greedy = False
        self.chosen: list[tuple[int, int, int]] = []

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return [Message(SIGNS[self.choose(request)]) for request in requests]

    def choose(self, request: NodeRequest) -> int:
        player, sign = int(request.agent != SENDER), seen(request)
        odds_W = self.logits_PSW[player, sign].detach()
        word = int(
            odds_W.argmax() if self.greedy else torch.multinomial(odds_W.softmax(0), 1, generator=self.generator)
        )
        self.chosen.append((player, sign, word))
        return word


def ours(seed: int, updates: int = 120, samples: int = 16) -> float:
    """The return of tables trained by `algorithms.reinforce`."""
    tables, algorithm = Tables(seed), Reinforce()
    optimizer = torch.optim.Adam([tables.logits_PSW], lr=0.1)
    for _ in range(updates):
        tables.chosen = []
        batch = run_episodes(Signs(), "1-1", tables, [sign for sign in range(3) for _ in range(samples)])
        advantages_E = torch.from_numpy(algorithm.advantages(batch.rewards_E.reshape(3, samples)).ravel())
        player_M, sign_M, word_M = torch.tensor(tables.chosen).T
        logprobs_MT = tables.logits_PSW.log_softmax(-1)[player_M, sign_M, word_M][:, None]
        ones_MT = torch.ones_like(logprobs_MT)
        loss = algorithm.loss(
            Minibatch(
                logprobs_MT,
                logprobs_MT.detach(),
                ones_MT,
                advantages_E.repeat(2).float(),  # both players share the reward
                torch.full((len(logprobs_MT),), 3.0 * samples),
            )
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tables.greedy = True
    return greedy_return(tables)


class SignsEnv(gymnasium.Env[np.ndarray, Any]):
    """The same game for one learner that plays both: it sees the sign, then only the word."""

    observation_space = gymnasium.spaces.MultiBinary(6)
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self) -> None:
        self.env = parallel_env(Signs(), topology="1-1")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.env.reset(seed=int(self.np_random.integers(2**31)))
        return observed(*self.env.requests()), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        (request,) = self.env.requests()
        _, rewards, _, _, _ = self.env.step({request.agent: SIGNS[int(action)]})
        if self.env.agents:
            return observed(*self.env.requests()), 0.0, False, False, {}
        return np.zeros(6, np.int8), float(rewards[SENDER]), True, False, {}


def observed(request: NodeRequest) -> np.ndarray:
    """Which sign, or which word: the two halves of the observation."""
    return np.eye(6, dtype=np.int8)[seen(request) + (0 if request.agent == SENDER else 3)]


class Predicting:
    def __init__(self, model: PPO) -> None:
        self.model = model

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        actions, _ = self.model.predict(np.stack([observed(request) for request in requests]), deterministic=True)
        return [Message(SIGNS[action]) for action in actions]


def theirs(seed: int) -> float:
    with seeded_apart(seed):
        model = PPO("MlpPolicy", make_vec_env(SignsEnv, 16, seed=seed), n_steps=16, batch_size=256, gamma=1.0,
                    learning_rate=5e-3, gae_lambda=1.0, policy_kwargs={"net_arch": []}, seed=seed)  # fmt: skip
        model.learn(8_000)
    return greedy_return(Predicting(model))


def greedy_return(policy: Policy) -> float:
    return run_episodes(Signs(), "1-1", policy, range(3)).accuracy


@pytest.mark.parametrize("seed", [0, 1])
def test_both_learn_a_code_and_reach_the_same_return(seed: int) -> None:
    assert greedy_return(Tables(seed)) < 1.0  # nobody knows it beforehand
    assert ours(seed) == theirs(seed) == 1.0
