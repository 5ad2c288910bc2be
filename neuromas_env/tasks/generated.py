"""Procedural tasks: endless training questions, and finite splits that never share a question with them.

A task's module holds its wording, an exact `solve`, which works from the prompt alone, and a class that draws questions
and reads answers. Here stands what they share: the splits, how random numbers are drawn, how an answer is found.
"""

from __future__ import annotations

import hashlib
import random
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from ..errors import UsageError
from ..task import SPLITS, Question, Task

# Of every 10 possible questions, 8 belong to training, one to validation, one to test: by the hash of the prompt,
# so that no split can ever hold a question of another, at any difficulty.
_BUCKETS = ("validation", "test", *["train"] * 8)
_MAX_MISSES = 20_000  # draws in a row without a new question, after which a split is taken to be complete

DIGITS = tuple("0123456789")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Draft:
    """A generated question before it has an id."""

    prompt: str
    answer: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def split_of(prompt: str) -> str:
    """The only split in which a question with this prompt may appear."""
    digest = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
    return _BUCKETS[int.from_bytes(digest, "big") % len(_BUCKETS)]


def parse_difficulty(text: str | None, default: str, lowest: int, highest: int) -> tuple[int, int]:
    """Read "2-3" or "4" as an inclusive range. Raises UsageError outside `lowest`..`highest`."""
    low, dash, high = (default if text is None else str(text)).partition("-")
    try:
        bounds = int(low), int(high if dash else low)
    except ValueError:
        bounds = (0, -1)
    if not lowest <= bounds[0] <= bounds[1] <= highest:
        raise UsageError(f"difficulty {text!r} is not a range LOW-HIGH within {lowest}-{highest}")
    return bounds


# New tasks draw by these alone. For a given seed Python promises the same sequence in every version only of `random()`,
# which is also faster than `randint`, `choice` and `shuffle`.


def between(rng: random.Random, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    return low + int(rng.random() * (high - low + 1))


def several(rng: random.Random, count: int, low: int, high: int) -> list[int]:
    """`count` whole numbers from `low` to `high`, both included."""
    random, span = rng.random, high - low + 1
    return [low + int(random() * span) for _ in range(count)]


def pick(rng: random.Random, items: Sequence[T]) -> T:
    return items[int(rng.random() * len(items))]


def shuffled(rng: random.Random, items: Iterable[T]) -> list[T]:
    return sorted(items, key=lambda _: rng.random())


def after_equals(text: str) -> str | None:
    """What a text says after its last `=`, white space aside; None without one. Anything further is part of it."""
    _, sign, answer = text.rpartition("=")
    return answer.strip() if sign else None


def read_digit(text: str, *, strict: bool) -> str | None:
    """The digit 0-9 that ends a text after `=`; not strict: the last number of the text, where it is one such digit."""
    if strict:
        answer = after_equals(text)
    else:
        numbers = re.findall(r"-?\d[\d.,]*", text)
        answer = numbers[-1].rstrip(".,") if numbers else None
    return answer if answer in DIGITS else None


class GeneratedTask(Task):
    """A task whose questions are drawn by `generate` from a seeded generator.

    The same (task version, options, split, index) gives the same question on every platform: only `random.Random`
    seeded by a string is used, which hashes with SHA-512. Finite splits hold no question twice; each is drawn when its
    first question is asked for.
    """

    sizes: ClassVar[Mapping[str, int | None]] = {"train": None, "validation": 500, "test": 1000}
    balanced: tuple[str, ...] = ()
    """Answers of which a finite split holds equally many; empty where answers fall as they come."""

    def __init__(self) -> None:
        self._finite: dict[str, list[Draft]] = {}

    @property
    @abstractmethod
    def variant(self) -> str:
        """The options that change which questions are drawn, as a short string; part of question ids."""

    @property
    def scarce(self) -> bool:
        """Whether questions may run out before `sizes` is reached; finite splits then hold what there is."""
        return False

    @abstractmethod
    def generate(self, rng: random.Random) -> Draft:
        """Draw one question, whatever its split."""

    def size(self, split: str) -> int | None:
        _check_split(split)
        size = self.sizes[split]
        return size if size is None or not self.scarce else len(self._finite_split(split, size))

    def question(self, split: str, index: int) -> Question:
        size = self.size(split)
        if index < 0 or (size is not None and index >= size):
            raise IndexError(f"{self.id} has no question {index} in split {split!r} (size {size or 'endless'})")
        draft = self._train(index) if size is None else self._finite_split(split, size)[index]
        name = f"{self.id}/{self.variant}/{split}/{index}"
        return Question(name, draft.prompt, draft.answer, metadata=draft.metadata)

    def _train(self, index: int) -> Draft:
        rng = random.Random(f"{self.id}/{self.variant}/train/{index}")
        while split_of((draft := self.generate(rng)).prompt) != "train":
            pass
        return draft

    def _finite_split(self, split: str, size: int) -> list[Draft]:
        if split not in self._finite:
            self._finite[split] = self._draw_split(split, size)
        return self._finite[split]

    def _draw_split(self, split: str, size: int) -> list[Draft]:
        rng = random.Random(f"{self.id}/{self.variant}/{split}")
        drafts: dict[str, Draft] = {}
        held: Counter[str] = Counter()
        share = size // max(1, len(self.balanced))
        misses = 0
        while len(drafts) < size and misses < _MAX_MISSES:
            misses += 1
            draft = self.generate(rng)
            full = bool(self.balanced) and held[draft.answer] == share
            if not full and split_of(draft.prompt) == split and draft.prompt not in drafts:
                drafts[draft.prompt] = draft
                held[draft.answer] += 1
                misses = 0
        if len(drafts) < size and self.balanced:
            share = min(held[answer] for answer in self.balanced)
            equal = [[d for d in drafts.values() if d.answer == answer][:share] for answer in self.balanced]
            return [draft for drafts_of_answer in equal for draft in drafts_of_answer]
        return list(drafts.values())


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
