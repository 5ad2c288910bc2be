"""The process that starts program and tester, ends them in time, and removes what is left. It sees nothing untrusted.

It reads one line of JSON, the job, and writes one, the verdict. It lives on while its caller holds its standard input
open, so that a caller that is ended leaves nothing behind either.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from itertools import islice
from typing import Any

from .channel import receive, send
from .folder import remove_folder
from .landlock import make_ruleset
from .lockdown import SET_DUMPABLE, SET_SUBREAPER, lock_down, prctl
from .tester import Link, judge_program, one_line

TICK_SECONDS = 0.05
"""How often the program's folder is looked at."""
GRACE_SECONDS = 0.5
"""How long a program that answers no more has to end by itself."""


def main() -> None:
    job = json.loads(sys.stdin.buffer.readline())
    if sys.platform == "linux":
        prctl(SET_DUMPABLE, 0)
        prctl(SET_SUBREAPER, 1)  # orphans of the program come here, and are found
    supervisor = Supervisor(job)
    try:
        status, detail = supervisor.run()
    except Exception as error:
        status, detail = "error", one_line(f"{type(error).__name__}: {error}")
    finally:
        for pid in supervisor.running.copy():
            supervisor.end(pid)
        end_descendants()
        remove_folder(job["folder"])
    os.write(1, json.dumps([status, detail]).encode())


class Supervisor:
    """One check. `job` is what `runner.make_job` writes."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.limits = job, job["limits"]
        self.deadline = time.monotonic() + self.limits["wall_seconds"]
        self.running = set[int]()

    def run(self) -> tuple[str, str]:
        rules = self.job["rules"]
        ruleset = make_ruleset(rules["listed"], rules["contents"], self.job["program_folder"]) if rules else None
        calls_out, calls_in = os.pipe()
        replies_out, replies_in = os.pipe()
        verdict_out, verdict_in = os.pipe()
        self.running.add(program := self.start_program(calls_out, replies_in, ruleset))
        os.close(calls_out)
        os.close(replies_in)
        tester = os.fork()
        if tester == 0:
            os.close(verdict_out)
            _test(self.job, calls_in, replies_out, verdict_in, ruleset)
        self.running.add(tester)
        for descriptor in (calls_in, replies_out, verdict_in):
            os.close(descriptor)
        trouble = self.watch(verdict_out)
        tester_ending = self.end(tester)
        report = receive(verdict_out)  # one write, so that it is whole or not there
        status, detail = json.loads(report) if report else ("error", "the process of the test ended without a verdict")
        program_ending = self.end(program, GRACE_SECONDS if status == "ended" else 0.0)
        if trouble is not None:
            return trouble
        if report is None and tester_ending is not None:
            return tester_ending
        if status == "ended":
            return program_ending or ("killed", detail)
        return status, detail

    def start_program(self, calls: int, replies: int, ruleset: int | None) -> int:
        config = {
            "parent": None if self.job["wrapper"] else os.getpid(),
            "limits": self.limits,
            "syscalls": self.job["syscalls"],
            "calls": calls,
            "replies": replies,
            "ruleset": ruleset,
        }
        command = [*self.job["wrapper"], *self.job["command"], json.dumps(config)]
        for descriptor in (calls, replies, ruleset):
            if descriptor is not None:
                os.set_inheritable(descriptor, True)
        folder = self.job["program_folder"]
        environment = {**os.environ, "HOME": folder, "TMPDIR": folder}
        null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        os.chdir(folder)
        pid = os.posix_spawn(command[0], command, environment, file_actions=null)
        os.chdir("/")
        return pid

    def watch(self, verdict: int) -> tuple[str, str] | None:
        """Wait until the tester reports or ends. What else ended the check, if anything did."""
        poll = select.poll()
        poll.register(verdict, select.POLLIN)
        poll.register(0, 0)  # tells when the caller hangs up
        while (left := self.deadline - time.monotonic()) > 0:
            ready = dict(poll.poll(1000 * min(left, TICK_SECONDS)))
            if 0 in ready:
                return "error", "the caller has ended"
            if verdict in ready:
                return None
            with os.scandir(self.job["program_folder"]) as entries:
                if sum(1 for _ in islice(entries, self.limits["files"] + 1)) > self.limits["files"]:
                    return "killed", f"the program keeps more than {self.limits['files']} files"
        return "timeout", f"no verdict within {self.limits['wall_seconds']:g} s"

    def end(self, pid: int, grace_seconds: float = 0.0) -> tuple[str, str] | None:
        """End a process and reap it. How it ended, where that was by itself and says something; else None."""
        deadline = time.monotonic() + grace_seconds
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        while not reaped and time.monotonic() < deadline:
            time.sleep(0.005)
            reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if not reaped:
            with suppress(ProcessLookupError, PermissionError):  # the program leads a group, once it has started
                os.killpg(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
        self.running.discard(pid)
        # A wrapper says 128 + n where what it ran was ended by the signal n.
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status) - 128
        cpu_seconds = self.limits["cpu_seconds"]
        spent = usage.ru_utime + usage.ru_stime >= cpu_seconds
        if number == signal.SIGXCPU or (number == signal.SIGKILL and spent):
            return "timeout", f"more than {cpu_seconds} s of the processor"
        if number > 0 and number != signal.SIGKILL:
            return "killed", f"ended by a signal: {signal.strsignal(number) or number}"
        return None


def _test(job: dict[str, Any], calls: int, replies: int, verdict: int, ruleset: int | None) -> None:
    """The life of the tester's process, which never returns."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # what a test prints must not reach the caller
            os.dup2(null, standard)
        syscalls = bytes.fromhex(job["syscalls"]) if job["syscalls"] else None
        lock_down(job["limits"], ruleset, syscalls)
        send(verdict, json.dumps(judge_program(job["check"], Link(calls, replies))).encode())
    finally:
        os._exit(0)


def end_descendants() -> None:
    """End all that programs have started. Under seccomp that is nothing: they could not."""
    while os.path.isdir("/proc"):  # where there is none, only the program's process group can be ended
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                for pid in _descendants(os.getpid()):
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.001)
        except ChildProcessError:
            return


def _descendants(root: int) -> list[int]:
    """The processes below `root`, found in the process table."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return list(found - {root})
