"""Many questions at once: the same engine as the single environment, in lock-step, active nodes only.

batch = neuromas_env.vector_env("chain", topology="2-2-1", num_envs=256)
batch.reset()
while not batch.done:
    requests = batch.requests()              # one layer of all episodes: ONE generate call
    batch.step(network.act(requests))
batch.rewards_E
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from .engine import Engine
from .errors import EpisodeOverError, InvalidMessageError, UnknownNameError, UsageError
from .node import Message, NodeRequest
from .registry import make_task
from .task import Question, Score, Task
from .text import sanitise
from .topology import Topology

ENDLESS = 2**31
"""Questions of an endless split are drawn from this many indices."""

ON_INVALID = ("flag", "raise")


def check_setting(
    task: Task, topology: str | Topology, split: str, instructions: Mapping[str, str] | None, on_invalid: str
) -> tuple[Topology, dict[str, str], int]:
    """The topology, the instruction of every node and the number of questions to draw from; both environments use it.

    Raises UsageError for an unknown split, an empty one, answers that could not be judged here, or another value of
    `on_invalid` than "flag" and "raise";
    UnknownNameError for an instruction to a node that is not there.
    """
    if isinstance(topology, str):
        topology = Topology.parse(topology)
    if on_invalid not in ON_INVALID:
        raise UsageError(f"bad on_invalid {on_invalid!r}: 'flag' or 'raise' is accepted")
    for node in instructions or {}:
        if node not in topology.nodes:
            raise UnknownNameError("node in instructions", node, topology.nodes)
    try:
        size = task.size(split)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None
    if size == 0:
        raise UsageError(f"the split {split!r} of task {task.id} is empty; choose another")
    task.check_scoring()
    given = instructions or {}
    return topology, {node: given.get(node, "") for node in topology.nodes}, ENDLESS if size is None else size


class VectorTextNetworkEnv:
    """`num_envs` episodes of one task on one topology, stepped together.

    After the last step `scores`, `rewards_E` and `answers` hold the outcome. `flagged` lists the messages that were
    repaired, as (episode, node, step, flags). Dimension suffix: E episodes.
    """

    def __init__(
        self,
        task: str | Task,
        topology: str | Topology = "1-1-1",
        num_envs: int = 1,
        split: str = "train",
        *,
        data: str | Path | None = None,
        instructions: Mapping[str, str] | None = None,
        on_invalid: str = "flag",
        **task_options: Any,
    ) -> None:
        self.task = make_task(task, data=data, **task_options)
        self.topology, self.instructions, self._size = check_setting(
            self.task, topology, split, instructions, on_invalid
        )
        self.split, self.on_invalid = split, on_invalid
        self.num_envs = int(num_envs)
        if self.num_envs < 1:
            raise UsageError(f"num_envs is {num_envs}; at least 1 is needed")
        self.np_random, _ = seeding.np_random(None)
        self.questions: list[Question] = []
        self.indices: list[int | None] = []
        self.scores: list[Score] = []
        self.flagged: list[tuple[int, str, int, tuple[str, ...]]] = []
        self.rewards_E = np.zeros(self.num_envs)
        self._engine: Engine | None = None
        self._requests: list[NodeRequest] | None = None

    def reset(
        self,
        seeds: int | Sequence[int] | None = None,
        questions: Sequence[int] | Sequence[Question] | None = None,
    ) -> list[Question]:
        """Start new episodes and return their questions.

        `questions` (indices into the split, or Question objects) says which; their number may differ from `num_envs`,
        which then follows it. Else `seeds` draws them: one seed for the batch, or one an episode, each of which draws
        the question that the single environment draws from it. Without either, drawing goes on from before.
        """
        if questions is not None:
            chosen: Sequence[int] | Sequence[Question] = questions
        elif seeds is None or isinstance(seeds, int | np.integer):
            if seeds is not None:
                self.np_random, _ = seeding.np_random(int(seeds))
            chosen = self.np_random.integers(self._size, size=self.num_envs).tolist()
        else:
            chosen = [int(seeding.np_random(int(seed))[0].integers(self._size)) for seed in seeds]
        if not len(chosen):
            raise UsageError("a batch needs at least one question")
        task, split = self.task, self.split
        self.questions = [q if isinstance(q, Question) else task.question(split, int(q)) for q in chosen]
        self.indices = [None if isinstance(q, Question) else int(q) for q in chosen]
        self.num_envs = len(self.questions)
        self._engine = Engine(self.topology, self.num_envs)
        self._requests, self.flagged, self.scores = None, [], []
        self.rewards_E = np.zeros(self.num_envs)
        return self.questions

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise EpisodeOverError("reset the environment before it is used")
        return self._engine

    @property
    def done(self) -> bool:
        return self.engine.done

    @property
    def answers(self) -> list[str]:
        """The answers of the output node, one an episode ("" before it has spoken)."""
        return self.engine.answers

    def requests(self) -> list[NodeRequest]:
        """What the nodes that speak now are asked, ordered by node and then by episode; empty at the end."""
        if self._requests is None:
            self._requests = make_requests(self.engine, self.task, self.questions, self.instructions)
        return self._requests

    def step(self, messages: Sequence[Message | str | None]) -> None:
        """Deliver the answers to `requests()`, in their order; the last step scores the episodes.

        Raises ValueError for another number of messages, TypeError for one that is no text, InvalidMessageError for
        one that needs repair where `on_invalid` is "raise", EpisodeOverError after the end.
        """
        engine, E = self.engine, self.num_envs
        if engine.done:
            raise EpisodeOverError("the episodes are over; reset the environment")
        speakers, limit = engine.speakers, self.task.max_message_chars
        if len(messages) != len(speakers) * E:
            raise ValueError(f"{len(speakers) * E} messages are needed, one a request; {len(messages)} were given")
        texts: dict[str, list[str]] = {}
        flagged = []
        for k, node in enumerate(speakers):
            column = []
            for episode in range(E):
                text, flags = sanitise(messages[k * E + episode], limit)
                column.append(text)
                if flags:
                    flagged.append((episode, node, engine.step, flags))
            texts[node] = column
        if flagged and self.on_invalid == "raise":
            episode, node, _, flags = flagged[0]
            raise InvalidMessageError(f"the message of {node} in episode {episode} is invalid: {', '.join(flags)}")
        self.flagged += flagged
        engine.deliver(texts)
        self._requests = None
        if engine.done:
            self.scores = self.task.score_all(self.questions, engine.answers)
            self.rewards_E = np.array([score.value for score in self.scores])


def make_requests(
    engine: Engine, task: Task, questions: Sequence[Question], instructions: Mapping[str, str]
) -> list[NodeRequest]:
    """The requests of this step's speakers, by node and then by episode."""
    requests: list[NodeRequest] = []
    step, rule, limit = engine.step, task.instruction, task.max_message_tokens
    for node in engine.speakers:
        position, own = engine.topology.position(node, step), instructions[node]
        requests += [
            NodeRequest(node, episode, step, question.id, question.prompt, inbox, position, rule, own, limit)
            for episode, (question, inbox) in enumerate(zip(questions, engine.inboxes(node), strict=True))
        ]
    return requests


def vector_env(
    task: str | Task, topology: str | Topology = "1-1-1", num_envs: int = 1, split: str = "train", **options: Any
) -> VectorTextNetworkEnv:
    """A batch of episodes in lock-step; the options are those of VectorTextNetworkEnv and of the task."""
    return VectorTextNetworkEnv(task, topology, num_envs, split, **options)
