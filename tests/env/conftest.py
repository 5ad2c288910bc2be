"""A small task and small speakers that the tests of the environment share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from neuromas_env import Message, NodeRequest, Question, Task


class Spell(Task):
    """Repeat the word of the question after a colon."""

    name: ClassVar[str] = "spell"
    instruction = "Answer with a colon and the word."
    max_message_tokens = 5
    max_message_chars = 40
    words = ("red", "green", "blue", "naïve", "水")

    def size(self, split: str) -> int | None:
        if split not in ("train", "test"):
            raise ValueError(f"unknown split {split!r}")
        return None if split == "train" else len(self.words)

    def question(self, split: str, index: int) -> Question:
        size = self.size(split)
        if index < 0 or (size is not None and index >= size):
            raise IndexError(index)
        word = self.words[index % len(self.words)]
        return Question(f"spell/{split}/{index}", f"word {index}: {word}", word, metadata={"n": index})

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return text[1:] if text.startswith(":") else None


class Scripted:
    """A policy made of a function from a request to a text."""

    def __init__(self, speak: Callable[[NodeRequest], str]) -> None:
        self.speak = speak
        self.batches: list[list[NodeRequest]] = []

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        self.batches.append(list(requests))
        return [Message(self.speak(r), token_ids=(1, 2), prompt_ids=(1, 2, 3)) for r in requests]


@pytest.fixture
def spell() -> Spell:
    return Spell()


@pytest.fixture
def parrot() -> Scripted:
    """Says the last word of the question, and nodes after the first layer what they hear."""
    return Scripted(lambda r: " ".join([f"{r.agent}@{r.step}", *(m.text.split()[0] for m in r.messages if m.text)]))


@pytest.fixture
def solver() -> Scripted:
    return Scripted(lambda r: ":" + r.task.split(": ")[1])
