"""The task contract: questions with known answers, in splits that never overlap, and the score of an answer."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import UsageError

SPLITS = ("train", "validation", "test")
STATUSES = ("correct", "wrong", "unparsed", "missing", "failed")


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
    answer, or None. `status` says how it ended (`STATUSES`); all but "correct" are wrong and earn 0:

    correct   read, and right
    wrong     read, and not right
    unparsed  there is a text, but no answer can be read in it
    missing   there is no text
    failed    the judge could not judge it: its time ran out, say, or the program could not be run
    """

    value: float
    parsed: str | None
    status: str
    flexible: float

    @property
    def unread(self) -> bool:
        """Whether no answer could be read: there was no text, or none in it."""
        return self.status in ("unparsed", "missing")


def split_size(task: Task, split: str) -> int | None:
    """The size of a split, None where it is endless, 0 where the task has none of that name.

    A data file at fault is not taken for a missing split: its DataFileError is raised.
    """
    try:
        return task.size(split)
    except UsageError:
        raise
    except ValueError:
        return 0


def questions_hash(questions: Iterable[Question]) -> str:
    """SHA-256 over ids, prompts and answers, in order."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(f"{question.id}\0{question.prompt}\0{question.answer}\0".encode())
    return digest.hexdigest()


def make_score(parsed: str | None, correct: bool, flexible: bool, text: str) -> Score:
    """The score of an answer of which `parsed` was read (None: nothing) and found right or wrong."""
    if parsed is None:
        return Score(0.0, None, "unparsed" if text.strip() else "missing", float(flexible))
    return Score(float(correct), parsed, "correct" if correct else "wrong", float(flexible))


class Task(ABC):
    """A source of questions and the judge of their answers.

    A task is versioned: whatever changes a question, a split or a score raises `version`.
    """

    name: str
    """The id under which the task is registered: `chain`, or `family/member`."""
    version: int = 0
    source: str = "made by this project from a seed"
    """Where the questions come from, for the task's page."""
    licence: str = "Apache-2.0"
    """Under which licence the questions are published."""
    summary: str = ""
    """One sentence for lists of tasks, where the first of the docstring would not do."""
    trains_on_data: bool = False
    """Whether training questions come from the data file too; else they are the task's own."""
    instruction: str = ""
    """How to answer, for models that read instructions; it is the same for every question."""
    max_message_tokens: int = 200
    """The longest message of a node, in tokens of the backbone; the same for every method."""
    max_message_chars: int = 4000

    @property
    def id(self) -> str:
        return f"{self.name}-v{self.version}"

    @property
    def variant(self) -> str:
        """The options that change which questions there are, as a short string."""
        return ""

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
        return make_score(parsed, parsed == question.answer, lenient is not None and lenient == question.answer, text)

    def score_all(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        """The scores of many answers, in order. Tasks whose judge is slow do it several at a time."""
        return [self.score(question, text) for question, text in zip(questions, texts, strict=True)]

    def origin(self, split: str) -> str:
        """How a split compares with the published one of that name, in a few words; "" where nothing is known."""
        return ""

    def check_scoring(self) -> None:  # noqa: B027 (most tasks have nothing to check)
        """Raise UsageError where answers could not be judged here, before any is asked for.

        A judge may need a package that is not installed, or to run programs, which a user must have allowed.
        """

    def example(self) -> Question:
        """A question for the task's page: one of its own, or one made up where those must be loaded first."""
        return self.question("train", 0)

    def split_hash(self, split: str) -> str:
        """SHA-256 over ids, prompts and answers of a finite split, in order. Raises ValueError where it is endless."""
        size = self.size(split)
        if size is None:
            raise ValueError(f"split {split!r} of {self.id} is endless; only finite splits have a hash")
        return questions_hash(self.question(split, index) for index in range(size))
