"""What a topology is worth on a question: by playing it, or from a record of having played it.

An evaluator answers for many questions at once, each with a topology of its own, so that a search costs as few calls of
the language model as one network would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..errors import UsageError
from ..node import Message, NodeRequest, Policy
from ..task import Question, Task
from ..topology import Topology
from ..transcripts import read_transcript
from ..vector import VectorTextNetworkEnv


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one episode: the score of the answer, and the model calls and sampled tokens that it took."""

    score: float
    calls: int
    tokens: int


class Evaluator(Protocol):
    def __call__(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]: ...


class Played:
    """Plays every question through its own topology; `policy` speaks at all nodes of a step in one call.

    The nodes of a topology that is a part of `base` are given their messages under the labels that they have in
    `base`, which is what a network trained on it knows.
    """

    def __init__(
        self,
        task: Task,
        policy: Policy,
        split: str = "train",
        instructions: Mapping[str, str] | None = None,
        base: Topology | None = None,
    ) -> None:
        self.task, self.policy, self.split = task, policy, split
        self.instructions = dict(instructions or {})
        self.base = base

    def __call__(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]:
        places: dict[Topology, list[int]] = {}
        for place, topology in enumerate(topologies):
            places.setdefault(topology, []).append(place)
        envs = {topology: self._env(topology, [questions[place] for place in places[topology]]) for topology in places}
        calls, tokens = [0] * len(questions), [0] * len(questions)
        while waiting := [topology for topology, env in envs.items() if not env.done]:
            asked = {topology: self._labelled(places[topology], envs[topology].requests()) for topology in waiting}
            messages = iter(self.policy.act([request for requests in asked.values() for request in requests]))
            for topology, requests in asked.items():
                said: list[Message] = [next(messages) for _ in requests]
                for request, message in zip(requests, said, strict=True):
                    calls[request.episode] += message.calls
                    tokens[request.episode] += message.sampled_tokens
                envs[topology].step(said)
        scores = [0.0] * len(questions)
        for topology, env in envs.items():
            for place, score in zip(places[topology], env.scores, strict=True):
                scores[place] = score.value
        return [Evaluation(*each) for each in zip(scores, calls, tokens, strict=True)]

    def _env(self, topology: Topology, questions: Sequence[Question]) -> VectorTextNetworkEnv:
        own = {node: text for node, text in self.instructions.items() if node in topology.nodes}
        env = VectorTextNetworkEnv(self.task, topology, len(questions), self.split, instructions=own)
        env.reset(questions=questions)
        return env

    def _labelled(self, places: Sequence[int], requests: Sequence[NodeRequest]) -> list[NodeRequest]:
        """Requests with the episode's place in the whole batch, and the labels of `base`."""
        numbered = [replace(request, episode=places[request.episode]) for request in requests]
        return numbered if self.base is None else [_relabelled(request, self.base) for request in numbered]


def _relabelled(request: NodeRequest, base: Topology) -> NodeRequest:
    slots = {sender: slot for slot, sender in enumerate(base.incoming(request.agent), start=1)}
    return replace(request, messages=tuple(replace(each, slot=slots[each.sender]) for each in request.messages))


class Recorded:
    """What was recorded of some topologies on some questions; nothing is played.

    `questions` are those that every topology was asked. Raises UsageError where there is none.
    """

    def __init__(self, outcomes: Mapping[Topology, Mapping[str, Evaluation]], questions: Sequence[Question]) -> None:
        self.topologies = list(outcomes)
        self.outcomes = outcomes
        self.questions = [q for q in questions if all(q.id in asked for asked in outcomes.values())]
        if not self.questions:
            raise UsageError(f"no question was recorded of all {len(self.topologies)} topologies, so none can be asked")

    @classmethod
    def from_transcripts(cls, paths: Sequence[str | Path]) -> Recorded:
        """The record in transcripts, one topology each, all of one task.

        Raises TranscriptError for a file that cannot be read, UsageError for two of one topology or of other tasks.
        """
        outcomes: dict[Topology, dict[str, Evaluation]] = {}
        questions: dict[str, Question] = {}
        tasks: set[str] = set()
        for path in paths:
            transcript = read_transcript(path)
            header = transcript.header
            tasks.add(f"{header.task}-v{header.task_version}")
            if header.topology in outcomes:
                raise UsageError(f"{path} records the topology {header.topology}, of which there is another transcript")
            outcomes[header.topology] = {
                episode.question.id: Evaluation(
                    episode.score.value, len(episode.calls), sum(call.sampled_tokens for call in episode.calls)
                )
                for episode in transcript.episodes
            }
            questions |= {episode.question.id: episode.question for episode in transcript.episodes}
        if len(tasks) > 1:
            raise UsageError(f"the transcripts record different tasks: {', '.join(sorted(tasks))}")
        return cls(outcomes, list(questions.values()))

    def __call__(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]:
        found = []
        for question, topology in zip(questions, topologies, strict=True):
            if topology not in self.outcomes:
                known = ", ".join(map(str, self.topologies))
                raise UsageError(f"the topology {topology} was not recorded (accepted: {known})")
            if question.id not in self.outcomes[topology]:
                raise UsageError(f"the question {question.id} was not recorded of the topology {topology}")
            found.append(self.outcomes[topology][question.id])
        return found
