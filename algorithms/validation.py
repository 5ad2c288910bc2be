"""Greedy answers to the first questions of the validation split, the same ones every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuromas_env.episodes import run_episodes
from neuromas_env.node import Message, NodeRequest
from neuromas_env.task import Task, split_size

from .rollout import limit

if TYPE_CHECKING:
    from neuromas_env.transcripts import TranscriptWriter

    from .network import Network


@dataclass(frozen=True)
class GreedyPolicy:
    """The network as it speaks when it is judged."""

    network: Network
    max_tokens: int | None = None

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return self.network.sample(limit(requests, self.max_tokens), temperature=0.0, seed=0)


def validation_size(task: Task, wanted: int) -> int:
    """How many of the first `wanted` questions of the validation split there are; 0 where there is no such split."""
    size = split_size(task, "validation")
    return wanted if size is None else min(wanted, size)


def validate(
    network: Network,
    task: Task,
    questions: int,
    *,
    max_tokens: int | None = None,
    instructions: Mapping[str, str] | None = None,
    transcript: TranscriptWriter | None = None,
) -> dict[str, float]:
    """`validation_accuracy` and `validation_unparsed` over the first `questions`; `transcript` records episodes."""
    batch = run_episodes(
        task,
        network.topology,
        GreedyPolicy(network, max_tokens),
        range(questions),
        split="validation",
        instructions=instructions,
        transcript=transcript,
    )
    unparsed = sum(score.unread for score in batch.scores) / questions
    return {"validation_accuracy": batch.accuracy, "validation_unparsed": unparsed}
