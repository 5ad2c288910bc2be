"""Actor-critic: a critic says what reward was to be expected, and a message is pushed by what it got beyond that.

A call is a node that speaks at a step of the schedule; each reads a prompt, to which the critic gives a value V. Calls
that follow one another make a trace, whose last call earns the terminal reward R (that which the credit assignment
gives to the call in question). Generalised advantage estimation (Schulman et al., arXiv 1506.02438), with V' the value
of the next call of the trace and A' its advantage:

    A = R - V at the last call,    A = gamma V' - V + gamma gae_lambda A' before it,    target of the critic: A + V

    name   paper                               the critic reads         the trace               loss
    ppo    Schulman et al., arXiv 1707.06347;  the node's own prompt    the calls of one node   clipped ratio
           independent: de Witt et al., 2011.09533
    mappo  Yu et al., arXiv 2103.01955         the joint prompt         the steps               clipped ratio
    maac   multi-agent actor-critic (CoMLRL),  the joint prompt         gae_lambda 1: A = R - V log-probability
           the CoLLM-CC baseline of arXiv 2605.16757

The joint prompt of a step holds the task text and every message that was heard so far by anybody, numbered by call,
with the position of the output node. All nodes that speak at the step share its value; deeper steps know more. With ρ
the ratio of new to old policy, m the mask of sampled tokens and D_n the tokens of node n in the batch,

    L_n = - 1 / D_n · Σ_samples Σ_t m_t min(ρ_t A, clamp(ρ_t, 1 - clip_low, 1 + clip_high) A)    (ppo, mappo)
    L_n = - 1 / D_n · Σ_samples A · Σ_t m_t log π_n(token_t)                                     (maac)

The critic (critic.py) is one for all nodes: a LoRA adapter of its own and a linear head on the frozen backbone, trained
after the network's steps on each batch, `critic_epochs` steps, at its own learning rate under the run's schedule.

1. A message is one action: it has one value and one advantage, which all its tokens share; ratios are of tokens.
2. Every pass takes the whole batch in one gradient step; the papers cut a batch into mini-batches.
3. Advantages are standardised over the batch's messages of each call (`normalize`).
4. No entropy bonus and no KL of their own: both are the trainer's, off by default.
5. One critic serves all nodes; that of `ppo` can tell them apart by the position in the prompt.
6. In a tree (`credit tree`) a shared message has the mean advantage of the episodes that go on from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from neuromas_env.errors import UsageError
from neuromas_env.node import Incoming, NodeRequest
from neuromas_env.topology import Topology

from .algorithm import Algorithm, FloatArray, Minibatch, Options, policy_gradient_loss
from .critic import Critic, Prompt
from .grpo import clipped_objective, ratio_statistics, token_ratio
from .rollout import Rollout, calls_of
from .seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from .backbone import Backbone
    from .network import Network


@dataclass(frozen=True)
class CriticConfig(Options):
    """What an algorithm with a critic can be told."""

    normalize: bool = True
    """Standardise advantages over the batch's messages of each call."""
    gamma: float = 1.0
    """What a reward is worth one call earlier in the trace."""
    gae_lambda: float = 0.95
    """From one step ahead by the critic's next value (0) to the reward itself (1); at the last call they are one."""
    value_clip: float = 0.2
    """How far a batch's steps may move a value before its loss is flat; 0 for no bound."""
    critic_learning_rate: float = 3e-3
    """The highest learning rate of the critic; it follows the run's schedule."""
    critic_epochs: int = 2
    """Steps of the critic on each batch."""
    critic_rank: int = 8
    """The rank of the critic's adapter."""

    def __post_init__(self) -> None:
        self._check("gamma", 0 <= self.gamma <= 1, "0 to 1")
        self._check("gae_lambda", 0 <= self.gae_lambda <= 1, "0 to 1")
        self._check("value_clip", self.value_clip >= 0, "0 or more")
        self._check("critic_learning_rate", 0 < self.critic_learning_rate < np.inf, "more than 0")
        self._check("critic_epochs", self.critic_epochs >= 1, "a whole number from 1")
        self._check("critic_rank", self.critic_rank >= 1, "a whole number from 1")


