"""What a system spends. Every method, trained or not, is measured by the same meter."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType

from .node import Message


@dataclass
class Meter:
    """Counts calls, prompt tokens, sampled tokens and wall-clock seconds.

    `add` counts messages; `with meter:` counts the seconds of the block (nested blocks of one meter count once).
    """

    calls: int = 0
    prompt_tokens: int = 0
    sampled_tokens: int = 0
    seconds: float = 0.0
    _depth: int = field(default=0, repr=False)
    _started: float = field(default=0.0, repr=False)

    def add(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.calls += message.calls
            self.prompt_tokens += message.prompt_tokens
            self.sampled_tokens += message.sampled_tokens

    def per_question(self, questions: int) -> dict[str, float]:
        """`calls`, `prompt_tokens` and `sampled_tokens`, each divided by the number of questions."""
        spent = {"calls": self.calls, "prompt_tokens": self.prompt_tokens, "sampled_tokens": self.sampled_tokens}
        return {name: value / questions for name, value in spent.items()}

    def __enter__(self) -> Meter:
        if self._depth == 0:
            self._started = time.perf_counter()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._started
