"""Removing a folder in which a hostile program could write."""

from __future__ import annotations

import os
import stat
from itertools import count


def remove_folder(path: str) -> None:
    """Remove `path` with all it holds, when no process can change it any more. Nothing there is no error.

    Links are removed and never followed. A tree may be deeper than paths or recursion allow, and its folders may be
    closed to their owner: they are opened, and each is moved to the top before it is emptied, so that no path is ever
    longer than three names.
    """
    top = os.fsencode(path)
    if not os.path.lexists(top):
        return
    _open(top)
    names = count()
    while folders := _empty(top):
        for folder in folders:
            for inner in _empty(folder):
                os.rename(inner, _free_name(top, names))
            os.rmdir(folder)
    os.rmdir(top)


def _empty(folder: bytes) -> list[bytes]:
    """Remove what is no folder from a folder; the folders left in it, opened."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _open(entry.path)
                folders.append(entry.path)
            else:
                os.unlink(entry.path)
    return folders


def _open(folder: bytes) -> None:
    if stat.S_IMODE(os.lstat(folder).st_mode) & 0o700 != 0o700:
        os.chmod(folder, 0o700)  # no link: it was found to be a folder, and nothing runs that could change it


def _free_name(top: bytes, names: count[int]) -> bytes:
    while os.path.lexists(name := os.path.join(top, b"%d" % next(names))):
        pass
    return name