@dataclass(frozen=True)
class PPOConfig(CriticConfig):
    clip_low: float = 0.2
    """How far below 1 the ratio still earns."""
    clip_high: float = 0.2
    """How far above 1 the ratio still earns."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("clip_low", 0 <= self.clip_low <= 1, "0 to 1")
        self._check("clip_high", self.clip_high >= 0, "0 or more")


@dataclass(frozen=True)
class MAACConfig(CriticConfig):
    gae_lambda: float = 1.0


@dataclass(frozen=True)
class Seen:
    """What the critic is to learn from the batch: prompts, its values before, and targets, of M messages."""

    rollout: Rollout
    prompts_M: list[Prompt]
    values_M: FloatArray
    targets_M: FloatArray


class ActorCritic(Algorithm):
    """What the three share: the critic, its advantages, its training. They differ in prompt, trace and loss."""

    joint: ClassVar[bool] = True
    """Whether the critic reads the joint prompt of the step, or the node's own."""
    config: CriticConfig

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.critic: Critic | None = None
        self.seen: Seen | None = None

    def bind(self, network: Network, *, seed: int, learning_rate: float) -> None:
        self.critic = Critic(network.backbone, self.config.critic_rank, derive(seed, "critic"))
        self.seen = None

    @property
    def extra_parameters(self) -> int:
        return 0 if self.critic is None else self.critic.parameters

    def advantages(self, rewards_QG: FloatArray) -> FloatArray:
        """Rewards alone do not do. Raises UsageError."""
        raise UsageError(f"the algorithm {self.name!r} has a critic that reads prompts: its advantages come from "
                         "assign(rollout, rewards), after bind(network)")  # fmt: skip

    def assign(self, rollout: Rollout, rewards_QGC: FloatArray) -> FloatArray:
        critic = self._critic
        prompts_M = joint_prompts(rollout, critic.backbone) if self.joint else own_prompts(rollout)
        values_M = critic.values(prompts_M)
        config, following = self.config, following_calls(rollout.topology, self.joint)
        estimates_QGC = generalised_advantages(
            rollout.by_call(values_M), rewards_QGC, following, config.gamma, config.gae_lambda
        )
        advantages_QGC = rollout.over_leaves(estimates_QGC)
        self.seen = Seen(rollout, prompts_M, values_M, values_M + rollout.by_message(advantages_QGC))
        return rollout.each_call(advantages_QGC, _standardised) if config.normalize else advantages_QGC

    def fit(self, rollout: Rollout, *, share: float, micro_batch_tokens: int) -> dict[str, float]:
        """One row of columns: `value_loss`, `explained_variance`, `critic_gradient_norm` (see `Critic.fit`)."""
        if self.seen is None or self.seen.rollout is not rollout:
            raise UsageError(f"the critic of {self.name!r} learns from a batch after assign(rollout, rewards)")
        seen, config = self.seen, self.config
        return self._critic.fit(
            seen.prompts_M,
            seen.values_M,
            seen.targets_M,
            learning_rate=config.critic_learning_rate * share,
            epochs=config.critic_epochs,
            value_clip=config.value_clip,
            micro_batch_tokens=micro_batch_tokens,
        )

    def tensors(self) -> dict[str, Tensor]:
        return {} if self.critic is None else self.critic.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self._critic.load_tensors(tensors)

    @property
    def _critic(self) -> Critic:
        if self.critic is None:
            raise UsageError(f"the algorithm {self.name!r} outside the trainer needs bind(network) first")
        return self.critic


