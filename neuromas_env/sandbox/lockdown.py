"""How a process gives up, for good, all that it does not need. The process that calls this is the one it binds."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress

from .landlock import restrict

SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, SET_NO_NEW_PRIVS, SET_SUBREAPER = 1, 4, 22, 38, 36  # linux/prctl.h
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
STACK_BYTES = 16 << 20


def lock_down(limits: dict[str, int], ruleset: int | None, syscalls: bytes | None) -> None:
    """Put resource limits, Landlock rules and a seccomp filter on this process; None leaves one out.

    Afterwards it also has no capability, gains none, dumps no core, cannot be traced, and ends with its parent. Raises
    OSError where any of it does not succeed; the process must then run nothing that is not trusted.
    """
    _set_limits(limits)
    if sys.platform != "linux":
        return
    with suppress(OSError):  # where memory runs out on the machine, this process is ended first
        _write("/proc/self/oom_score_adj", b"1000")
    prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
    prctl(SET_DUMPABLE, 0)
    prctl(SET_NO_NEW_PRIVS, 1)
    _drop_capabilities()
    if ruleset is not None:
        restrict(ruleset)
        os.close(ruleset)
    if syscalls is not None:
        _filter_syscalls(syscalls)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process. Raises OSError."""
    zero = ctypes.c_ulong(0)
    _checked("prctl", ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero)


def _set_limits(limits: dict[str, int]) -> None:
    cpu, file = limits["cpu_seconds"], limits["file_mb"] << 20
    memory = limits["memory_mb"] << 20
    wanted = [
        (resource.RLIMIT_CPU, cpu, cpu + 1),  # a signal first, which tells how it ended; then the end
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_STACK, STACK_BYTES, STACK_BYTES),
        (resource.RLIMIT_FSIZE, file, file),
        (resource.RLIMIT_NOFILE, limits["descriptors"], limits["descriptors"]),
        (resource.RLIMIT_NPROC, 0, 0),  # does not bind root: the filter does
        (resource.RLIMIT_CORE, 0, 0),
    ]
    for kind, soft, hard in wanted:
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):
            if sys.platform == "linux":
                raise  # elsewhere some limits do not exist


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _checked("capset", header, (ctypes.c_uint32 * 6)())


def _filter_syscalls(instructions: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    program = Program(len(instructions) // 8, instructions)
    _checked("prctl", ctypes.c_int(SET_SECCOMP), ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(program))


def _checked(function: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
