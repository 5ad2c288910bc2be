"""The process that decides: it runs the benchmark's own test, in which the program's names are proxies.

No object of the program ever exists here. What its process sends is read as plain data; what is no plain data is a
`Remote`, whose comparisons are this process's own. The verdict is passed only where the test ran to its end while every
message kept to the protocol.
"""

from __future__ import annotations

import builtins
import importlib
import symtable
import sys
from typing import Any

from .channel import receive, send
from .codec import CodecError, decode, encode

MAX_DETAIL = 300


class ProgramError(Exception):
    """An exception of the program that has no counterpart here."""


class ProgramEndedError(BaseException):
    """The program's process has ended, or sent what is no answer. No `except Exception` of a test hides it."""


class Remote:
    """A name or an object of the program.

    It is equal to itself alone, and has no operation that would show the other operand to the program: a lying `__eq__`
    or `__sub__` is never asked.
    """

    __slots__ = ("_link", "_reference")

    def __init__(self, link: Link, reference: int | str) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_reference", reference)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._link.ask("call", self, arguments, keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # how Python asks what an object can do
            raise AttributeError(name)
        return self._link.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("set", self, name, value)

    def __bool__(self) -> bool:
        return self._link.ask("bool", self)

    def __len__(self) -> int:
        return self._link.ask("len", self)

    def __iter__(self) -> Any:
        return self._link.ask("iter", self)


class Link:
    """The tester's end of the pipes to the program."""

    def __init__(self, calls: int, replies: int) -> None:
        self.calls, self.replies = calls, replies
        self.remotes: dict[int | str, Remote] = {}
        self.called = False
        self.broken: str | None = None
        """Why no answer can be trusted any more: also while one is awaited, whatever interrupts the wait."""

    def wait_until_locked(self) -> bool:
        """Whether the program's process has locked itself down; it is trusted until then, and has no source yet."""
        try:
            return receive(self.replies) == b"locked"
        except CodecError:
            return False

    def ask(self, operation: str, *operands: object) -> Any:
        """The result of an operation over there. Raises its exception, or ProgramEndedError."""
        try:
            request = encode((operation, *operands), self.refer)
        except CodecError as error:
            raise ProgramError(f"this cannot be sent to the program: {error}") from None
        if self.broken is not None:
            raise ProgramEndedError(self.broken)
        self.called = self.called or operation == "call"
        self.broken = "the program ended before the test did"
        match self._exchange(request):
            case ("value", value):
                self.broken = None
                return value
            case ("error", str(name), str(text)):
                self.broken = None
                raise _exception(name, text)
            case answer if answer is not None:
                self.broken = "what the program sent is no answer"
        raise ProgramEndedError(self.broken)

    def _exchange(self, request: bytes) -> Any:
        """What the program answers; None where that is nothing, or nothing that can be read."""
        try:
            send(self.calls, request)
            reply = receive(self.replies)
            return None if reply is None else decode(reply, self.remote)
        except CodecError as error:
            self.broken = f"what the program sent is no answer: {error}"
        except OSError:  # it has closed its end
            pass
        return None

    def remote(self, reference: int | str) -> Remote:
        """The one handle on an object: the same object is the same handle."""
        return self.remotes.setdefault(reference, Remote(self, reference))

    def refer(self, value: object) -> int | str:
        if isinstance(value, Remote):
            return value._reference
        raise TypeError(f"a {type(value).__name__} cannot be sent to the program")


def judge_program(check: dict[str, Any], link: Link) -> tuple[str, str]:
    """The status and its detail of one check; `ended` where the program's process ended, which the supervisor explains.

    `check` holds `candidate`, `setup`, `test` and `entry_point`.
    """
    try:
        setup, test = (compile(check[part], f"<{part}>", "exec", dont_inherit=True) for part in ("setup", "test"))
        namespace = {"__name__": "test", **_foreign_names(check, link)}
    except (SyntaxError, ValueError) as error:
        return "error", one_line(f"the test does not compile: {error}")
    if not link.wait_until_locked():
        return "error", "the process of the program could not be locked down"
    try:
        link.ask("load", check["candidate"])
        exec(setup, namespace)
        if check["entry_point"] is not None:
            namespace[check["entry_point"]] = link.remote(check["entry_point"])
        exec(test, namespace)
    except MemoryError:
        return "memory", "the memory that a check may use ran out"
    except BaseException as error:  # whatever it is, the test did not run to its end
        outcome = "failed", _describe(error)
    else:
        outcome = ("passed", "") if link.called else ("error", "the test calls nothing of the program")
    return outcome if link.broken is None else ("ended", one_line(link.broken))


def _describe(error: BaseException) -> str:
    name, text = type(error).__name__, str(error)
    return one_line(text if isinstance(error, ProgramError) else f"{name}: {text}" if text else name)


def one_line(text: str) -> str:
    """A text of the program's as it may be shown: one line, printable, short."""
    line = " ".join(text[: 4 * MAX_DETAIL].split())
    return "".join(character if character.isprintable() else "?" for character in line)[:MAX_DETAIL]


def _foreign_names(check: dict[str, Any], link: Link) -> dict[str, object]:
    """What the names mean that setup and test use and do not define. The program has no say in which these are."""
    used, bound = set[str](), set[str]()
    for part in ("setup", "test"):
        tables = [(symtable.symtable(check[part], f"<{part}>", "exec"), True)]
        while tables:
            table, top = tables.pop()
            for symbol in table.get_symbols():
                if (top or symbol.is_declared_global()) and (symbol.is_assigned() or symbol.is_imported()):
                    bound.add(symbol.get_name())
                if symbol.is_referenced() and (top or symbol.is_global()):
                    used.add(symbol.get_name())
            tables += [(child, False) for child in table.get_children()]
    foreign = used - bound - set(dir(builtins)) - {"__name__"}
    return {
        name: importlib.import_module(name) if name in sys.stdlib_module_names else link.remote(name)
        for name in foreign
    }


def _exception(name: str, text: str) -> Exception:
    kind = getattr(builtins, name, None)
    # StopIteration would end a loop of the test as if it had succeeded.
    unsafe = (StopIteration, StopAsyncIteration)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, unsafe):
        try:
            return kind(text) if text else kind()
        except TypeError:  # UnicodeDecodeError and others want more
            pass
    return ProgramError(f"{name}: {text}" if text else name)
