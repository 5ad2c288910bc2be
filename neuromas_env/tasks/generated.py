"""Procedural tasks: endless training questions, and finite splits that never share a question with them."""

from __future__ import annotations

import hashlib
import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import UsageError
from ..task import SPLITS, Question, Task

# Of every 10 possible questions, 8 belong to training, one to validation, one to test: by the hash of the prompt,
# so that no split can ever hold a question of another, at any difficulty.
_BUCKETS = ("validation", "test", *["train"] * 8)
_MAX_MISSES = 20_000  # draws in a row without a new question, after which a split is taken to be complete


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


class GeneratedTask(Task):
    """A task whose questions are drawn by `generate` from a seeded generator.

    The same (task version, options, split, index) gives the same question on every platform: only `random.Random`
    seeded by a string is used, which hashes with SHA-512. Finite splits hold no question twice.
    """

    sizes: ClassVar[Mapping[str, int | None]] = {"train": None, "validation": 500, "test": 1000}
    balanced: ClassVar[tuple[str, ...]] = ()
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
            if split_of(draft.prompt) == split and draft.prompt not in drafts and not full:
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
