"""A check's folder is removed whatever a program made of it, and nothing beside it."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from neuromas_env.sandbox.folder import remove_folder


def test_any_folder_is_removed_and_no_link_is_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    (kept / "file").chmod(0o640)
    top = tmp_path / "top"
    inner = top / "a" / "b"
    inner.mkdir(parents=True)
    for name in (b"\xff\xfe", b"line\nbreak", b"-rf", b" ", b"x" * 255, b"0", b"1"):
        Path(os.fsdecode(os.fsencode(inner) + b"/" + name)).write_text("x")
        os.mkdir(os.fsencode(top) + b"/" + name)
    os.symlink(kept, inner / "folder link")
    os.symlink(kept / "file", top / "file link")
    os.symlink("loop", top / "loop")
    os.link(kept / "file", top / "hard link")
    os.mkfifo(top / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(top)  # the names of sockets are short
        listener.bind("socket")
        os.chdir(here)
    nest(top, 3000)
    inner.chmod(0)
    (top / "a").chmod(0o100)
    top.chmod(0)
    try:
        remove_folder(str(top))
        assert not top.exists()
    finally:  # what is too deep for this package's ways is too deep for pytest's
        subprocess.run(["chmod", "-R", "u+rwx", top], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", top], check=False)
    assert (kept / "file").read_text() == "kept"
    assert (kept / "file").stat().st_mode & 0o777 == 0o640
    remove_folder(str(top))


def nest(top: Path, depth: int) -> None:
    """Folders in one another, deeper than a path can name."""
    here = os.open(".", os.O_RDONLY)
    os.chdir(top)
    for _ in range(depth):
        os.mkdir("deeper")
        os.chdir("deeper")
    os.fchdir(here)
    os.close(here)
