"""Judging many programs at once, where this machine can lock them up."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from ..errors import UsageError
from .checks import Check, Limits, Verdict
from .mechanisms import isolation
from .runner import run_check

# What no program may do, each tried for real before a first program is run.
ATTEMPTS = """
import os, socket, tempfile

def attempts():
    return {
        "read a file": lambda: open(SECRET).close(),
        "write a file": lambda: open(SECRET + ".written", "w").close(),
        "start a process": lambda: os.fork() or os._exit(0),
        "open a socket": lambda: socket.socket().close(),
        "signal a process": lambda: os.kill(os.getppid(), 0),
    }

def breaches():
    found = []
    for name, attempt in attempts().items():
        try:
            attempt()
        except OSError:
            continue
        found.append(name)
    return found

def works():
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("text")
        file.seek(0)
        return file.read()
"""


def judge(
    checks: Sequence[Check], limits: Limits | None = None, *, force: bool = False, workers: int | None = None
) -> list[Verdict]:
    """The verdicts of `checks`, in order, `workers` of them at a time (as many as there are processor cores).

    Raises UsageError where programs cannot be locked up on this machine, unless `force` is set; see
    `require_isolation`. An interrupt ends the checks that run and leaves nothing behind.
    """
    require_isolation(force)
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; 1 or more are accepted")
    limits, unwanted = limits or Limits(), threading.Event()
    count = min(workers or _cores(), max(len(checks), 1))
    with ThreadPoolExecutor(count, thread_name_prefix="judge") as pool:
        try:
            running = [pool.submit(run_check, check, limits, isolation(), unwanted) for check in checks]
            return [future.result() for future in running]
        except BaseException:
            unwanted.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def require_isolation(force: bool = False) -> None:
    """Raise UsageError where this machine cannot lock up a program, or does not though it says it can; see `isolation`.

    Files, the network and other processes must all be out of its reach. With `force`, programs run in any case, under
    what there is: never do that with programs that may be hostile.
    """
    if force:
        return
    found = isolation()
    if not found.sufficient:
        raise UsageError(
            "programs that models wrote are run only where Linux locks them up: seccomp (pip install pyseccomp, with "
            "libseccomp) and Landlock (Linux 5.13 or later) or bubblewrap are needed, and there is "
            f"{found} here; forcing it runs them without that protection"
        )
    _try_the_lock()


@cache
def _try_the_lock() -> None:
    """Raise UsageError where a program can do what it must not, or none can run. Once all is well it stays so."""
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder, "secret")
        secret.write_text("secret")
        source = f"SECRET = {str(secret)!r}\n{ATTEMPTS}"
        test = "allowed = breaches()\nassert not allowed, 'it can ' + ', '.join(allowed)\nassert works() == 'text'"
        try:
            verdict = run_check(Check(source, "", test, None), Limits(), isolation())
        except OSError as error:
            raise UsageError(f"programs that models wrote cannot be run here: {error}") from error
    if not verdict.passed:
        raise UsageError(
            f"programs that models wrote are not run: the lock ({isolation()}) was tried and does not hold here: "
            f"{verdict.status}, {verdict.detail}"
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
