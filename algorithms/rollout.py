"""One batch of experience: Q questions, G episodes of each, every message with its ids and log-probabilities.

Where `branching` is given, the episodes of a question form a tree: from the messages of step s the network goes on
`branching[s + 1]` times, so that episodes share their early messages, which are sampled, metered and trained once. (A
message is then worth the mean of what follows from it; MALT, arXiv 2412.01928, searches such a tree.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from neuromas_env.episodes import Turn, run_episodes
from neuromas_env.errors import UsageError
from neuromas_env.node import Message, NodeRequest
from neuromas_env.task import Question, Score, Task
from neuromas_env.topology import Topology

from .algorithm import FloatArray
from .packing import TrainSample
from .seeds import derive

if TYPE_CHECKING:
    from neuromas_env.budget import Meter

    from .network import Network

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SamplingPolicy:
    """The network as it speaks in training: sampled at `temperature`, from a seed that counts the steps."""

    network: Network
    temperature: float
    seed: int
    max_tokens: int | None = None

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        if not requests:
            return []
        limited = limit(requests, self.max_tokens)
        return self.network.sample(limited, temperature=self.temperature, seed=derive(self.seed, requests[0].step))


@dataclass(frozen=True)
class TreePolicy:
    """A policy that speaks once for all episodes that share a message; the others repeat it at no cost.

    `leaves_S`: how many consecutive episodes share a message of each step.
    """

    policy: SamplingPolicy
    leaves_S: Sequence[int]

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        sampled = [request for request in requests if request.episode % self.leaves_S[request.step] == 0]
        spoken = iter(self.policy.act(sampled))
        messages: list[Message] = []
        for request in requests:
            first = request.episode % self.leaves_S[request.step] == 0
            messages.append(next(spoken) if first else Message(messages[-1].text, finish_reason="scripted", calls=0))
        return messages


def limit(requests: Sequence[NodeRequest], max_tokens: int | None) -> Sequence[NodeRequest]:
    """The requests with no message longer than `max_tokens`, where one is given."""
    if max_tokens is None:
        return requests
    return [replace(request, max_tokens=min(max_tokens, request.max_tokens)) for request in requests]


@dataclass(frozen=True)
class Rollout:
    """What the network did on one batch. The M samples are its turns, in the order of speaking.

    `rewards_QG`: score of every episode; `unparsed`: share of answers that could not be read; `samples`: what
    training needs of each turn; `episode_M`: which episode (question * G + sample) each turn belongs to; `call_M`:
    which call of the schedule it is, of the C calls of an episode; `leaves_C`: how many consecutive episodes share
    a message of each call (1 without a tree).
    """

    topology: Topology
    questions: list[Question]
    scores: list[Score]
    rewards_QG: FloatArray
    unparsed: float
    turns: list[Turn]
    samples: list[TrainSample]
    episode_M: IntArray
    node_M: IntArray
    call_M: IntArray
    truncated_M: npt.NDArray[np.bool_]
    heard: dict[tuple[int, int], str] = field(repr=False)
    """What the receivers heard at (episode, call): the text, or nothing where the message was dropped."""
    leaves_C: tuple[int, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether every episode has messages of its own."""
        return max(self.leaves_C) == 1

    @cached_property
    def tokens_M(self) -> FloatArray:
        """Sampled tokens of each message, the end token included."""
        return np.array([len(sample.completion_ids) for sample in self.samples], dtype=np.float64)

    def by_call(self, values_M: npt.NDArray[np.generic]) -> FloatArray:
        """Values of messages as [Q, G, C]; episodes that share a message have its value."""
        Q, G, C = *self.rewards_QG.shape, len(self.leaves_C)
        values_EC = np.zeros((Q * G, C))
        values_EC[self.episode_M, self.call_M] = values_M
        first_EC = np.arange(Q * G)[:, None] // np.array(self.leaves_C) * np.array(self.leaves_C)
        return values_EC[first_EC, np.arange(C)].reshape(Q, G, C)

    def by_message(self, values_QGC: FloatArray) -> FloatArray:
        """Undo `by_call`: the value [M] of every message."""
        values_M: FloatArray = values_QGC.reshape(-1, values_QGC.shape[2])[self.episode_M, self.call_M]
        return values_M

    def over_leaves(self, values_QGC: FloatArray) -> FloatArray:
        """The mean [Q, G, C] over the episodes that share each message; the values themselves without a tree."""
        Q, G, _ = values_QGC.shape
        columns = [
            values_QGC[..., call].reshape(Q, G // leaves, leaves).mean(axis=2).repeat(leaves, axis=1)
            for call, leaves in enumerate(self.leaves_C)
        ]
        return np.stack(columns, axis=2)

    def each_call(self, values_QGC: FloatArray, function: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """`function` of the values [Q, G'] of each call's G' own messages, one call at a time, as [Q, G, C]."""
        columns = []
        for call, leaves in enumerate(self.leaves_C):
            columns.append(np.repeat(function(values_QGC[:, ::leaves, call]), leaves, axis=1))
        return np.stack(columns, axis=2)


def calls_of(topology: Topology) -> list[tuple[int, str]]:
    """The C calls of an episode in order: who speaks at which step."""
    return [(step, node) for step, speakers in enumerate(topology.schedule) for node in speakers]


def roll_out(
    network: Network,
    task: Task,
    questions: Sequence[Question],
    samples: int,
    *,
    temperature: float,
    seed: int,
    max_tokens: int | None = None,
    instructions: Mapping[str, str] | None = None,
    meter: Meter | None = None,
    branching: Sequence[int] | None = None,
    dropout: float = 0.0,
) -> Rollout:
    """Run `samples` episodes of each question; equal arguments give equal rollouts.

    `branching` makes them a tree (see the module). `dropout` is the share of messages that nobody hears; the output's
    are always heard. Raises UsageError for a branching that does not fit.
    """
    topology, E = network.topology, len(questions) * samples
    policy = SamplingPolicy(network, temperature, seed, max_tokens)
    leaves_S = [1] * topology.horizon if branching is None else leaves_of(branching, samples, topology)
    calls = calls_of(topology)
    call_of = {call: index for index, call in enumerate(calls)}
    heard_EC = np.random.default_rng(derive(seed, "dropout")).random((E, len(calls))) >= dropout if dropout else None

    def dropped(request: NodeRequest) -> bool:
        if heard_EC is None or request.agent == topology.output:
            return False
        return not heard_EC[request.episode, call_of[request.step, request.agent]]

    batch = run_episodes(
        task,
        topology,
        policy if branching is None else TreePolicy(policy, leaves_S),
        [question for question in questions for _ in range(samples)],
        split="train",
        instructions=instructions,
        meter=meter,
        dropped=dropped if dropout else None,
    )
    turns = [turn for turn in batch.turns if turn.message.token_ids]
    nodes = [topology.index(turn.request.agent) for turn in turns]
    return Rollout(
        topology=topology,
        questions=list(questions),
        scores=batch.scores,
        rewards_QG=np.array([score.value for score in batch.scores], dtype=np.float64).reshape(-1, samples),
        unparsed=float(np.mean([score.unread for score in batch.scores])),
        turns=turns,
        samples=[
            # Episodes of one question share the task text, whatever its id: group by the question's row.
            TrainSample(node, turn.request.episode // samples, turn.message.prompt_ids, turn.message.token_ids)
            for node, turn in zip(nodes, turns, strict=True)
        ],
        episode_M=np.array([turn.request.episode for turn in turns], dtype=np.int64),
        node_M=np.array(nodes, dtype=np.int64),
        call_M=np.array([call_of[turn.request.step, turn.request.agent] for turn in turns], dtype=np.int64),
        truncated_M=np.array([turn.message.finish_reason == "length" for turn in turns], dtype=bool),
        heard={
            (turn.request.episode, call_of[turn.request.step, turn.request.agent]): (
                "" if dropped(turn.request) else turn.message.text
            )
            for turn in batch.turns
        },
        leaves_C=tuple(leaves_S[step] for step, _ in calls),
    )


def leaves_of(branching: Sequence[int], samples: int, topology: Topology) -> list[int]:
    """How many episodes of a question share a message of each step. Raises UsageError where that does not add up."""
    spelled = "-".join(map(str, branching))
    if len(branching) != topology.horizon or min(branching, default=0) < 1 or math.prod(branching) != samples:
        raise UsageError(
            f"the branching {spelled!r} does not make {samples} samples of a question in the {topology.horizon} steps "
            f"of {topology} (accepted: {topology.horizon} whole numbers from 1 whose product is {samples}, such as "
            f"{'-'.join(map(str, default_branching(samples, topology.horizon)))})"
        )
    return [samples // math.prod(branching[: step + 1]) for step in range(len(branching))]


def default_branching(samples: int, horizon: int) -> list[int]:
    """The most even tree of `samples` leaves: the prime factors of `samples`, dealt out to the steps from the first."""
    branching, left, factor = [1] * horizon, samples, 2
    factors: list[int] = []
    while left > 1:
        while left % factor:
            factor += 1
        factors.append(factor)
        left //= factor
    for place, prime in enumerate(sorted(factors, reverse=True)):
        branching[place % horizon] *= prime
    return branching
