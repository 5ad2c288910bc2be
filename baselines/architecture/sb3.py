"""PPO, A2C and DQN of stable-baselines3 as optimisers of topologies.

Their default settings wait longer for a first update than a search lasts (PPO 2,048 steps, DQN 100, with a target that
follows after 10,000). Here a rollout is a fortieth of the budget or so, and the rest follows from that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from algorithms.files import whole_folder, write_json
from algorithms.seeds import derive

from .controller import FILE, FORMAT, Controller
from .problem import Problem, TopologyProblem
from .vec_env import TopologyVecEnv

if TYPE_CHECKING:
    from neuromas_env.topology import Topology

CLASSES: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "a2c": A2C, "dqn": DQN}
TENSORS = "controller.safetensors"
HIDDEN = [32]
"""Units of the policy's hidden layers: what there is to learn from a few hundred evaluations is little."""


def settings(algorithm: str, budget: int, parallel: int) -> dict[str, Any]:
    """The settings of stable-baselines3 for a search of `budget` evaluations in `parallel` environments."""
    rollout = max(2, min(4, budget // (10 * parallel)))
    episodic = {"gamma": 1.0, "policy_kwargs": {"net_arch": HIDDEN}, "device": "cpu"}
    if algorithm == "ppo":
        batch = {"n_steps": rollout, "batch_size": rollout * parallel, "n_epochs": 20, "gae_lambda": 1.0}
        return episodic | batch | {"learning_rate": 5e-3, "ent_coef": 0.0}
    if algorithm == "a2c":
        return episodic | {"n_steps": rollout, "learning_rate": 1e-2, "gae_lambda": 1.0, "use_rms_prop": False}
    return episodic | {
        "learning_rate": 1e-3,
        "buffer_size": max(budget, 10),
        "learning_starts": budget // 20,
        "batch_size": 32,
        "train_freq": 1,
        "gradient_steps": -1,  # as many as evaluations
        "target_update_interval": max(parallel, budget // 50),
        "exploration_fraction": 0.5,
    }


class PolicyController(Controller):
    """The policy of a stable-baselines3 model, for environments like the one it was made for."""

    def __init__(self, model: BaseAlgorithm, algorithm: str, given: dict[str, Any]) -> None:
        self.model, self.algorithm, self.given = model, algorithm, given

    def act(self, observation: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        """The action after one observation of the environment."""
        with seeded_apart(None if rng is None else int(rng.integers(2**31))):
            action, _ = self.model.predict(observation, deterministic=rng is None)
        return np.asarray(action)

    def choose(
        self, problem: TopologyProblem, question_D: np.ndarray, rng: np.random.Generator | None = None
    ) -> Topology:
        env = problem.make_env()
        env.reset(options={"question": 0})  # `completed` wants a question; the embedding stands for it
        while True:
            action = self.act(env.observe(question_D, env.choices), rng)
            topology = env.completed(action)
            if topology is not None:
                return topology
            env.choices.append(action)

    def save(self, folder: Path) -> None:
        with whole_folder(folder / "policy") as inside:
            tensors = {name: tensor.contiguous() for name, tensor in self.model.policy.state_dict().items()}
            save_file({name: tensor.clone() for name, tensor in tensors.items()}, inside / TENSORS)
        values = {"kind": "policy", "algorithm": self.algorithm, "settings": self.given}
        spaces = {"observation": describe(self.model.observation_space), "action": describe(self.model.action_space)}
        write_json(folder / FILE, {"format": FORMAT, **values, "spaces": spaces})

    @classmethod
    def load(cls, folder: Path, data: dict[str, Any]) -> PolicyController:
        """Undo `save`. Nothing is unpickled: the model is made anew, and takes the tensors."""
        spaces = {name: described(each) for name, each in data["spaces"].items()}
        given = dict(data["settings"])
        if "n_epochs" in given:
            given["batch_size"] = given["n_steps"]  # one environment fills no larger one, and nothing is trained
        with seeded_apart(0):
            env = DummyVecEnv([lambda: _Spaces(spaces["observation"], spaces["action"])])
            model = _model(data["algorithm"], env, given, seed=0)
        model.policy.load_state_dict(load_file(folder / "policy" / TENSORS))
        return cls(model, data["algorithm"], data["settings"])


def sb3_search(algorithm: str, problem: Problem, seed: int) -> PolicyController:
    """Train until no whole rollout is left in the budget."""
    given = settings(algorithm, problem.ledger.budget, problem.parallel)
    with seeded_apart(seed):
        env = batched(problem)
        model = _model(algorithm, env, given, seed=derive(seed, "sb3") % 2**31)
        with suppress(_Spent):
            model.learn(problem.ledger.budget * problem.steps, callback=_WholeRollouts(problem, given))
    return PolicyController(model, algorithm, given)


def rollout_cost(algorithm: str, budget: int, problem: Problem) -> int:
    """The most evaluations between two updates."""
    return int(settings(algorithm, budget, problem.parallel).get("n_steps", 1)) * problem.step_cost


def batched(problem: Problem) -> VecEnv:
    """The environments of a problem, stepped together."""
    if isinstance(problem, TopologyProblem):
        return TopologyVecEnv([problem.make_env] * problem.parallel)
    return DummyVecEnv([problem.make_env] * problem.parallel)


class _Spent(Exception):  # noqa: N818 - no error: how training is told to end
    """The budget does not cover another rollout."""


class _WholeRollouts(BaseCallback):
    """Ends training before a rollout that the budget might not cover: one that is cut short teaches nothing."""

    def __init__(self, problem: Problem, given: dict[str, Any]) -> None:
        super().__init__()
        self.ledger, self.cost = problem.ledger, given.get("n_steps", 1) * problem.step_cost

    def _on_rollout_start(self) -> None:
        if self.ledger.left < self.cost:
            raise _Spent

    def _on_step(self) -> bool:
        return True


def _model(algorithm: str, env: VecEnv, given: dict[str, Any], seed: int) -> BaseAlgorithm:
    dictionary = isinstance(env.observation_space, gymnasium.spaces.Dict)
    return CLASSES[algorithm]("MultiInputPolicy" if dictionary else "MlpPolicy", env, seed=seed, **given)


@contextmanager
def seeded_apart(seed: int | None) -> Iterator[None]:
    """stable-baselines3 draws from the global generators: seed them, and put them back as they were."""
    before, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield
    random.setstate(before)
    np.random.set_state(numbers)


class _Spaces(gymnasium.Env[Any, Any]):
    """An environment that only has spaces, to make a model for."""

    def __init__(self, observation: gymnasium.Space[Any], action: gymnasium.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action


def describe(space: gymnasium.Space[Any]) -> dict[str, Any]:
    """A space of this package's environments as JSON values."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {"parts": {name: describe(part) for name, part in space.spaces.items()}}
    if isinstance(space, gymnasium.spaces.Box):
        return {"low": float(space.low.min()), "high": float(space.high.max()), "shape": list(space.shape)}
    if isinstance(space, gymnasium.spaces.MultiBinary):
        return {"bits": int(space.shape[0])}
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        return {"sizes": space.nvec.tolist()}
    assert isinstance(space, gymnasium.spaces.Discrete)
    return {"options": int(space.n)}


def described(data: dict[str, Any]) -> gymnasium.Space[Any]:
    """Undo `describe`. Raises KeyError for what it never gave."""
    if "parts" in data:
        return gymnasium.spaces.Dict({name: described(part) for name, part in data["parts"].items()})
    if "shape" in data:
        return gymnasium.spaces.Box(data["low"], data["high"], tuple(data["shape"]), np.float32)
    if "bits" in data:
        return gymnasium.spaces.MultiBinary(data["bits"])
    if "sizes" in data:
        return gymnasium.spaces.MultiDiscrete(data["sizes"])
    return gymnasium.spaces.Discrete(data["options"])
