"""A helper process that answers JSON lines, one at a time, each within a time limit.

It is started when it is first asked, killed when its time runs out, and started anew at the next request.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import weakref
from collections.abc import Sequence
from typing import Any

START_SECONDS = 120.0
"""How long a process may take to say that it is ready; imports are slow on a busy machine."""


class WorkerProcess:
    """`command`, kept running. It writes {"ready": true} or {"error": "…"}, then a line for each line it reads.

    Usable from several threads, which wait for each other, and in the child of a fork, which starts its own process.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize | None = None
        _workers.add(self)

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The reply to one request, or None where the process died or did not reply within `seconds`.

        Raises RuntimeError with what the process says where it cannot get ready.
        """
        with self._lock:
            try:
                if self._process is None or self._process.poll() is not None:
                    self._start()
                reply = self._exchange(request, seconds)
            except BaseException:  # an interrupt between request and reply would shift all later replies by one
                self._stop()
                raise
            if reply is None:
                self._stop()
            return reply

    def close(self) -> None:
        with self._lock:
            self._stop()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def _start(self) -> None:
        self._stop()
        # The environment's Python settings must neither make it import other modules nor change what it computes.
        settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if "PYTHONHOME" in os.environ:
            settings["PYTHONHOME"] = os.environ["PYTHONHOME"]
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**settings, "PYTHONHASHSEED": "0"},
        )
        self._end = weakref.finalize(self, _end, self._process)
        ready = self._exchange(None, START_SECONDS)
        if ready is None or "error" in ready:
            raise RuntimeError(ready["error"] if ready else "the process ended before it was ready")

    def _exchange(self, request: dict[str, Any] | None, seconds: float) -> dict[str, Any] | None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            if request is not None:
                _write(process.stdin.fileno(), json.dumps(request).encode() + b"\n")
            line = _read_line(process.stdout.fileno())
        except OSError:  # it is dead
            line = b""
        finally:
            timer.cancel()
            timer.join()
        return json.loads(line) if line.endswith(b"\n") and not expired.is_set() else None

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._process = self._end = None

    def _forget(self) -> None:
        """In the child of a fork: leave the process to the parent, and free what another thread may have locked."""
        self._lock = threading.Lock()
        if self._process is not None:
            self._process.returncode = 0  # it is no child of ours, to be killed or waited for
        self._stop()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()


def _write(descriptor: int, content: bytes) -> None:
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def _read_line(descriptor: int) -> bytes:
    """What comes up to the end of a line, or of the stream."""
    parts: list[bytes] = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
        if part.endswith(b"\n"):
            break
    return b"".join(parts)


_workers: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _forget_all() -> None:
    for worker in list(_workers):
        worker._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
