"""When to grow: after each stage of training, go on, add a node, add a layer, or stop.

A stage trains the network for an equal share of the token budget. Its reward is the validation accuracy that it bought
for the tokens it spent, both as a share of what there is:

    reward = (accuracy after − accuracy before) / (tokens of the stage / token budget) − price

Accuracy gained, not reached, is what tokens bought: accuracy divided by all tokens so far is highest before anything
was learnt, so that the best policy would be to stop at once. The price is what a stage must gain to be worth its
tokens, so that stopping (reward 0) pays once training has flattened out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces

from ..errors import EpisodeOverError, UsageError
from ..growth import Growth, deepen, widen
from ..topology import Topology

GROWTH_ACTIONS = ("continue", "widen", "deepen", "stop")


@dataclass(frozen=True)
class Stage:
    """What a stage of training left: the accuracy (0 to 1) on validation before and after it, and its tokens."""

    before: float
    accuracy: float
    tokens: int


class TrainStage(Protocol):
    def __call__(self, path: Sequence[Topology]) -> Stage:
        """The last stage of training networks on `path`, each grown from the one before; a pure function of it."""


class GrowthEnv(gymnasium.Env[np.ndarray, np.integer[Any]]):
    """Grow a network from `start` over at most `stages` stages of training, the first of which `reset` trains.

    Action: 0 continue, 1 widen (one node in the narrowest hidden layer), 2 deepen (a new last hidden layer, as wide as
    the one before), 3 stop. What would exceed `most_nodes` continues instead, and info says so. Observation: stages
    done, layers and widest layer (as shares of the most there can be), accuracy, its last gain, and the token budget
    left, [6].

    Raises UsageError for a budget below one token a stage, fewer than two stages, or a start that is too large or
    without a hidden layer.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's name and form for it

    def __init__(
        self,
        train: TrainStage,
        token_budget: int,
        *,
        start: str | Topology = "1-1-1",
        stages: int = 4,
        most_nodes: int = 9,
        price: float = 0.1,
    ) -> None:
        self.start = Topology.parse(start) if isinstance(start, str) else start
        if stages < 2:
            raise UsageError(f"growth in {stages} stages leaves nothing to decide (accepted: 2 or more)")
        if token_budget < stages:
            raise UsageError(f"a token budget of {token_budget} is impossible for {stages} stages (1 token each)")
        if len(self.start.layers) < 2 or self.start.num_nodes > most_nodes:
            raise UsageError(f"growth cannot start from {self.start}: a hidden layer and at most {most_nodes} nodes")
        if not 0 <= price < float("inf"):
            raise UsageError(f"the price of tokens cannot be {price} (accepted: 0 or more)")
        self.train, self.token_budget, self.stages = train, token_budget, stages
        self.most_nodes, self.price = most_nodes, price
        self.action_space = spaces.Discrete(len(GROWTH_ACTIONS))
        self.observation_space = spaces.Box(-1, 1, (6,), np.float32)
        self.path: list[Topology] = []
        self.done: list[Stage] = []
        self.over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.path, self.done, self.over = [self.start], [], False
        self._train()
        return self._observation(), {"topology": self.start, "accuracy": self.done[-1].accuracy}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.over:
            raise EpisodeOverError("reset the environment before it is used")
        asked = GROWTH_ACTIONS[int(action)]
        info: dict[str, Any] = {"topology": self.path[-1], "accuracy": self.done[-1].accuracy, "refused": False}
        if asked == "stop":
            self.over = True
            return self._observation(), 0.0, True, False, info
        grown = self.grown(asked)
        self.path.append(self.path[-1] if grown is None else grown)
        stage = self._train()
        self.over = len(self.path) == self.stages
        info |= {"topology": self.path[-1], "accuracy": stage.accuracy, "refused": grown is None}
        return self._observation(), self.reward_of(stage), self.over, False, info

    def grown(self, action: str) -> Topology | None:
        """The network after an action; None where it would have too many nodes."""
        topology = self.path[-1]
        hidden = topology.layers[:-1]
        growth = Growth(topology)
        if action == "widen":
            narrowest = min(range(len(hidden)), key=lambda layer: len(hidden[layer]))
            growth = widen(topology, narrowest + 1)
        elif action == "deepen":
            growth = deepen(topology, len(hidden[-1]))
        return growth.topology if growth.topology.num_nodes <= self.most_nodes else None

    def _train(self) -> Stage:
        self.done.append(self.train(tuple(self.path)))
        return self.done[-1]

    def reward_of(self, stage: Stage) -> float:
        """The reward of a stage; see the module."""
        spent = stage.tokens / self.token_budget
        return (stage.accuracy - stage.before) / spent - self.price

    def _observation(self) -> np.ndarray:
        layers, stage = self.path[-1].layers, self.done[-1]
        left = 1 - sum(each.tokens for each in self.done) / self.token_budget
        seen = [
            len(self.done) / self.stages,
            len(layers) / self.most_nodes,
            max(map(len, layers)) / self.most_nodes,
            stage.accuracy,
            stage.accuracy - stage.before,
            max(-1.0, left),  # the last update of a stage may overshoot its share
        ]
        return np.array(seen, np.float32)
