"""Landlock: which files a process may still read and write, after which it can never have more (Linux 5.13 and later).

Whether a path exists, its size and its owner stay visible: Landlock does not rule over them.

There are no wrappers for it in C libraries, so that the system calls are made by number; the numbers and structures are
those of the kernel's `include/uapi/linux/landlock.h`.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from functools import cache

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG, PATH_BENEATH = 1, 1

WRITE_FILE, READ_FILE, READ_DIR, REMOVE_FILE, MAKE_REG, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8, 1 << 14
FOLDER = WRITE_FILE | READ_FILE | READ_DIR | REMOVE_FILE | MAKE_REG | TRUNCATE
"""A folder of its own: regular files only, so that no link, device or deep tree can be left in it."""

FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights on files there are from an ABI on; all of them are denied where no rule grants them."""
NETWORK_ABI, SCOPE_ABI = 4, 6
BIND_AND_CONNECT_TCP, ABSTRACT_SOCKETS_AND_SIGNALS = 3, 3


def abi() -> int:
    """The version of Landlock that the kernel offers; 0 where there is none."""
    try:
        return _call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION_FLAG))
    except (OSError, AttributeError):  # not compiled in, not enabled, or another system
        return 0


def make_ruleset(listed: Iterable[str], readable: Iterable[str], folder: str) -> int:
    """A descriptor of the rules: the names below `listed`, the contents below `readable`, and `folder` to write in.

    Paths that are not there are left out. Raises OSError where Landlock is not available.
    """
    version = abi()
    file_rights = (1 << max(count for since, count in FILE_RIGHTS.items() if since <= max(version, 1))) - 1
    attributes = struct.pack("=Q", file_rights)
    if version >= NETWORK_ABI:
        attributes += struct.pack("=Q", BIND_AND_CONNECT_TCP)
    if version >= SCOPE_ABI:
        attributes += struct.pack("=Q", ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = _call(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    for path in listed:
        _allow(ruleset, path, READ_DIR)
    for path in readable:
        _allow(ruleset, path, READ_FILE | READ_DIR)
    _allow(ruleset, folder, FOLDER & file_rights)
    return ruleset


def restrict(ruleset: int) -> None:
    """Put the rules on this process and all that it starts. `no_new_privs` must be set. Raises OSError."""
    _call(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= READ_FILE  # the others are refused for a file
        rule = struct.pack("=Qi", rights, descriptor)
        _call(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
