"""Contestants: trainers that take turns, each in processes of its own, so that none hides another's memory.

A process waits for the word before every step. Steps of all contestants alternate in one run, so that whatever else the
machine does meets all of them alike; the first step of each is warm-up. A trainer that divides its work has several
processes, which find each other as torchrun's do, and its step ends with the last of them.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from neuromas_env.errors import NeuromasError

from .work import Work


class ContestError(NeuromasError):
    """A contestant that failed, and why."""


@dataclass
class Turns:
    """The contestant's side: `next()` waits for the word, and is told before each step and after the last one."""

    connection: Connection
    _started: float = field(default=0.0, repr=False)
    _going: bool = field(default=False, repr=False)

    def next(self) -> bool:
        """Report the step that has ended, if one has, and wait; whether there is another step to do."""
        if self._going:
            self.connection.send(time.perf_counter() - self._started)
        self._going = bool(self.connection.recv())
        self._started = time.perf_counter()
        return self._going


def peak_memory() -> int:
    """The most bytes that this process has held: of the GPU where it used one, else of main memory."""
    import resource

    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return int(torch.cuda.max_memory_reserved())
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss would count what the parent held when this process was started
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line[:5] == "VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _take_part(contend: Callable[[Work, Turns], None], work: Work, threads: int, connection: Connection) -> None:
    import torch
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(threads)
    disable_progress_bar()
    with open(os.devnull, "w") as nowhere:  # trainers print, some of them a line a step
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        connection.send("ready")
        contend(work, Turns(connection))
        connection.send(peak_memory())
    except Exception as error:
        connection.send(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


@dataclass
class Contestant:
    """A trainer and what it did: seconds of every step, and the peak memory of its processes together, in bytes."""

    name: str
    contend: Callable[[Work, Turns], None]
    work: Work
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    _team: list[tuple[Any, Connection]] = field(default_factory=list, repr=False)

    def start(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        port = free_port() if self.processes > 1 else 0
        for rank in range(self.processes):
            ours, theirs = context.Pipe()
            told = {**self.environment, **(place_in_team(rank, self.processes, port) if port else {})}
            arguments = (self.contend, self.work, threads, theirs)
            process = context.Process(target=_take_part, args=arguments, daemon=True)
            with environment(told):  # which a process can only be given at its start
                process.start()
            theirs.close()
            self._team.append((process, ours))
        self._hear()

    def step(self) -> None:
        self._tell(True)
        self.seconds.append(max(self._hear()))

    def end(self) -> None:
        self._tell(False)
        self.memory = sum(self._hear())
        for process, _ in self._team:
            process.join(10)
            process.terminate()

    def kill(self) -> None:
        for process, _ in self._team:
            process.kill()

    def _tell(self, going: bool) -> None:
        for _, connection in self._team:
            connection.send(going)

    def _hear(self) -> list[Any]:
        """What every process answers. Raises ContestError for one that failed."""
        answers = []
        for process, connection in self._team:
            try:
                told = connection.recv()
            except (EOFError, ConnectionResetError):
                process.join(1)
                raise ContestError(f"{self.name} ended with exit code {process.exitcode}") from None
            if isinstance(told, str) and told != "ready":
                raise ContestError(f"{self.name} failed: {told}")
            answers.append(told)
        return answers

    @property
    def per_second(self) -> float:
        """Messages a second, by the median step; the first is warm-up."""
        return self.work.messages / median(self.seconds[1:])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def place_in_team(rank: int, size: int, port: int) -> dict[str, str]:
    """The variables by which torchrun tells a process who it is and where the others are."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in place.items()}


@contextmanager
def environment(told: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def alternate(contestants: Sequence[Contestant], steps: int, threads: int = 1) -> None:
    """Let all take `steps` steps and one before, in turns, on `threads` CPU cores each: a thread a process, or all
    threads in the only one. Raises ContestError where one fails."""
    try:
        for contestant in contestants:
            contestant.start(max(1, threads // contestant.processes))
        for _ in range(steps + 1):
            for contestant in contestants:
                contestant.step()
        for contestant in contestants:
            contestant.end()
    finally:
        for contestant in contestants:
            contestant.kill()


def ratio(ours: Contestant, theirs: Contestant) -> float:
    """How many times as many messages a second, as the median over neighbouring steps."""
    scale = ours.work.messages / theirs.work.messages
    pairs = zip(ours.seconds[1:], theirs.seconds[1:], strict=True)
    return scale * median(other / own for own, other in pairs)
