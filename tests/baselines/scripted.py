"""Playing a workflow with scripted nodes: what was asked of whom, what it cost, and that its transcript replays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from algorithms import Backbone, load_backbone
from algorithms.config import TrainConfig
from baselines.base import Context, make_method
from neuromas_env import Message, Meter, NodeRequest, make_task, run_episodes
from neuromas_env.transcripts import TranscriptWriter, replay
from tests.algorithms import tiny_models

CHAIN = make_task("chain")
QUESTIONS = [CHAIN.question("test", index) for index in range(4)]

Words = Mapping[str, str] | Callable[[NodeRequest], str]


@dataclass
class Script:
    """Says what `words` has for a node; a node that it does not have must not be asked. It stands in for `speak`."""

    words: Words
    asked: list[NodeRequest] = field(default_factory=list)
    temperatures: set[float] = field(default_factory=set)

    def __call__(self, temperature: float) -> Script:
        self.temperatures.add(temperature)
        return self

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        self.asked += requests
        words = self.words if callable(self.words) else lambda request: self.words[request.agent]
        return [Message(words(request), token_ids=(1, 2, 3), prompt_ids=(4, 5)) for request in requests]

    def heard(self, node: str) -> list[str]:
        """What a node was told by others when it was asked."""
        (request,) = (request for request in self.asked if request.agent == node)
        return [message.text for message in request.messages if message.text]


@dataclass(frozen=True)
class Played:
    answers: list[str]
    script: Script
    calls: float

    @property
    def answer(self) -> str:
        (answer,) = self.answers
        return answer

    @property
    def spoke(self) -> list[str]:
        return [request.agent for request in self.script.asked]


def context(backbone: Backbone, **changes: Any) -> Context:
    training = TrainConfig("chain")
    given = {"task": CHAIN, "questions": QUESTIONS, "seed": 0, "backbone": backbone, "weights": "weights"}
    return Context(**{**given, "training": training, "compared": training, "out": Path("unused"), **changes})


def chat_words(name: str, **own: str) -> dict[str, dict[str, str]]:
    """The instructions of a method as chat models get them, so that a test does not hang on the tiny model's kind."""
    method = make_method(name)
    return {method.name: {**{key: wording.chat for key, wording in method.wordings.items()}, **own}}


def play(name: str, words: Words, backbone: Backbone, folder: Path, questions: int = 1, **own: str) -> Played:
    """Ask `questions` questions of `chain`; metered calls must be those made, and the transcript must replay."""
    method: Any = make_method(name)
    script, meter = Script(words), Meter()
    system = method.system(context(backbone, wordings=chat_words(name, **own)), script)
    file = folder / "transcript.jsonl"
    with TranscriptWriter(file, method=name, seed=0) as transcript:
        batch = run_episodes(
            CHAIN,
            system.topology,
            system.policy,
            range(questions),
            instructions=system.instructions,
            meter=meter,
            transcript=transcript,
        )
    assert replay(file, task=CHAIN) == batch.scores
    assert (meter.calls, meter.sampled_tokens, meter.prompt_tokens) == tuple(n * len(script.asked) for n in (1, 3, 2))
    return Played(batch.answers, script, meter.calls / questions)


def run(name: str, backbone: Backbone, seed: int = 0) -> tuple[list[str], float]:
    """The answers of the method itself on `chain`, and its calls a question."""
    meter = Meter()
    system = make_method(name).prepare(context(backbone, seed=seed))
    count = len(QUESTIONS)
    batch = run_episodes(
        CHAIN, system.topology, system.policy, range(count), instructions=system.instructions, meter=meter
    )
    return batch.answers, meter.calls / count


def chat_model(folder: Path) -> Backbone:
    """A random Qwen3 with a chat template."""
    return load_backbone(tiny_models.save(folder, "qwen3"))
