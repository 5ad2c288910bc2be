"""Engines by the name that is typed: NAME[:ARGUMENT][:OPTION=VALUE]..., such as openai:http://host/v1:concurrency=8."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from neuromas_env.errors import UnknownNameError, UsageError

from .base import Engine

TRANSFORMERS = "transformers"
ENGINES = {
    TRANSFORMERS: "local:make",
    "openai": "openai:make",
    "scripted": "scripted:make",
    "vllm": "vllm:make",
}
"""Where each engine is made, of its argument, the name of the backbone, and its options as numbers."""
OPTION = re.compile(r":([a-z_]+)=([^:/]*)$")


def make_engine(text: str = TRANSFORMERS, model: str = "") -> Engine:
    """The engine typed as `text`, for the backbone `model`.

    Raises UnknownNameError for another name or option, UsageError where the argument is missing, too much or wrong.
    """
    head, options = text, dict[str, float]()
    while found := OPTION.search(head):
        head = head[: found.start()]
        try:
            options[found[1]] = float(found[2])
        except ValueError:
            raise UsageError(f"engine {text!r}: {found[1]} is a number, not {found[2]!r}") from None
    name, colon, argument = head.partition(":")
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    if colon and not argument:
        raise UsageError(f"engine {text!r}: something must follow ':'")
    module, _, function = ENGINES[name].partition(":")
    make: Callable[[str, str, dict[str, Any]], Engine] = getattr(import_module(f".{module}", __package__), function)
    return make(argument, model, options)


def check_options(engine: str, options: dict[str, Any], *known: str) -> None:
    """Raise UnknownNameError for an option that `engine` has not."""
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of engine {engine!r}", option, known)
