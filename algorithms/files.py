"""Files that a kill at any moment leaves whole: written under a temporary name, flushed to disk, then renamed.

What cannot be written is a WriteError that names the file and the reason, such as a disk that is full.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from neuromas_env.errors import UsageError

TEMPORARY = ".partial-"


class WriteError(UsageError):
    """A file or folder that cannot be written, and why; a file that was there is as it was."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot write {path}: {reason}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name `path` as what cannot be written where the block fails to write it, or a part of it."""
    try:
        yield
    except OSError as error:
        raise WriteError(path, error.strerror or str(error)) from None
    except WriteError as error:
        raise WriteError(path, error.reason) from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on disk, so that a file that was told as written is found after a crash."""
    if os.name == "posix":  # elsewhere folders cannot be opened, and renames are flushed by the file system
        _sync(folder)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; it appears as `path` once the block ends well, and not at all otherwise.

    The folder around it must be there: one that was deleted is not made again.
    """
    partial = path.with_name(f"{TEMPORARY}{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for root, _, names in os.walk(partial):
            for name in names:
                _sync(Path(root, name))
            sync_folder(Path(root))
        os.replace(partial, path)
        sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def remove_folder(path: Path) -> None:
    """Delete a folder such that a kill never leaves a part of it under its own name."""
    doomed = path.with_name(f"{TEMPORARY}{path.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_partial(folder: Path) -> None:
    """Delete what an earlier kill left half-written in `folder`."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write or replace a file in one step. Raises WriteError with the file as it was."""
    partial = path.with_name(f"{TEMPORARY}{path.name}")
    with writing(path):
        try:
            with open(partial, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            with suppress(OSError):
                partial.unlink()  # a full disk needs the room
            raise
        sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class GrowingFile:
    """A file that is only appended to, unbuffered. Raises WriteError, also where the file is no longer at its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`

    def append(self, data: bytes) -> None:
        with writing(self.path):
            self._check_place()
            while data:  # an unbuffered write may take a part
                data = data[self._file.write(data) :]

    def sync(self) -> None:
        """Flush to disk."""
        with writing(self.path):
            self._check_place()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        with writing(self.path):
            self._file.close()

    def _check_place(self) -> None:
        """Writing to a file that was deleted succeeds, into nowhere."""
        if not os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno())):
            raise FileNotFoundError(errno.ENOENT, "another file has taken its place", str(self.path))


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` against a second process; the hold ends with the process, however it ends.

    Raises UsageError where another process holds it, WriteError where it takes no lock file. Without POSIX locks it
    holds nothing.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with writing(folder / ".lock"):
        file = open(folder / ".lock", "w")  # noqa: SIM115 - closed below
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder} is in use by another process") from None
        yield
