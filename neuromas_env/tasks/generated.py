"""Procedural tasks: endless training questions, and finite splits that never share a question with them."""

from __future__ import annotations

import hashlib
import random
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import UsageError
from ..task import SPLITS, Question, Task

# Of every 10 possible questions, 8 belong to training, one to validation, one to test: by the hash of the prompt,
# so that no split can ever hold a question of another, at any difficulty.
_BUCKETS = ("validation", "test", *["train"] * 8)
_MAX_DRAWS = 20_000


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

    @abstractmethod
    def generate(self, rng: random.Random) -> Draft:
        """Draw one question, whatever its split."""

    def size(self, split: str) -> int | None:
        _check_split(split)
        return self.sizes[split]

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
            rng = random.Random(f"{self.id}/{self.variant}/{split}")
            drafts: dict[str, Draft] = {}
            room = dict.fromkeys(self.balanced, size // max(1, len(self.balanced)))
            misses = 0
            while len(drafts) < size:
                draft = self.generate(rng)
                fresh = split_of(draft.prompt) == split and draft.prompt not in drafts
                if fresh and room.get(draft.answer, 1):
                    drafts[draft.prompt] = draft
                    misses = 0
                    if room:
                        room[draft.answer] -= 1
                elif (misses := misses + 1) > _MAX_DRAWS:
                    raise UsageError(f"{self.id} at {self.variant} has fewer than {size} different {split} questions")
            self._finite[split] = list(drafts.values())
        return self._finite[split]


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
