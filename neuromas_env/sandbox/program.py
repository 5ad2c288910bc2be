"""The process of the program: locked down before it sees the untrusted source, then answering calls until it is ended.

Nothing in it is trusted once the source has run, this module included. What it can do is bounded from outside: by the
lock, by the tester, which reads its answers as plain data, and by the supervisor, which ends it.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from .channel import receive, send
from .codec import decode, encode
from .lockdown import lock_down

MAX_TEXT = 300

OPERATIONS: dict[str, Callable[..., object]] = {
    "call": lambda function, arguments, keywords: function(*arguments, **keywords),
    "get": getattr,
    "set": setattr,
    "bool": bool,
    "len": len,
    "iter": iter,
}


def main() -> None:
    config = json.loads(sys.argv.pop(1))
    os.setsid()
    if config["parent"] is not None and os.getppid() != config["parent"]:
        return  # the supervisor ended before this process could be told to end with it
    syscalls = bytes.fromhex(config["syscalls"]) if config["syscalls"] else None
    lock_down(config["limits"], config["ruleset"], syscalls)
    sys.argv[:] = ["candidate.py"]
    Program().serve(config["calls"], config["replies"])


class Program:
    """The untrusted module, and those of its objects on which the tester holds a handle."""

    def __init__(self) -> None:
        self.module = types.ModuleType("candidate")
        self.objects: dict[int, object] = {}

    def serve(self, calls: int, replies: int) -> None:
        send(replies, b"locked")
        while (request := receive(calls)) is not None:
            send(replies, self.answer(request))

    def answer(self, request: bytes) -> bytes:
        """The reply to one request: ("value", result), or ("error", name of the nearest built-in exception, text)."""
        try:
            operation, *operands = decode(request, self.resolve)
            operations = {"load": self.load, **OPERATIONS}
            return encode(("value", operations[operation](*operands)), self.refer)
        except BaseException as error:  # SystemExit too: a program that asks to end has failed, and is told so
            return encode(("error", *_describe(error)), self.refer)

    def load(self, source: str) -> None:
        sys.modules["candidate"] = self.module  # dataclasses look their module up
        exec(compile(source, "candidate.py", "exec", dont_inherit=True), self.module.__dict__)

    def refer(self, value: object) -> int:
        self.objects[id(value)] = value  # kept, so that no other object gets its id
        return id(value)

    def resolve(self, reference: int | str) -> Any:
        if isinstance(reference, int):
            return self.objects[reference]
        if reference in self.module.__dict__:
            return self.module.__dict__[reference]
        raise NameError(f"name {reference!r} is not defined")


def _describe(error: BaseException) -> tuple[str, str]:
    kind = next(kind for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)
    own_name = "" if type(error) is kind else type(error).__name__
    try:
        text = str(error)[:MAX_TEXT]
    except Exception:  # it is the program's own method
        text = ""
    return kind.__name__, ": ".join(part for part in (own_name, text) if part)
