"""What an optimiser is given: choices to make, what they earn, and a budget of evaluations.

Optimisers of whole plans ask `evaluate`; those that act step by step (stable-baselines3) make environments with
`make_env`. Both spend from the same ledger.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np

from algorithms.seeds import derive
from neuromas_env.search.embedding import Embedding, hashed_words
from neuromas_env.search.env import PRICE, TopologyEnv, choice_sizes, reward
from neuromas_env.search.evaluation import Evaluation, Evaluator
from neuromas_env.search.growth_env import GROWTH_ACTIONS, GrowthEnv, Stage, TrainStage
from neuromas_env.search.spaces import SearchSpace
from neuromas_env.task import Question
from neuromas_env.topology import Topology

from ..training import digest
from .coding import Coding
from .ledger import Ledger, Record


class Problem(ABC):
    """`coding` is that of a whole plan. `cost` is the most evaluations that a plan takes, `parallel` how many
    environments are stepped together, `step_cost` the most evaluations that such a step takes, `steps` the longest
    episode, and `noisy` says whether the same plan may earn different rewards."""

    ledger: Ledger
    coding: Coding
    cost: int
    parallel: int
    step_cost: int
    steps: int
    noisy: bool

    @abstractmethod
    def evaluate(self, plans_BF: np.ndarray) -> np.ndarray:
        """What each plan earned, [B]. Spends up to `cost` evaluations a plan."""

    @abstractmethod
    def make_env(self) -> gymnasium.Env[Any, Any]:
        """An environment whose steps spend from the ledger."""

    @abstractmethod
    def rewards(self) -> np.ndarray:
        """The reward of every evaluation made so far, in order."""

    def tokens(self) -> np.ndarray:
        """The sampled tokens of every evaluation made so far."""
        return np.array([record["tokens"] for record in self.ledger.records])


class TopologyProblem(Problem):
    """A topology for questions drawn with `seed`; one evaluation is one question played through one topology."""

    cost, parallel, step_cost, noisy = 1, 10, 10, True

    def __init__(
        self,
        space: SearchSpace,
        evaluator: Evaluator,
        questions: Sequence[Question],
        token_budget: int,
        ledger: Ledger,
        *,
        price: float = PRICE,
        seed: int = 0,
        layerwise: bool = False,
        embedding: Embedding = hashed_words,
    ) -> None:
        self.space, self.evaluator, self.questions = space, evaluator, questions
        self.token_budget, self.price, self.ledger = token_budget, price, ledger
        self.layerwise, self.embedding = layerwise, embedding
        self.steps = space.steps if layerwise else 1
        self.coding = Coding(choice_sizes(space.action_space))
        self._rng = np.random.default_rng(derive(seed, "questions"))
        self._names: dict[Topology, str] = {}
        self.make_env()  # which checks what was given

    def make_env(self) -> TopologyEnv:
        return TopologyEnv(
            self.space,
            self.counted,
            self.questions,
            self.token_budget,
            price=self.price,
            layerwise=self.layerwise,
            embedding=self.embedding,
        )

    def build(self, plan_F: np.ndarray) -> Topology:
        one = isinstance(self.space.action_space, gymnasium.spaces.Discrete)
        return self.space.build(plan_F[0] if one else plan_F)

    def evaluate(self, plans_BF: np.ndarray) -> np.ndarray:
        drawn = self._rng.integers(len(self.questions), size=len(plans_BF))
        found = self.counted([self.questions[place] for place in drawn], [self.build(plan) for plan in plans_BF])
        return np.array([self._reward(each) for each in found])

    def counted(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]:
        """The evaluator, on the ledger."""
        keys = [f"{q.id} {self._name(t)}" for q, t in zip(questions, topologies, strict=True)]

        def make() -> list[Record]:
            return [vars(each) for each in self.evaluator(questions, topologies)]

        return [Evaluation(**record) for record in self.ledger.take(keys, make)]

    def _name(self, topology: Topology) -> str:
        """What stands for a topology in the record."""
        if self.ledger.path is None:
            return ""  # nobody compares: nothing is kept
        return self._names.setdefault(topology, digest(topology.to_json()))

    def _reward(self, found: Evaluation) -> float:
        return reward(found, self.price, self.token_budget)

    def rewards(self) -> np.ndarray:
        return np.array([self._reward(Evaluation(**record)) for record in self.ledger.records])

    @cached_property
    def typical_D(self) -> np.ndarray:
        """The mean embedding of the questions: what a single topology for all of them is chosen by."""
        return np.asarray(np.mean([self.embedding(question.prompt) for question in self.questions], axis=0))


class GrowthProblem(Problem):
    """How to grow a network; one evaluation is one stage of training. A plan is an action after each stage but the
    last. Training is a function of the path, so every plan earns the same whenever it is tried."""

    parallel, step_cost, noisy = 1, 2, False  # a step that ends an episode begins the next one, with a stage

    def __init__(self, train: TrainStage, token_budget: int, ledger: Ledger, **options: Any) -> None:
        self.train, self.token_budget, self.ledger, self.options = train, token_budget, ledger, options
        env = self.make_env()
        self.cost = self.steps = env.stages
        self.coding = Coding(np.full(env.stages - 1, len(GROWTH_ACTIONS)))
        self.episodes: list[tuple[float, tuple[Topology, ...], float]] = []
        """The return, path and final accuracy of every episode that was played to its end."""

    def make_env(self) -> GrowthEnv:
        return _Noted(self)

    def evaluate(self, plans_BF: np.ndarray) -> np.ndarray:
        env, returns = self.make_env(), []
        for plan in plans_BF:
            env.reset()
            earned, over = 0.0, False
            for action in plan:
                _, step_reward, over, _, _ = env.step(action)
                earned += step_reward
                if over:
                    break
            returns.append(earned)
        return np.array(returns)

    def counted(self, path: Sequence[Topology]) -> Stage:
        """The training of a stage, on the ledger."""
        key = digest([topology.to_json() for topology in path])
        (record,) = self.ledger.take([key], lambda: [vars(self.train(path))])
        return Stage(**record)

    def rewards(self) -> np.ndarray:
        env = self.make_env()
        return np.array([env.reward_of(Stage(**record)) for record in self.ledger.records])


class _Noted(GrowthEnv):
    """Notes its finished episodes with the problem."""

    def __init__(self, problem: GrowthProblem) -> None:
        super().__init__(problem.counted, problem.token_budget, **problem.options)
        self.problem, self.earned = problem, 0.0

    def reset(self, **given: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.earned = 0.0
        return super().reset(**given)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, step_reward, over, cut, info = super().step(action)
        self.earned += step_reward
        if over:
            self.problem.episodes.append((self.earned, tuple(self.path), self.done[-1].accuracy))
        return observation, step_reward, over, cut, info
