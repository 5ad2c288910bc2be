"""Which tasks there are, found by exact name: built-in, registered, or an entry point of the group `neuromas.tasks`.

A task class takes its options as keyword arguments. Three have the same meaning everywhere: `data`, the path of a file
or folder with questions in the task's published format; `difficulty`, a range "LOW-HIGH" of whole numbers or one
number; `allow_code_execution`, without which no task runs a program that a model wrote.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pettingzoo

from .errors import UsageError
from .names import Names, imported
from .task import Task
from .tasks.catalog import FAMILIES, SINGLE, builtin_names

ENVIRONMENT_VERSION = 0
TaskFactory = Callable[..., Task]
COMMON = ("data", "difficulty", "allow_code_execution")
"""The options that have the same meaning for every task."""


def _built_in(name: str) -> TaskFactory:
    family, _, member = name.partition("/")
    factory: TaskFactory = imported("tasks." + (FAMILIES[family] if member else SINGLE[name]), str(__package__))
    return partial(factory, member) if member else factory


TASKS: Names[TaskFactory] = Names("task", "neuromas.tasks", builtin_names(), _built_in)


def task_names() -> list[str]:
    """The ids of all tasks, sorted. Nothing is imported for it."""
    return TASKS.all()


def register_task(factory: TaskFactory, name: str | None = None) -> TaskFactory:
    """Make a task class known under `name` (its own `name` by default); usable as a class decorator.

    Raises UsageError for a name that is taken or malformed: letters, digits, `_`, `-`, `.`, at most one `/`.
    """
    name = name or str(getattr(factory, "name", ""))
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise UsageError(f"bad task name {name!r}: letters, digits, '_', '-', '.' and at most one '/' are accepted")
    TASKS.register(name, factory)
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
    return TASKS.find(name)


def make_task(
    id: str | Task,
    data: str | Path | None = None,
    difficulty: str | None = None,
    allow_code_execution: bool = False,
    **options: Any,
) -> Task:
    """The task `id` with its options; a Task object is given back as it is.

    Option values may be texts, as typed on a command line: they are read as what the task's own signature says.

    Raises UnknownNameError for an unknown id, UsageError for an option that the task does not take, and what the task
    raises for an option's value (DataFileError for a bad data file).
    """
    common = {"data": data, "difficulty": difficulty, "allow_code_execution": allow_code_execution or None}
    options |= {name: value for name, value in common.items() if value is not None}
    if isinstance(id, Task):
        if options:
            raise UsageError(f"the task {id.id} is already made; options ({', '.join(options)}) need the task's name")
        return id
    factory = task_factory(id)
    accepted = task_options(factory)
    for option, value in options.items():
        if accepted is None:
            break
        if option not in accepted:
            raise UsageError(f"task {id!r} takes no option {option!r}; it takes {', '.join(accepted) or 'none'}")
        options[option] = _read_option(option, value, accepted[option])
    return factory(**options)


def typed_options(options: Mapping[str, str] | None) -> dict[str, str]:
    """Options of a task as typed on a command line. Raises UsageError for one that has an option of its own there."""
    for name in options or {}:
        if name in COMMON:
            raise UsageError(f"the task option {name!r} has an option of its own: --{name.replace('_', '-')}")
    return dict(options or {})


def task_options(factory: TaskFactory) -> dict[str, inspect.Parameter] | None:
    """The options that a task takes, by name; None where it takes whatever it is given."""
    parameters = inspect.signature(factory).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _read_option(option: str, value: Any, parameter: inspect.Parameter) -> Any:
    """A text as the whole number or the truth value that the parameter's annotation wants."""
    wanted = str(parameter.annotation)
    if not isinstance(value, str) or "str" in wanted:
        return value
    if value.lower() == "none" and "None" in wanted:
        return None
    if "bool" in wanted and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if "int" in wanted and re.fullmatch(r"[+-]?\d+", value):
        return int(value)
    kinds = [
        name
        for name, kind in (("true or false", "bool"), ("a whole number", "int"), ("none", "None"))
        if kind in wanted
    ]
    if not kinds:
        return value
    raise UsageError(f"task option {option!r} is {value!r}; accepted: {', '.join(kinds)}")
