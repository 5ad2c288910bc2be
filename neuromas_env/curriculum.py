"""A curriculum: difficulties from easy to hard, and the measured success at which training moves on to the next.

    curriculum = Curriculum.parse("1,2,2-3", threshold=0.8, window=5)
    tasks = curriculum.make_tasks("chain")
    progress = curriculum.start()
    for update in range(80):
        success = train_on(tasks[progress.level])  # the share of right answers
        progress = progress.record(success)

A level is left when the mean of the last `window` successes at it is at least `threshold`; it is never returned to,
and none is skipped. To keep easier questions in, write a level as a range: in `1,1-2,1-3` each level holds those before
it. Nothing here draws a random number: where a curriculum stands follows from the successes alone, and goes into
JSON and back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from .errors import UsageError
from .registry import make_task, task_factory, task_options
from .task import Task

THRESHOLD, WINDOW = 0.8, 5


@dataclass(frozen=True)
class Curriculum:
    """The plan: `levels` are values of a task's option `difficulty`, the easiest first.

    `threshold` is a share of right answers, `window` a number of recorded successes. Raises UsageError for levels
    that are missing, empty or doubled, and for a threshold or window that no success could meet.
    """

    levels: tuple[str, ...]
    threshold: float = THRESHOLD
    window: int = WINDOW

    def __post_init__(self) -> None:
        accepted = "accepted: different difficulties, the easiest first, such as 1,2,2-3"
        if not self.levels:
            raise UsageError(f"a curriculum has no levels ({accepted})")
        for place, level in enumerate(self.levels, start=1):
            if not re.fullmatch(r"[^\s,]+", level):
                raise UsageError(f"curriculum level {place} cannot be {level!r} ({accepted})")
            if level in self.levels[: place - 1]:
                raise UsageError(f"curriculum level {level!r} is there twice ({accepted})")
        if not 0 < self.threshold <= 1:
            raise UsageError(f"curriculum threshold cannot be {self.threshold} (accepted: more than 0, at most 1)")
        if self.window < 1:
            raise UsageError(f"curriculum window cannot be {self.window} (accepted: a whole number from 1)")

    @classmethod
    def parse(cls, text: str, threshold: float = THRESHOLD, window: int = WINDOW) -> Curriculum:
        """The curriculum over the levels in `text`, with commas or spaces between them."""
        return cls(tuple(re.split(r"\s*,\s*|\s+", text.strip())), threshold, window)

    def __str__(self) -> str:
        return ",".join(self.levels)

    def start(self) -> Progress:
        return Progress(self)

    def make_tasks(self, id: str, **options: Any) -> dict[str, Task]:
        """The task `id` at each level; `options` are the further ones of `make_task`.

        Raises UnknownNameError for an unknown task, UsageError for one that takes no difficulty, and for a level that
        it refuses.
        """
        accepted = task_options(task_factory(id))
        if accepted is not None and "difficulty" not in accepted:
            raise UsageError(f"task {id!r} takes no difficulty, so it has no curriculum")
        tasks = {}
        for level in self.levels:
            try:
                tasks[level] = make_task(id, difficulty=level, **options)
            except UsageError as error:
                raise UsageError(f"curriculum level {level!r}: {error}") from None
        return tasks

    def resume(self, values: Mapping[str, Any]) -> Progress:
        """Undo `Progress.to_json`. Raises UsageError for a record that is not one of this curriculum."""
        try:
            index, recent = self.levels.index(values["level"]), tuple(map(_share, values["recent"]))
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{values} does not say where the curriculum {self} stands") from None
        if len(recent) > self.window:
            raise UsageError(f"{values} holds more successes than the {self.window} that count in this curriculum")
        return Progress(self, index, recent)


@dataclass(frozen=True)
class Progress:
    """Where a curriculum stands: at level `index`, after the successes `recent`, the last `window` at this level."""

    curriculum: Curriculum
    index: int = 0
    recent: tuple[float, ...] = ()

    @property
    def level(self) -> str:
        """The difficulty to train on now."""
        return self.curriculum.levels[self.index]

    def record(self, success: float) -> Progress:
        """Where it stands after one more success at this level, a share of right answers from 0 to 1."""
        curriculum = self.curriculum
        recent = (*self.recent, _share(success))[-curriculum.window :]
        # `statistics.mean` rounds once: the mean of 0.7, 0.7 and 0.7 is 0.7, where their sum by three falls short.
        learnt = len(recent) == curriculum.window and mean(recent) >= curriculum.threshold
        if learnt and self.index + 1 < len(curriculum.levels):
            return Progress(curriculum, self.index + 1)
        return replace(self, recent=recent)

    def to_json(self) -> dict[str, Any]:
        return {"level": self.level, "recent": list(self.recent)}


def _share(success: float) -> float:
    if not 0 <= success <= 1:
        raise UsageError(f"a success cannot be {success} (accepted: a share of right answers, 0 to 1)")
    return float(success)
