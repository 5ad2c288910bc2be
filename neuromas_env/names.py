"""Things that users name: found by exact name among what is built in, registered in this process, or an entry point."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from .errors import UnknownNameError, UsageError

T = TypeVar("T")


class Names(Generic[T]):
    """The names of one kind of thing ("task", "method", "algorithm"). Nothing is imported before it is asked for.

    `built_in` are the names that come with the library and `load` imports one of them; other packages offer theirs as
    entry points of the group `group`. What is built in wins over an entry point of the same name.
    """

    def __init__(self, kind: str, group: str, built_in: Collection[str], load: Callable[[str], T]) -> None:
        self.kind, self.group = kind, group
        self._built_in, self._load = built_in, load
        self._registered: dict[str, T] = {}

    @cached_property
    def _offered(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group) if point.name not in self._built_in}

    def all(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.sure(), *self._offered})

    def sure(self) -> list[str]:
        """Those that `find` finds without importing another package, which might fail, sorted."""
        return sorted({*self._built_in, *self._registered})

    def register(self, name: str, thing: T) -> None:
        """Make `thing` known as `name` in this process. Raises UsageError for a name that something else has."""
        if name in self._built_in or name in self._offered or self._registered.get(name, thing) is not thing:
            raise UsageError(f"the {self.kind} name {name!r} is taken; choose another")
        self._registered[name] = thing

    def forget(self, name: str) -> None:
        """Undo `register`. Raises UnknownNameError for a name that was not registered in this process."""
        if name not in self._registered:
            raise UnknownNameError(f"registered {self.kind}", name, self._registered)
        del self._registered[name]

    def find(self, name: str) -> T:
        """What is known as exactly `name`. Raises UnknownNameError with close matches and what exists."""
        if name in self._registered:
            return self._registered[name]
        if name in self._built_in:
            return self._load(name)
        if name in self._offered:
            offered: T = self._offered[name].load()
            return offered
        raise UnknownNameError(self.kind, name, self.all())


def imported(path: str, package: str) -> Any:
    """What "module:attribute" of `package` names."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(f".{module}", package), attribute)
