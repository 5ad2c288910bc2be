"""What this machine offers to lock up a program, and whether it is enough."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import landlock
from .installation import ENVIRONMENT, FLAGS, PACKAGES, interpreter, readable
from .syscalls import seccomp_filter

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache")


@dataclass(frozen=True, slots=True)
class Isolation:
    """The mechanisms that are there, beside resource limits. As text: words for a message.

    landlock    the version of the kernel's Landlock, which closes files; 0 is none
    seccomp     whether system calls can be filtered, which closes the network and other processes
    bubblewrap  the path of a bubblewrap that works, which gives namespaces; None is none
    """

    landlock: int
    seccomp: bool
    bubblewrap: str | None

    @property
    def sufficient(self) -> bool:
        """Whether files, the network and other processes are all out of reach of a program."""
        return self.seccomp and (self.landlock > 0 or self.bubblewrap is not None)

    def __str__(self) -> str:
        words = [
            f"Landlock {self.landlock}" if self.landlock else "",
            "seccomp" if self.seccomp else "",
            "bubblewrap" if self.bubblewrap else "",
        ]
        return ", ".join(word for word in words if word) or "only resource limits"


@cache
def isolation() -> Isolation:
    """What is there, found out once by trying."""
    if sys.platform != "linux":
        return Isolation(0, False, None)
    return Isolation(landlock.abi(), _can_filter(), _bubblewrap())


def bubblewrap_command(path: str, folder: str | None) -> list[str]:
    """The words before a command that run it in namespaces of its own: no network, no processes but its own, and of
    the files only the system's, the interpreter's and `folder`."""
    packages = [root / name for root in map(Path, readable().listed) for name in PACKAGES]
    prefix = str(Path(interpreter()).resolve().parent.parent)
    shown = [*SYSTEM, *([prefix] if not prefix.startswith("/usr") else []), *readable().listed]
    words = [path, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for place in shown:
        words += ["--ro-bind-try", place, place]
    hidden = [str(path) for path in packages if path.is_dir()]
    for place in hidden:
        words += ["--tmpfs", place]
    own = str(Path(__file__).parent)
    words += ["--ro-bind", own, own]
    words += ["--bind", folder, folder, "--chdir", folder] if folder else []
    for place in (*hidden, "/"):  # what holds the places is in memory, where a program could else write without bound
        words += ["--remount-ro", place]
    return words


def _can_filter() -> bool:
    try:
        return bool(seccomp_filter())
    except (ImportError, RuntimeError, OSError):  # the package, or the library behind it, is missing
        return False


def _bubblewrap() -> str | None:
    """A bubblewrap that starts an interpreter: where users may make no namespaces it is there and does not work."""
    path = shutil.which("bwrap")
    if path is None:
        return None
    command = [*bubblewrap_command(path, None), interpreter(), *FLAGS, "-c", "import ctypes"]
    try:
        worked = subprocess.run(command, env=ENVIRONMENT, capture_output=True, cwd="/", timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return path if worked.returncode == 0 else None
