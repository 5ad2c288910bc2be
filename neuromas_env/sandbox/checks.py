"""What is judged, within which limits, and what comes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError

STATUSES = ("passed", "failed", "timeout", "memory", "killed", "error")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one check may use. Program and tester have the same limits, each for itself.

    There is no number of processes: a program may start no process and no thread.
    """

    wall_seconds: float = 10.0
    """From the start of the check to its verdict, on the monotonic clock."""
    cpu_seconds: int = 8
    memory_mb: int = 1024
    """Address space, in MiB."""
    file_mb: int = 8
    """The longest file that a program may write in its folder, in MiB."""
    files: int = 32
    """A program that keeps more files than this in its folder is ended."""
    descriptors: int = 64

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            kinds = (int, float) if name == "wall_seconds" else (int,)
            if type(value) not in kinds or not 0 < value < math.inf:
                kind = "number" if name == "wall_seconds" else "whole number"
                raise UsageError(f"the limit {name} is {value!r}; a {kind} above 0 is accepted")
        if self.descriptors < 16:  # an interpreter with its pipes, and what an import opens
            raise UsageError(f"the limit descriptors is {self.descriptors}; at least 16 are needed")
        if self.memory_mb < 64:
            raise UsageError(f"the limit memory_mb is {self.memory_mb}; at least 64 are needed")


@dataclass(frozen=True, slots=True)
class Check:
    """A program and the test that it must pass.

    candidate    the untrusted source. It runs as a module, so that what stands under `__name__ == "__main__"` does not.
    setup, test  trusted sources of the benchmark, run one after the other in one namespace. Names that neither defines
                 stand for those of the program, except builtins and, where a test forgot the import, modules of the
                 standard library.
    entry_point  the name that stands for the program's own after `setup`, whatever `setup` or Python say it is
    """

    candidate: str
    setup: str
    test: str
    entry_point: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a check ended. `detail` says why in one printable line.

    passed   the test ran to its end
    failed   the program could not be loaded, raised an exception, or did not do what the test asserts
    timeout  the limit of time, by the clock or of the processor, was reached
    memory   the limit of memory was reached
    killed   the process of the program ended before the test did, or was ended for what it did
    error    the check could not be run: the test does not compile, or a process could not be started or locked down
    """

    status: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"
