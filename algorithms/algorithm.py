"""What a learning algorithm is to the trainer: advantages from rewards, and a loss from log-probabilities.

The trainer owns everything else (rollouts, credit, packing, per-adapter clipping and optimizer, checkpoints, logs), so
an algorithm is one short file: `advantages` and `loss` are all that it must have. The other hooks are for what learns
beside the nodes, such as a critic. Algorithms are found by exact name: the built-in ones, those given to
`register_algorithm`, and the entry points `neuromas.algorithms` of installed packages.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

from neuromas_env.errors import CheckpointError, UnknownNameError, UsageError
from neuromas_env.names import Names, imported

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Network
    from .rollout import Rollout

FloatArray = npt.NDArray[np.float64]
BUILTIN = {
    "reinforce": "reinforce:Reinforce",
    "rloo": "rloo:RLOO",
    "grpo": "grpo:GRPO",
    "dr-grpo": "grpo:DrGRPO",
    "dapo": "grpo:DAPO",
    "gspo": "grpo:GSPO",
    "cispo": "grpo:CISPO",
    "magrpo": "magrpo:MAGRPO",
    "ppo": "ppo:PPO",
    "mappo": "ppo:MAPPO",
    "maac": "ppo:MAAC",
    "malt": "malt:MALT",
    "sft": "sft:SFT",
}
ALGORITHMS: Names[type[Algorithm]] = Names(
    "algorithm", "neuromas.algorithms", BUILTIN, lambda name: imported(BUILTIN[name], str(__package__))
)


class Options:
    """A base for the options of an algorithm, which are a frozen dataclass."""

    def _check(self, name: str, good: bool, accepted: str) -> None:
        """Raise UsageError, naming the option and what is accepted, where its value is not `good`."""
        if not good:
            raise UsageError(f"the option {name!r} cannot be {getattr(self, name)} (accepted: {accepted})")


@dataclass(frozen=True)
class Minibatch:
    """M samples of at most T completion tokens, as a loss sees them. A batch may arrive in several of these.

    `logprobs_MT` carries the gradient; `old_logprobs_MT` are those of the policy that sampled; `mask_MT` is 1 on
    sampled tokens (the end token included) and 0 on padding; `denominators_M` is that of each sample's node.
    `contexts_M` numbers the prompts: samples of equal number answered one prompt of one question at one node.
    """

    logprobs_MT: Tensor
    old_logprobs_MT: Tensor
    mask_MT: Tensor
    advantages_M: Tensor
    denominators_M: Tensor
    contexts_M: Tensor | None = None


class Algorithm(ABC):
    """The hooks of one learning algorithm. `Config` is its frozen dataclass of options."""

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    takes_epochs: ClassVar[bool] = False
    """Whether several gradient steps on one batch are sound: the loss weighs how far the policy has moved from it."""
    credit: ClassVar[str] = "shared"
    """The credit assignment that it is trained with where none is asked for."""
    resample: int = 0
    """Further batches that may be drawn to replace questions without signal (resampling.py)."""
    whole_questions: ClassVar[bool] = False
    """Whether its loss compares samples, so that those of one question and node must come in one minibatch."""

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    def prepare(self, *, samples: int, epochs: int, max_tokens: int) -> None:
        """Told before training: samples of each question, passes over each batch, tokens of the longest message.

        Raises UsageError for what the algorithm cannot learn from.
        """
        if epochs > 1 and not self.takes_epochs:
            names = [name for name in ALGORITHMS.sure() if algorithm_class(name).takes_epochs]
            raise UsageError(
                f"the algorithm {self.name!r} takes one step on each batch, so epochs cannot be {epochs} "
                f"(more than 1 are taken by {', '.join(names)})"
            )

    @property
    def per_node(self) -> bool:
        """Whether nodes may have rewards of their own: `advantages` is then asked for each call of the network."""
        return True

    @abstractmethod
    def advantages(self, rewards_QG: FloatArray) -> FloatArray:
        """The advantage of every episode of one batch; an episode with exactly 0 is left out of training."""

    def assign(self, rollout: Rollout, rewards_QGC: FloatArray) -> FloatArray:
        """The advantage of every message: of episode g of question q at call c of the network's schedule.

        `rewards_QGC` are the rewards after credit assignment, equal along C where all nodes share one. Messages that
        several episodes share (a tree) are compared as often as they were sampled.
        """
        if rollout.shared and (rewards_QGC == rewards_QGC[..., :1]).all():
            return np.repeat(self.advantages(rewards_QGC[..., 0])[..., None], rewards_QGC.shape[2], axis=2)
        return rollout.each_call(rewards_QGC, self.advantages)

    def counted(self, advantages_QG: FloatArray) -> npt.NDArray[np.bool_]:
        """Which episodes [Q, G] count in the denominators. All do, unless an algorithm drops questions."""
        return np.ones(advantages_QG.shape, dtype=bool)

    @abstractmethod
    def loss(self, batch: Minibatch) -> Tensor:
        """The scalar loss of a minibatch, summed over its samples.

        The losses of the parts of a batch must add up to the loss of the whole.
        """

    def denominators(self, tokens_N: FloatArray, samples_N: FloatArray) -> FloatArray:
        """What each node's sum is divided by, given its tokens and samples in the whole batch (skipped ones too)."""
        return tokens_N

    def statistics(self, batch: Minibatch) -> dict[str, Tensor]:
        """Further columns of each node: values [M, T] by name, averaged over the tokens that the node trains on."""
        return {}

    def logs(self, rewards_QG: FloatArray, advantages_QG: FloatArray) -> dict[str, float]:
        """The algorithm's own columns in metrics.jsonl. The advantages are those of the output's message."""
        return {}

    # ------------------------------------------------------------------ what learns beside the nodes

    def bind(self, network: Network, *, seed: int, learning_rate: float) -> None:  # noqa: B027 - a hook, empty for most
        """Told the network before training: here an algorithm makes what it needs beside it, such as a critic."""

    @property
    def extra_parameters(self) -> int:
        """Trained parameters that are not the network's, and are not needed to use it."""
        return 0

    def fit(self, rollout: Rollout, *, share: float, micro_batch_tokens: int) -> dict[str, float]:
        """Train what is not the network on the batch; its columns in metrics.jsonl.

        `share` is the learning rate as a share of its highest. Raises NotFiniteError for a loss that is no number.
        """
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold of it beside `state()`, as copies."""
        return {}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors()`. Raises CheckpointError for others than its own."""
        if tensors:
            raise CheckpointError(f"the algorithm {self.name!r} keeps no tensors, the checkpoint has some")

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold to go on, as JSON values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state()`. An algorithm without state refuses one with CheckpointError."""
        if state:
            raise CheckpointError(f"the algorithm {self.name!r} keeps no state, the checkpoint has {', '.join(state)}")


def policy_gradient_loss(batch: Minibatch) -> Tensor:
    """-Σ A / D · Σ_t m_t log π: the loss of every algorithm that takes one step on a batch and weighs no ratio."""
    weights_M = batch.advantages_M / batch.denominators_M
    return -(weights_M[:, None] * batch.logprobs_MT * batch.mask_MT).sum()


def check_group(name: str, samples: int) -> None:
    """Raises UsageError where a question has no second sample to compare with."""
    if samples < 2:
        raise UsageError(
            f"the algorithm {name!r} compares the samples of a question, so samples cannot be {samples} "
            "(accepted: a whole number from 2)"
        )


def register_algorithm(algorithm: type[Algorithm]) -> type[Algorithm]:
    """Make an algorithm known by its `name`; usable as a decorator. Raises UsageError for a name that is taken."""
    ALGORITHMS.register(algorithm.name, algorithm)
    return algorithm


def algorithm_names() -> list[str]:
    """The names of all algorithms, sorted. Nothing is imported for it."""
    return ALGORITHMS.all()


def algorithm_class(name: str) -> type[Algorithm]:
    """The class known under exactly `name`. Raises UnknownNameError with what exists."""
    return ALGORITHMS.find(name)


def make_algorithm(name: str, options: Mapping[str, Any] | None = None) -> Algorithm:
    """The algorithm `name` with `options`, values of the right type or their text (as typed on a command line).

    Raises UnknownNameError for a name or an option that does not exist, UsageError for a bad value.
    """
    algorithm = algorithm_class(name)
    kinds = get_type_hints(algorithm.Config)
    known = [field.name for field in dataclasses.fields(algorithm.Config)]
    values: dict[str, Any] = {}
    for key, value in (options or {}).items():
        if key not in known:
            raise UnknownNameError(f"option of algorithm {name}", key, known)
        values[key] = typed_value(f"option {key!r} of algorithm {name!r}", value, kinds[key])
    return algorithm(algorithm.Config(**values))


def typed_value(what: str, value: Any, kind: Any) -> Any:
    """`value` as `kind` (bool, int, float, str or a Literal of strings), read from text where it is text."""
    choices = get_args(kind)
    if choices:
        accepted = ", ".join(map(str, choices))
        if value in choices:
            return value
    elif kind is bool:
        accepted = "true or false"
        text = str(value).lower()
        if text in ("true", "false"):
            return text == "true"
    else:
        accepted = f"{getattr(kind, '__name__', kind)}"
        try:
            return kind(value)
        except (TypeError, ValueError):
            pass
    raise UsageError(f"{what} cannot be {value!r} (accepted: {accepted})")
