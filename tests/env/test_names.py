"""The look-up that tasks, methods and algorithms share."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from neuromas_env import names
from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.names import Names


@pytest.fixture
def fruits(monkeypatch: pytest.MonkeyPatch) -> Names[Any]:
    """Two that are built in; a package offers one of the same name, one sound one and one that cannot be imported."""
    offered = EntryPoints(
        EntryPoint(name, value, "tests.fruits")
        for name, value in (("apple", "json:dumps"), ("cherry", "json:loads"), ("rotten", "no_such_package:fruit"))
    )
    monkeypatch.setattr(names, "entry_points", lambda **wanted: offered.select(**wanted))
    return Names("fruit", "tests.fruits", {"apple": 1, "banana": 2}, lambda name: f"built-in {name}")


def test_what_is_built_in_wins_and_nothing_is_imported_to_list(fruits: Names[Any]) -> None:
    import json

    assert fruits.all() == ["apple", "banana", "cherry", "rotten"]
    assert fruits.sure() == ["apple", "banana"]
    assert [fruits.find(name) for name in fruits.sure()] == ["built-in apple", "built-in banana"]
    assert fruits.find("cherry") is json.loads
    with pytest.raises(ModuleNotFoundError):
        fruits.find("rotten")


@pytest.mark.parametrize("taken", ["apple", "cherry", "damson"])
def test_a_name_is_given_once(fruits: Names[Any], taken: str) -> None:
    damson = object()
    fruits.register("damson", damson)
    assert "damson" in fruits.sure()
    fruits.register("damson", damson)  # the same thing again, as when a module is imported twice
    with pytest.raises(UsageError, match=f"the fruit name '{taken}' is taken"):
        fruits.register(taken, object())
    assert fruits.find("damson") is damson


def test_names_are_exact_and_forgotten_ones_are_gone(fruits: Names[Any]) -> None:
    fruits.register("damson", object())
    with pytest.raises(UnknownNameError, match="unknown fruit 'Damson'; did you mean damson"):
        fruits.find("Damson")
    fruits.forget("damson")
    assert "damson" not in fruits.all()
    with pytest.raises(UnknownNameError, match="unknown registered fruit 'apple'"):
        fruits.forget("apple")
