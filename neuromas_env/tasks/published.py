"""Tasks whose questions were published as files: where rows come from, how they are split, and by what hash.

Rows come from `--data PATH`. One file is the split `test`; of a folder, each file of the published layout is the split
that its name says; without a path, the dataset is taken from the hub at a pinned revision. Nothing is read before a
split is asked for, and a file at fault gives no row at all.

partition   `60-20-20` divides the rows of a task that has test rows only into train, validation and test, in per
            cent, by the hash of each question: the same question falls into the same split whatever stands around it
shots       so many solved examples before each question, from the published development split; where there is none,
            they are the first training rows, which are then no training questions
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import DataFileError, UsageError
from ..task import SPLITS, Question, Task
from .hub import HubSource, load_from_hub
from .records import Record, read_records

DEVELOPMENT = "dev"
"""The split of worked examples. It is no split to train on or to be judged by."""


@dataclass(frozen=True)
class Item:
    """A published question, before solved examples stand in front of it.

    `worked` is its answer as an example shows it. Where options are part of the prompt, `stem` is what is asked without
    them and `gold` the text of the right one.
    """

    id: str
    prompt: str
    answer: str
    worked: str
    choices: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stem: str = ""
    gold: str = ""

    @cached_property
    def key(self) -> str:
        """The hash of what is asked: equal for equal questions, whatever their ids and the order of their options."""
        return _sha256([self.stem or self.prompt, sorted(self.choices)])

    @cached_property
    def content(self) -> str:
        """The hash of all that was published of it."""
        return _sha256([self.id, self.key, self.gold or self.answer, dict(self.metadata)])


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True, sort_keys=True).encode()).hexdigest()


class PublishedTask(Task):
    """A task over published rows. Subclasses say where they are, how one is read, and how an answer is."""

    hub: HubSource
    trains_on_data = True
    files: Mapping[str, Sequence[str]]
    """The split of each file in a published folder: glob patterns by split, the first that matches counts."""
    columns: Sequence[str] = ()
    """The fields of CSV files without a header line."""
    rows: Mapping[str, int] = {}
    """How many rows each published split has."""
    hashes: Mapping[str, str] = {}
    """The `content_hash` of published splits, where it is known."""
    partition: tuple[int, int, int] | None = None
    one_file: bool = False
    """Whether one published file holds the rows of all splits, told apart by `belongs`."""

    def __init__(self, data: str | Path | None = None, shots: int = 0, partition: str | None = None) -> None:
        self.data = None if data is None else Path(data)
        if self.data is not None and not self.data.exists():
            raise DataFileError(f"there is no data file or folder {self.data}")
        if not 0 <= shots <= 32:
            raise UsageError(f"shots is {shots}; 0 to 32 solved examples are accepted")
        self.shots = shots
        if partition is not None:
            self.partition = _parse_partition(partition)
        self._published: dict[str, list[Item]] = {}
        self._items: dict[str, list[Item]] = {}

    @abstractmethod
    def read(self, record: Record) -> Item:
        """The question in one row. Raises DataFileError, through `record`, for a row that is none."""

    @abstractmethod
    def example(self) -> Question:
        """A question made up in the published format: no published row is part of this package."""

    def belongs(self, item: Item, split: str) -> bool:
        """Whether a row of a file for all splits is of `split`."""
        return True

    def read_file(self, path: Path) -> list[Record]:
        return read_records(path, self.columns)

    # ------------------------------------------------------------------ the contract of a task

    @property
    def variant(self) -> str:
        parts = ["-".join(map(str, self.partition))] if self.partition else []
        return ".".join([*parts, *([f"{self.shots}shot"] if self.shots else [])])

    def size(self, split: str) -> int | None:
        return len(self.items(split))

    def question(self, split: str, index: int) -> Question:
        items = self.items(split)
        if not 0 <= index < len(items):
            raise IndexError(f"{self.id} has no question {index} in split {split!r} (size {len(items)})")
        item = items[index]
        name = "/".join([self.id, *filter(None, [self.variant]), split, item.id])
        prompt = "".join(f"{shot.prompt}\n{shot.worked}\n\n" for shot in self._examples()) + item.prompt
        return Question(name, prompt, item.answer, item.choices, item.metadata)

    # ------------------------------------------------------------------ splits

    def items(self, split: str) -> list[Item]:
        """The questions of a split; training and validation hold none that a later split has."""
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r} of {self.id}; there are {', '.join(SPLITS)}")
        if split not in self._items:
            found = self._divided(split) if self.partition else self._source(split)
            later = SPLITS[SPLITS.index(split) + 1 :]
            taken = {item.key for name in later for item in self.items(name)}
            if split == "train" and not self._has(DEVELOPMENT):
                taken |= {item.key for item in self._examples()}
            self._items[split] = [item for item in found if item.key not in taken]
        return self._items[split]

    def content_hash(self, split: str) -> str:
        """SHA-256 over the published rows of a split as they are read, before options, examples and partition."""
        return hashlib.sha256("\n".join(item.content for item in self._source(split)).encode()).hexdigest()

    def origin(self, split: str) -> str:
        """Whether the rows of a split are those published: "as published", "not as published", or ""."""
        if split not in self.hashes or self.partition:
            return ""
        return "as published" if self.content_hash(split) == self.hashes[split] else "not as published"

    def _divided(self, split: str) -> list[Item]:
        """The part of the published test rows that the partition gives to `split`."""
        assert self.partition is not None
        if self._has("train"):
            raise UsageError(f"{self.id} is published with training questions; partition is for tasks without")
        place = SPLITS.index(split)
        low = sum(self.partition[:place])
        high = low + self.partition[place]
        return [item for item in self._source("test") if low <= int(item.key[:8], 16) % 100 < high]

    def _examples(self) -> Sequence[Item]:
        """The solved examples that stand before every question; none of them is a question to be judged by."""
        if not self.shots:
            return ()
        pool = DEVELOPMENT if self._has(DEVELOPMENT) else "train"
        items = self._divided(pool) if self.partition and pool == "train" else self._source(pool)
        judged = {item.key for split in ("validation", "test") for item in self.items(split)}
        items = [item for item in items if item.key not in judged]
        if len(items) < self.shots:
            raise UsageError(
                f"{self.id} has {len(items)} development questions; {self.shots} solved examples need as many"
                + ("" if items else " (a folder with the published files, or a partition, may have them)")
            )
        return items[: self.shots]

    # ------------------------------------------------------------------ where rows come from

    def _has(self, split: str) -> bool:
        if self.data is None:
            return split in self.hub.splits
        return self._file(split) is not None

    def _source(self, split: str) -> list[Item]:
        """The published rows of `split` or `dev`; none where the published data has no such split."""
        if split not in self._published:
            if not self._has(split):
                records = []
            elif self.data is None:
                records = load_from_hub(self.hub, split)
            else:
                path = self._file(split)
                assert path is not None
                records = self.read_file(path)
            items = self._distinct([(self.read(record), record) for record in records])
            self._published[split] = [item for item in items if self.belongs(item, split)]
        return self._published[split]

    def _file(self, split: str) -> Path | None:
        """The file with the rows of `split`."""
        assert self.data is not None
        if not self.data.is_dir():
            return self.data if split == "test" or self.one_file else None
        found = self._folder(split)
        if not found and not any(self._folder(name) for name in self.files):
            patterns = ", ".join(pattern for patterns in self.files.values() for pattern in patterns)
            raise DataFileError(f"the folder {self.data} holds no file of {self.id} (looked for {patterns})")
        return found

    def _folder(self, split: str) -> Path | None:
        assert self.data is not None
        for pattern in self.files.get(split, ()):
            for path in sorted(self.data.glob(pattern)):
                if path.is_file():
                    return path
        return None

    def _distinct(self, read: list[tuple[Item, Record]]) -> list[Item]:
        """The items, if no id stands twice. Raises DataFileError for the second of two."""
        seen: dict[str, str] = {}
        for item, record in read:
            if item.id in seen:
                raise DataFileError(f"{record.where}: the id {item.id!r} is taken ({seen[item.id]})")
            seen[item.id] = record.where
        return [item for item, _ in read]


def _parse_partition(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"(\d{1,3})-(\d{1,3})-(\d{1,3})", str(text))
    parts = tuple(map(int, match.groups())) if match else ()
    if len(parts) != 3 or sum(parts) != 100 or not parts[2]:
        raise UsageError(f"partition is {text!r}; TRAIN-VALIDATION-TEST in per cent is accepted, such as 60-20-20")
    return parts
