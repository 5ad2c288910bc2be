"""Greedy answers to the first questions of the validation split, the same ones every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neuromas_env.episodes import run_episodes
from neuromas_env.node import Message, NodeRequest
from neuromas_env.task import Question, Task

from .rollout import limit

if TYPE_CHECKING:
    from .network import Network


@dataclass(frozen=True)
class GreedyPolicy:
    """The network as it speaks when it is judged."""

    network: Network
    max_tokens: int | None = None

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return self.network.sample(limit(requests, self.max_tokens), temperature=0.0, seed=0)


def validation_questions(task: Task, count: int) -> list[Question]:
    """The first `count` questions of the validation split, fewer where it is smaller, none where there is none."""
    try:
        size = task.size("validation")
    except ValueError:
        return []
    return [task.question("validation", index) for index in range(count if size is None else min(count, size))]


def validate(
    network: Network,
    task: Task,
    questions: Sequence[Question],
    *,
    max_tokens: int | None = None,
    instructions: Mapping[str, str] | None = None,
    transcript: Path | None = None,
    transcript_episodes: int = 0,
) -> dict[str, float]:
    """`validation_accuracy` and `validation_unparsed` over `questions`; some episodes are written to `transcript`."""
    policy = GreedyPolicy(network, max_tokens)
    batch = run_episodes(
        task, network.topology, policy, questions, split="validation", instructions=instructions
    )
    unparsed = sum(score.status == "unparsed" for score in batch.scores) / len(batch.scores)
    return {"validation_accuracy": batch.accuracy, "validation_unparsed": unparsed}