class PPO(ActorCritic):
    name: ClassVar[str] = "ppo"
    Config: ClassVar[type[Any]] = PPOConfig
    config: PPOConfig
    takes_epochs: ClassVar[bool] = True
    joint: ClassVar[bool] = False

    def loss(self, batch: Minibatch) -> Tensor:
        config, advantages_M1 = self.config, batch.advantages_M[:, None]
        objective_MT = clipped_objective(token_ratio(batch), advantages_M1, config.clip_low, config.clip_high)
        return -((objective_MT * batch.mask_MT).sum(1) / batch.denominators_M).sum()

    def statistics(self, batch: Minibatch) -> dict[str, Tensor]:
        """`ratio`; `clipped`, 1 where the clipped objective is flat; `kl` of old to new policy."""
        return ratio_statistics(batch, token_ratio(batch), self.config.clip_low, self.config.clip_high)


class MAPPO(PPO):
    name: ClassVar[str] = "mappo"
    joint: ClassVar[bool] = True


class MAAC(ActorCritic):
    name: ClassVar[str] = "maac"
    Config: ClassVar[type[Any]] = MAACConfig

    def loss(self, batch: Minibatch) -> Tensor:
        return policy_gradient_loss(batch)


# ---------------------------------------------------------------------- advantages


def following_calls(topology: Topology, joint: bool) -> list[int | None]:
    """The next call of the trace of each call [C]: of the next step (`joint`), or the next of the same node."""
    calls = calls_of(topology)
    return [
        next((c for c, (later, other) in enumerate(calls) if later > step and (joint or other == node)), None)
        for step, node in calls
    ]


def generalised_advantages(
    values_QGC: FloatArray, rewards_QGC: FloatArray, following: Sequence[int | None], gamma: float, gae_lambda: float
) -> FloatArray:
    """A_c of every call [Q, G, C] along its trace, which ends with the reward of call c (see the module)."""
    expected_QGC, weight_C = np.zeros_like(values_QGC), np.ones(len(following))
    for call, after in reversed(list(enumerate(following))):
        expected_QGC[..., call] = -values_QGC[..., call]
        if after is not None:
            expected_QGC[..., call] += gamma * (values_QGC[..., after] + gae_lambda * expected_QGC[..., after])
            weight_C[call] = gamma * gae_lambda * weight_C[after]
    return expected_QGC + weight_C * rewards_QGC


def _standardised(advantages_QG: FloatArray) -> FloatArray:
    centred_QG = advantages_QG - advantages_QG.mean()
    # Equal advantages carry no signal, though rounding may put their mean beside them and their spread above zero.
    equal = np.ptp(advantages_QG) == 0.0
    return np.zeros_like(centred_QG) if equal else centred_QG / (advantages_QG.std() + 1e-8)


# ---------------------------------------------------------------------- what the critic reads


def own_prompts(rollout: Rollout) -> list[Prompt]:
    """What each message's node read before it spoke [M]."""
    questions_M = rollout.episode_M // rollout.rewards_QG.shape[1]
    return [
        Prompt(question, tuple(sample.prompt_ids))
        for question, sample in zip(questions_M.tolist(), rollout.samples, strict=True)
    ]


def joint_prompts(rollout: Rollout, backbone: Backbone) -> list[Prompt]:
    """What the whole network knew before each message's step [M], equal for all messages of an episode's step."""
    places = [(turn.request.episode, turn.request.step) for turn in rollout.turns]
    requests = {place: _joint_request(rollout, turn.request) for place, turn in zip(places, rollout.turns, strict=True)}
    ids = dict(zip(requests, map(tuple, backbone.encode_requests(list(requests.values()))), strict=True))
    samples = rollout.rewards_QG.shape[1]
    return [Prompt(place[0] // samples, ids[place]) for place in places]


def _joint_request(rollout: Rollout, request: NodeRequest) -> NodeRequest:
    """A request of the output node that hears every message of the steps before `request`, in the order of calls."""
    topology = rollout.topology
    messages = tuple(
        Incoming(call + 1, node, rollout.heard[request.episode, call])
        for call, (step, node) in enumerate(calls_of(topology))
        if step < request.step
    )
    position = topology.positions[topology.index(topology.output)]
    return replace(request, agent=topology.output, messages=messages, position=position, node_instruction="")
