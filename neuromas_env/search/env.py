"""A topology as an action: one question, one network, one reward.

    env = gymnasium.make("neuromas/TopologyEdges-v0", task="chain", policy=network, base="1-1-1-1/all")
    observation, info = env.reset(seed=0)                     # a question is drawn
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())

An episode is one step (a bandit), or with `layerwise` one step a layer. The reward comes at the end:

    reward = score − price · tokens / token_budget

with the score of the answer (0 or 1), the tokens that the network sampled on the question, and as budget what the
largest network of the space could sample at most. So a network that uses the whole budget must be right more often, by
the price, than one that uses nothing.

The environment plays one question at a time. `completed` says beforehand what an action would complete, so that a
batch of environments can have all their networks evaluated together and hand the outcomes in (`evaluation`): see
`baselines/architecture/vec_env.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ..errors import EpisodeOverError, UsageError
from ..task import Question
from ..topology import Topology
from .embedding import Embedding, hashed_words
from .evaluation import Evaluation, Evaluator
from .spaces import SearchSpace

PRICE = 0.1
"""What the whole token budget of a question costs, in units of the score."""


class TopologyEnv(gymnasium.Env[Any, Any]):
    """Choose a topology for a question drawn from `questions`.

    Observation: `question`, the embedding [D]; `built`, the choices made so far [steps · choice], scaled to 0..1 and
    zero where none was made; `budget`, the share of the token budget [1] that the layers built so far leave, had each
    node said its longest message. Raises UsageError for no questions, a negative price, a budget below 1 token, and for
    `layerwise` where the space is not built layer by layer.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's name and form for it

    def __init__(
        self,
        space: SearchSpace,
        evaluator: Evaluator,
        questions: Sequence[Question],
        token_budget: int,
        *,
        price: float = PRICE,
        layerwise: bool = False,
        embedding: Embedding = hashed_words,
    ) -> None:
        if not questions:
            raise UsageError("there are no questions to search on; give at least one")
        check_budget(price, token_budget)
        if layerwise and space.step_space is None:
            space.completed([])
        self.space, self.evaluator, self.questions = space, evaluator, questions
        self.token_budget, self.price, self.layerwise, self.embedding = token_budget, price, layerwise, embedding
        step_space = space.step_space if layerwise else None
        self.action_space = step_space if step_space is not None else space.action_space
        self._sizes = np.maximum(choice_sizes(self.action_space) - 1, 1)
        self._steps = space.steps if layerwise else 1
        self.observation_space: spaces.Dict = spaces.Dict(
            {
                "question": spaces.Box(-1, 1, embedding(questions[0].prompt).shape, np.float32),
                "built": spaces.Box(0, 1, (self._steps * len(self._sizes),), np.float32),
                "budget": spaces.Box(0, 1, (1,), np.float32),
            }
        )
        self.question: Question | None = None
        self.choices: list[np.ndarray] = []
        self.evaluation: Evaluation | None = None
        """The outcome of the network that the next step completes, where somebody has found it out already."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Draw a question; `options={"question": index}` says which."""
        super().reset(seed=seed)
        index = (options or {}).get("question")
        self.question = self.questions[int(self.np_random.integers(len(self.questions)) if index is None else index)]
        self.choices, self.evaluation = [], None
        return self._observation(), {"question": self.question.id}

    def completed(self, action: Any) -> Topology | None:
        """The topology that `action` completes; None where layers are still to come."""
        if self.question is None:
            raise EpisodeOverError("reset the environment before it is used")
        if not self.layerwise:
            return self.space.build(action)
        return self.space.completed([*self.choices, np.asarray(action)])

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        topology = self.completed(action)
        self.choices.append(np.asarray(action))
        if topology is None:
            return self._observation(), 0.0, False, False, {}
        assert self.question is not None
        found = self.evaluation or self.evaluator([self.question], [topology])[0]
        observation = self._observation()
        info = {"question": self.question.id, "topology": topology, "score": found.score, "tokens": found.tokens}
        self.question = self.evaluation = None
        return observation, reward(found, self.price, self.token_budget), True, False, info

    def _observation(self) -> dict[str, np.ndarray]:
        assert self.question is not None
        return self.observe(self.embedding(self.question.prompt), self.choices)

    def observe(self, question_D: np.ndarray, choices: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The observation of a question's embedding after `choices`."""
        built = np.zeros((self._steps, len(self._sizes)), np.float32)
        for place, choice in enumerate(choices):
            built[place] = np.atleast_1d(choice) / self._sizes
        spent = self.space.calls(choices) / self.space.largest.calls if self.layerwise else 0.0
        return {
            "question": question_D.astype(np.float32),
            "built": built.ravel(),
            "budget": np.array([1 - spent], np.float32),
        }


def reward(found: Evaluation, price: float, token_budget: int) -> float:
    """What an evaluation is worth: its score less the price of its share of the token budget."""
    return found.score - price * found.tokens / token_budget


def check_budget(price: float, token_budget: int) -> None:
    """Raise UsageError for a price or a token budget that cannot be."""
    if not 0 <= price < float("inf"):
        raise UsageError(f"the price of tokens cannot be {price} (accepted: 0 or more)")
    if token_budget < 1:
        raise UsageError(f"a token budget of {token_budget} is impossible (accepted: at least 1)")


def choice_sizes(space: spaces.Space[Any]) -> np.ndarray:
    """How many options each choice of a discrete action has, [F]. Raises UsageError for another kind of space."""
    if isinstance(space, spaces.MultiBinary):
        return np.full(int(np.prod(space.shape)), 2)
    if isinstance(space, spaces.MultiDiscrete):
        return np.asarray(space.nvec).ravel()
    if isinstance(space, spaces.Discrete):
        return np.array([space.n])
    raise UsageError(f"{type(space).__name__} is no space of choices (accepted: MultiBinary, MultiDiscrete, Discrete)")
