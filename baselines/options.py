"""Options of methods that are whole numbers: agents, rounds, layers."""

from __future__ import annotations

from neuromas_env.errors import UsageError

from .base import Method


def whole_number(method: Method, option: str, default: int, least: int = 1, most: int = 1000) -> int:
    """The value of an option in the name of `method`. Raises UsageError where it is no number from least to most."""
    text = method.spec.options.get(option)
    if text is None:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        told = f"{option} is a whole number from {least} to {most}, not {text!r}"
        raise UsageError(f"method {str(method.spec)!r}: {told}")
    return int(text)
