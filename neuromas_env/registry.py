"""Which tasks there are, found by exact name: built-in, registered, or an entry point of the group `neuromas.tasks`.

A task class takes its options as keyword arguments. Two have the same meaning everywhere: `data`, the path of a file
with questions in the task's published format, and `difficulty`, a range "LOW-HIGH" of whole numbers or one number.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pettingzoo

from .errors import UnknownNameError, UsageError
from .task import Task

ENVIRONMENT_VERSION = 0
TaskFactory = Callable[..., Task]

BUILTIN = {"chain": "tasks.chain:Chain", "navigate": "tasks.navigate:Navigate"}
_registered: dict[str, TaskFactory] = {}


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="neuromas.tasks") if point.name not in BUILTIN}


def task_names() -> list[str]:
    """The ids of all tasks, sorted. Nothing is imported for it."""
    return sorted({*BUILTIN, *_entry_points(), *_registered})


def register_task(factory: TaskFactory, name: str | None = None) -> TaskFactory:
    """Make a task class known under `name` (its own `name` by default); usable as a class decorator.

    Raises UsageError for a name that is taken or malformed: letters, digits, `_`, `-`, `.`, at most one `/`.
    """
    name = name or str(getattr(factory, "name", ""))
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise UsageError(f"bad task name {name!r}: letters, digits, '_', '-', '.' and at most one '/' are accepted")
    if name in BUILTIN or name in _entry_points() or _registered.get(name, factory) is not factory:
        raise UsageError(f"the task name {name!r} is taken; choose another")
    _registered[name] = factory
    _register_environment(name)
    return factory


def register_environments() -> None:
    """Make all tasks known to PettingZoo as `neuromas/<task>-v0`; called once when neuromas_env is imported."""
    for name in task_names():
        _register_environment(name)


def _register_environment(name: str) -> None:
    """The version in the id is that of the environment; a task's own version is `task.version`.

    PettingZoo allows one "/" in an id, so the task `family/name` has the id `neuromas/family:name-v0`.
    """
    env_id = f"neuromas/{name.replace('/', ':')}-v{ENVIRONMENT_VERSION}"
    if env_id not in pettingzoo.parallel_registry:
        pettingzoo.register("parallel", env_id, entry_point=f"{__package__}.env:parallel_env", kwargs={"task": name})
        pettingzoo.register("aec", env_id, entry_point=f"{__package__}.env:env", kwargs={"task": name})


def task_factory(name: str) -> TaskFactory:
    """The class (or factory) of the task `name`. Raises UnknownNameError with close matches."""
    if name in _registered:
        return _registered[name]
    if name in BUILTIN:
        module, _, attribute = BUILTIN[name].partition(":")
        return getattr(import_module(f".{module}", __package__), attribute)
    if name in _entry_points():
        return _entry_points()[name].load()
    raise UnknownNameError("task", name, task_names())


def make_task(id: str | Task, data: str | Path | None = None, difficulty: str | None = None, **options: Any) -> Task:
    """The task `id` with its options; a Task object is given back as it is.

    Raises UnknownNameError for an unknown id, UsageError for an option that the task does not take, and what the task
    raises for an option's value (DataFileError for a bad data file).
    """
    common = {"data": data, "difficulty": difficulty}
    options |= {name: value for name, value in common.items() if value is not None}
    if isinstance(id, Task):
        if options:
            raise UsageError(f"the task {id.id} is already made; options ({', '.join(options)}) need the task's name")
        return id
    factory = task_factory(id)
    parameters = inspect.signature(factory).parameters.values()
    accepted = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for option in options:
            if option not in accepted:
                raise UsageError(f"task {id!r} takes no option {option!r}; it takes {', '.join(accepted) or 'none'}")
    return factory(**options)
