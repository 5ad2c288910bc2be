"""One batch of experience: Q questions, G episodes of each, every message with its ids and log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from neuromas_env.episodes import Turn, run_episodes
from neuromas_env.node import Message, NodeRequest
from neuromas_env.task import Question, Task

from .algorithm import FloatArray
from .packing import TrainSample
from .seeds import derive

if TYPE_CHECKING:
    from neuromas_env.budget import Meter

    from .network import Network


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


def limit(requests: Sequence[NodeRequest], max_tokens: int | None) -> Sequence[NodeRequest]:
    """The requests with no message longer than `max_tokens`, where one is given."""
    if max_tokens is None:
        return requests
    return [replace(request, max_tokens=min(max_tokens, request.max_tokens)) for request in requests]


@dataclass(frozen=True)
class Rollout:
    """What the network did on one batch. The M samples are its turns, in the order of speaking.

    `rewards_QG`: score of every episode; `unparsed`: share of answers that could not be read; `samples`: what
    training needs of each turn; `episode_M`: which episode (question * G + sample) each turn belongs to.
    """

    questions: list[Question]
    rewards_QG: FloatArray
    unparsed: float
    turns: list[Turn]
    samples: list[TrainSample]
    episode_M: np.ndarray
    node_M: np.ndarray
    truncated_M: np.ndarray


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
) -> Rollout:
    """Run `samples` episodes of each question; equal arguments give equal rollouts."""
    policy = SamplingPolicy(network, temperature, seed, max_tokens)
    episodes = [question for question in questions for _ in range(samples)]
    batch = run_episodes(
        task, network.topology, policy, episodes, split="train", instructions=instructions, meter=meter
    )
    turns = [turn for turn in batch.turns if turn.message.token_ids]
    nodes = [network.topology.index(turn.request.agent) for turn in turns]
    return Rollout(
        questions=list(questions),
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
        truncated_M=np.array([turn.message.finish_reason == "length" for turn in turns], dtype=bool),
    )


def node_statistics(rollout: Rollout, nodes: Sequence[str]) -> dict[str, dict[str, float]]:
    """How each node speaks, over its turns of the batch.

    `tokens`: mean length of a message, end token included; `empty`: share of messages without text; `truncated`:
    share cut at the limit; `entropy`: the mean of -log p of its tokens, an unbiased estimate (in nats a token) of
    the entropy of what it samples.
    """
    statistics: dict[str, dict[str, float]] = {}
    for index, node in enumerate(nodes):
        rows = np.flatnonzero(rollout.node_M == index)
        if not len(rows):
            continue
        messages = [rollout.turns[row].message for row in rows]
        logprobs = [value for message in messages for value in message.logprobs]
        statistics[node] = {
            "tokens": float(np.mean([message.sampled_tokens for message in messages])),
            "empty": float(np.mean([not message.text.strip() for message in messages])),
            "truncated": float(np.mean(rollout.truncated_M[rows])),
            "entropy": -float(np.mean(logprobs)) if logprobs else 0.0,
        }
    return statistics
