"""One check, driven from the process that asks for it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict
from typing import Any

from .checks import Check, Limits, Verdict
from .codec import MAX_BYTES
from .folder import remove_folder
from .installation import ENVIRONMENT, readable, start_command
from .mechanisms import Isolation, bubblewrap_command
from .syscalls import seccomp_filter

FOLDER_PREFIX = "neuromas-check-"
GRACE_SECONDS = 30.0
"""How much longer than its limit a supervisor may take before it is itself ended."""
LOOK_SECONDS = 0.2
"""How often a check looks whether it is still wanted."""


def run_check(check: Check, limits: Limits, isolation: Isolation, unwanted: threading.Event | None = None) -> Verdict:
    """The verdict of one check, run under the mechanisms of `isolation`. Ends early when `unwanted` is set.

    Whatever happens, its processes and its folder are gone afterwards.
    """
    if len(check.candidate) > MAX_BYTES // 4:  # a character has four bytes at most
        return Verdict("failed", f"a program of more than {MAX_BYTES // 4:,} characters")
    folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
    try:
        job = json.dumps(make_job(check, limits, isolation, folder)).encode()
        with subprocess.Popen(
            start_command("supervisor"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,  # an interrupt from the keyboard is not meant for it
        ) as supervisor:
            try:
                answer = _converse(supervisor, job, limits.wall_seconds + GRACE_SECONDS, unwanted)
            except BaseException:
                supervisor.kill()
                raise
            if answer is None:
                supervisor.kill()
    finally:
        remove_folder(folder)
    try:
        return Verdict(*json.loads(answer or b""))
    except ValueError:
        return Verdict("error", "the supervisor gave no verdict")


def make_job(check: Check, limits: Limits, isolation: Isolation, folder: str) -> dict[str, Any]:
    """What a supervisor needs to know; it makes the program's folder inside `folder` the only one to write in."""
    program_folder = os.path.join(os.path.realpath(folder), "program")
    os.mkdir(program_folder, 0o700)
    wrapper = bubblewrap_command(isolation.bubblewrap, program_folder) if isolation.bubblewrap else []
    return {
        "check": asdict(check),
        "limits": asdict(limits),
        "folder": folder,
        "program_folder": program_folder,
        "wrapper": wrapper,
        "command": start_command("program"),
        "rules": asdict(readable()) if isolation.landlock else None,
        "syscalls": seccomp_filter().hex() if isolation.seccomp else None,
    }


def _converse(
    supervisor: subprocess.Popen[bytes], job: bytes, seconds: float, unwanted: threading.Event | None
) -> bytes | None:
    """What a supervisor answers to its job; None where that takes too long."""
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    deadline = time.monotonic() + seconds
    try:
        rest = memoryview(job + b"\n")
        while rest:
            rest = rest[supervisor.stdin.write(rest) :]
    except BrokenPipeError:
        return None
    poll, answer = select.poll(), b""
    poll.register(supervisor.stdout, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if unwanted is not None and unwanted.is_set() and not supervisor.stdin.closed:
            supervisor.stdin.close()  # it takes that as the end of its caller
        if poll.poll(1000 * min(left, LOOK_SECONDS)):
            chunk = supervisor.stdout.read(1 << 16)
            if not chunk:
                return answer
            answer += chunk
    return None
