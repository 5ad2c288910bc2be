"""Engines by the name that is typed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from neuromas_env.errors import UnknownNameError, UsageError

from .base import Engine

TRANSFORMERS = "transformers"
ENGINES = {
    TRANSFORMERS: "local:TransformersEngine",
    "scripted": "scripted:ScriptedEngine.from_file",
}


def make_engine(text: str = TRANSFORMERS, model: str = "") -> Engine:
    """The engine typed as NAME or NAME:ARGUMENT, for the backbone `model`.

    Raises UnknownNameError for another name, UsageError where the argument is missing, too much or wrong.
    """
    name, colon, argument = text.partition(":")
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    module, _, attribute = ENGINES[name].partition(":")
    make: Callable[..., Engine] = import_module(f".{module}", __package__)  # type: ignore[assignment]
    for part in attribute.split("."):
        make = getattr(make, part)
    if name == TRANSFORMERS:
        if colon:
            raise UsageError(f"engine {text!r}: {name!r} takes nothing after ':'")
        return make()
    return make(argument, model)
