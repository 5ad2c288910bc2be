"""What there is to say of a task: the page that `neuromas tasks NAME` prints and the documentation shows."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from .errors import UsageError
from .registry import task_factory, task_options
from .task import SPLITS, Question, Task, split_size

COMMON = {
    "data": "a file or a folder of the published format",
    "difficulty": "a range LOW-HIGH, or one number",
    "shots": "solved examples before each question",
    "partition": "TRAIN-VALIDATION-TEST in per cent, of rows that are all test rows",
    "seed": "shuffles the options of a question; none keeps the published order",
    "allow_code_execution": "run the programs that models write, each locked in",
    "force_code_execution": "run them also where only resource limits contain them",
}
"""What options that several tasks take mean."""


@dataclass(frozen=True)
class Split:
    """A split as a table row: `size` and `sha256` as text, `origin` says how it compares with the published one."""

    name: str
    size: str
    sha256: str = ""
    origin: str = ""


@dataclass(frozen=True)
class TaskPage:
    """A task described. `body` is the text of its module after the first paragraph, as written (Markdown)."""

    name: str
    version: int
    summary: str
    body: str
    instruction: str
    max_message_tokens: int
    options: tuple[tuple[str, str, str], ...]
    """Each option's name, its default and its meaning."""
    source: str
    licence: str
    example: Question


def describe(task: Task) -> TaskPage:
    """The page of a task. Nothing is loaded for it."""
    factory = task_factory(task.name)
    return TaskPage(
        task.name,
        task.version,
        summary(task.name),
        "\n\n".join(documentation(factory).split("\n\n")[1:]),
        task.instruction,
        task.max_message_tokens,
        tuple(_options(factory)),
        task.source,
        task.licence,
        task.example(),
    )


def splits(task: Task) -> list[Split]:
    """The splits of a task with their hashes; what must be loaded is. Raises DataFileError where that fails."""
    found = []
    for split in SPLITS:
        size = split_size(task, split)
        if size is None:
            found.append(Split(split, "endless"))
        elif size:
            found.append(Split(split, f"{size:,}", task.split_hash(split), task.origin(split)))
    return found


def sample(task: Task, count: int, seed: int = 0) -> list[Question]:
    """Questions drawn at random from the last split that has any: test, else validation, else train."""
    for split in reversed(SPLITS):
        size = split_size(task, split)
        if size != 0:
            indices = random.Random(seed).sample(range(size or 1_000_000), count if size is None else min(count, size))
            return [task.question(split, index) for index in sorted(indices)]
    return []


def summary(name: str) -> str:
    """What a task is, in a sentence: its own `summary`, else the first of its docstring, or of its module's."""
    factory = task_factory(name)
    own = getattr(factory, "summary", "") or _member_summary(factory)
    if own:
        return own
    return re.split(r"(?<=[.?!]) ", " ".join(documentation(factory).split()), maxsplit=1)[0]


def _member_summary(factory: Callable[..., Task]) -> str:
    """The summary of a family's member, which only the made task knows."""
    if not isinstance(factory, partial):
        return ""
    try:
        return factory().summary
    except UsageError:  # a package that the family needs is not installed: the family's own sentence serves
        return ""


def documentation(factory: Any) -> str:
    """The docstring of a task's class, or of its module."""
    made = factory.func if isinstance(factory, partial) else factory
    module = inspect.getmodule(made)
    own = made.__doc__ if "__doc__" in vars(made) else None
    return inspect.cleandoc(own or (module.__doc__ if module else "") or "")


def _options(factory: Callable[..., Task]) -> Iterator[tuple[str, str, str]]:
    for name, parameter in (task_options(factory) or {}).items():
        default = "" if parameter.default is parameter.empty else str(parameter.default).lower()
        yield name, default, COMMON.get(name, "")
