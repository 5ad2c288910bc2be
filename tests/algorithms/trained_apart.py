"""`neuromas train` in a process of its own, which a test may prepare, stop, kill and ask for what it left."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_models
from left_behind import contents

from algorithms.run import Run
from neuromas_env.cli import main
from neuromas_env.registry import register_task

OPTIONS = (
    "--topology 1-1 --updates 14 --questions 2 --samples 8 --learning-rate 1e-2 --rank 2 --seed 0 "
    "--validation-questions 4 --validation-every 3 --checkpoint-every 2 --options baseline running"
)


class Command:
    """`neuromas train echo` with its output in a file, in a fork of this process that has `prepare` behind it."""

    def __init__(self, backbone: str, out: Path, *options: str, prepare: Callable[[], object] | None = None) -> None:
        self.arguments = ["train", "echo", "--backbone", backbone, "--out", str(out), *OPTIONS.split(), *options]
        self.output = out.with_name(f"{out.name}.output")
        self.pid = os.fork()
        if not self.pid:
            code: Any = 70  # that of a traceback
            try:
                self._redirect()
                register_task(tiny_models.Echo)
                if prepare:
                    prepare()
                main(self.arguments)
            except SystemExit as stop:
                code = stop.code or 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)

    def _redirect(self) -> None:
        sys.stdout = sys.stderr = open(self.output, "w")  # noqa: SIM115 - until the process ends
        os.dup2(sys.stderr.fileno(), 1)
        os.dup2(sys.stderr.fileno(), 2)

    def wait(self) -> int:
        """The exit code; -9 after a SIGKILL."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def pause(self) -> None:
        """Stop the process where it is. It must be at work."""
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), self.output.read_text()

    def complaint(self, code: int) -> str:
        """The one line of the error with which it ends, by exit code `code`."""
        assert self.wait() == code, self.output.read_text()
        lines = [line for line in self.output.read_text().splitlines() if not line.startswith("update ")]
        assert len(lines) == 1, lines
        assert lines[0].startswith("neuromas: error: ")
        return lines[0]


def rows(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def finish(backbone: str, run: Path, *options: str) -> dict[str, bytes]:
    command = Command(backbone, run, "--resume", *options)
    assert command.wait() == 0, command.output.read_text()
    assert Run(run).finished
    return contents(run)
