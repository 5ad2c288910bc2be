"""The task contract: questions with known answers, in splits that never overlap, and the score of an answer."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `prompt` is all that nodes see; `answer` is the reference; `choices` are the options, if any."""

    id: str
    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one answer.

    `value` (0 or 1) follows the strict rule of the task, `flexible` a lenient one; `parsed` is what was read as the
    answer, or None; `status` is "correct", "wrong" or "unparsed". An unparsed answer is wrong.
    """

    value: float
    parsed: str | None
    status: str
    flexible: float


class Task(ABC):
    """A source of questions and the judge of their answers.

    A task is versioned: whatever changes a question, a split or a score raises `version`.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 0
    instruction: str = ""
    """How to answer, for models that read instructions; it is the same for every question."""
    max_message_tokens: int = 200
    """The longest message of a node, in tokens of the backbone; the same for every method."""
    max_message_chars: int = 4000

    @property
    def id(self) -> str:
        return f"{self.name}-v{self.version}"

    @abstractmethod
    def size(self, split: str) -> int | None:
        """The number of questions in `split`; None where it is endless. Raises ValueError for an unknown split."""

    @abstractmethod
    def question(self, split: str, index: int) -> Question:
        """The question at `index` (from 0). Raises ValueError for an unknown split, IndexError beyond its size."""

    @abstractmethod
    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        """What `text` gives as the answer, or None. Strict wants the task's answer format, flexible a plain reading."""

    def score(self, question: Question, text: str) -> Score:
        parsed = self.parse(question, text)
        lenient = self.parse(question, text, strict=False)
        value = float(parsed is not None and parsed == question.answer)
        status = "unparsed" if parsed is None else "correct" if value else "wrong"
        return Score(value, parsed, status, float(lenient is not None and lenient == question.answer))

    def split_hash(self, split: str) -> str:
        """SHA-256 over ids, prompts and answers of a finite split, in order. Raises ValueError where it is endless."""
        size = self.size(split)
        if size is None:
            raise ValueError(f"split {split!r} of {self.id} is endless; only finite splits have a hash")
        digest = hashlib.sha256()
        for index in range(size):
            question = self.question(split, index)
            digest.update(f"{question.id}\0{question.prompt}\0{question.answer}\0".encode())
        return digest.hexdigest()
