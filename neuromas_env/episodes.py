"""Drive any policy through a batch of episodes: the one loop that training, evaluation and baselines share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .budget import Meter
from .errors import UnknownNameError
from .node import Message, NodeRequest, Policy
from .task import Question, Score, Task
from .topology import Topology
from .vector import VectorTextNetworkEnv

if TYPE_CHECKING:
    from .transcripts import TranscriptWriter


@dataclass(frozen=True, slots=True)
class Turn:
    """One speech: what a node was asked and what it said. `message.text` is what was said, not what was delivered."""

    request: NodeRequest
    message: Message


@dataclass(frozen=True)
class EpisodeBatch:
    """The outcome of E episodes. `turns` are ordered by step, then node, then episode."""

    questions: list[Question]
    indices: list[int | None]
    answers: list[str]
    scores: list[Score]
    turns: list[Turn]
    flagged: list[tuple[int, str, int, tuple[str, ...]]]

    @property
    def rewards_E(self) -> np.ndarray:
        return np.array([score.value for score in self.scores])

    @property
    def accuracy(self) -> float:
        return float(self.rewards_E.mean())


def run_episodes(
    task: str | Task,
    topology: str | Topology,
    policy: Policy,
    questions: Sequence[Question] | Sequence[int],
    *,
    split: str = "test",
    instructions: Mapping[str, str] | None = None,
    meter: Meter | None = None,
    transcript: TranscriptWriter | None = None,
    silence: Collection[str] = (),
    dropped: Callable[[NodeRequest], bool] | None = None,
) -> EpisodeBatch:
    """Let `policy` speak at every node for every question, and score the answers.

    `questions` are Question objects or indices into `split`. The messages of the nodes in `silence` are replaced by
    the empty message before anyone hears them, and so are single messages for which `dropped` says so (which a
    transcript does not record); their calls still count. `meter` counts what the policy spends, and only its `act` is
    timed. A policy that answers with another number of messages raises ValueError.
    """
    env = VectorTextNetworkEnv(task, topology, len(questions) or 1, split, instructions=instructions)
    for node in silence:
        if node not in env.topology.nodes:
            raise UnknownNameError("node in silence", node, env.topology.nodes)
    env.reset(questions=questions)
    turns: list[Turn] = []
    while not env.done:
        requests = env.requests()
        with meter or nullcontext():
            messages = policy.act(requests)
        if len(messages) != len(requests):
            raise ValueError(f"the policy gave {len(messages)} messages for {len(requests)} requests")
        if meter is not None:
            meter.add(messages)
        turns += map(Turn, requests, messages)
        if silence or dropped is not None:
            messages = [
                replace(message, text="")
                if request.agent in silence or (dropped is not None and dropped(request))
                else message
                for request, message in zip(requests, messages, strict=True)
            ]
        env.step(messages)
    batch = EpisodeBatch(env.questions, env.indices, env.answers, env.scores, turns, env.flagged)
    if transcript is not None:
        transcript.write(batch, env, silence)
    return batch
