"""A small task and small speakers that the tests of the environment share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from spell import Spell

from neuromas_env import Message, NodeRequest


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
