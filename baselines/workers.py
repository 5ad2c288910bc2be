"""Work in several processes at a time: trainings that go on from where they stand, and whatever else pickles."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import UsageError

from .progress import TrainingBars

if TYPE_CHECKING:
    from algorithms import TrainConfig
    from algorithms.backbone import Backbone
    from algorithms.run import Run


def ensure_trained(config: TrainConfig, backbone: Backbone | None = None, *, progress: bool = True) -> Run:
    """The finished run of `config`: trained now, gone on with, or found in its folder.

    `backbone` spares loading the one that `config` names.
    """
    from algorithms import train
    from algorithms.run import Run, is_finished

    if is_finished(config.folder):
        return Run(config.folder)
    return train(config, resume=True, backbone=backbone, progress=progress)


def train_all(configs: Sequence[TrainConfig], workers: int, backbone: Backbone | None = None) -> None:
    """Train every unfinished run, `workers` at a time.

    One worker trains in this process, on `backbone` where it is given. An interrupt or an error ends all workers; their
    checkpoints stay, and the next call goes on from them. Raises TrainingError where a worker failed.
    """
    from algorithms.run import is_finished

    waiting = [config for config in configs if not is_finished(config.folder)]
    if min(workers, len(waiting)) <= 1:
        for config in waiting:
            ensure_trained(config, backbone)
        return
    with TrainingBars(waiting) as bars:
        jobs = [partial(_train, config.to_json()) for config in waiting]

        def ended(job: int, kind: str, text: str) -> None:
            check_end(waiting[job], kind, text)

        do_all(jobs, workers, ended, lambda active: bars.update([waiting[job].folder for job in active]))


def do_all(
    jobs: Sequence[Callable[[], object]],
    workers: int,
    ended: Callable[[int, str, str], None],
    look: Callable[[Sequence[int]], None] = lambda active: None,
) -> None:
    """Do `jobs`, which pickle, in processes of their own, `workers` at a time.

    `ended` hears of each job, by its place, how it ended: "done", or "usage", "interrupted", "error" and a text. What
    it raises ends all. `look` hears now and then which jobs are being done.
    """
    waiting = list(range(len(jobs)))
    team = [_Worker() for _ in range(min(workers, len(jobs)))]
    try:
        while waiting or any(worker.job is not None for worker in team):
            for number, worker in enumerate(team):
                if worker.job is None and waiting:
                    if not worker.process.is_alive():  # killed, for want of memory say: the others' jobs go on
                        worker.end(0.0)
                        worker = team[number] = _Worker()
                    place = waiting.pop(0)
                    worker.start(place, jobs[place])
            busy = [worker for worker in team if worker.job is not None]
            wait([end for worker in busy for end in (worker.connection, worker.process.sentinel)], timeout=0.25)
            look([worker.job for worker in busy if worker.job is not None])
            for worker in busy:
                if (end := worker.end_of_job()) is not None:
                    ended(*end)
    finally:
        patience = time.monotonic() + 2.0  # a Ctrl-C in a terminal reaches the workers too: they save and end
        for worker in team:
            worker.end(max(0.0, patience - time.monotonic()))


class _Worker:
    """A process that does what it is sent, one job after the other: what it loads and imports serves all of them."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.job: int | None = None

    def start(self, place: int, job: Callable[[], object]) -> None:
        self.job = place
        self.connection.send_bytes(pickle.dumps(job))

    def end_of_job(self) -> tuple[int, str, str] | None:
        """The place of the job that has ended, and how; None while there is none."""
        if self.job is None or (self.process.is_alive() and not self.connection.poll()):
            return None
        place, self.job = self.job, None
        try:
            kind, text = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            kind, text = "error", f"its process ended with exit code {self.process.exitcode}"
        return place, kind, text

    def end(self, patience: float) -> None:
        self.connection.close()  # one that waits for work ends by itself
        self.process.join(patience)
        self.process.terminate()
        self.process.join()


def check_end(config: TrainConfig, kind: str, text: str) -> None:
    """Raise what a worker reports of a run, unless it is done."""
    from algorithms.errors import TrainingError

    if kind == "usage":
        raise UsageError(text)
    if kind == "interrupted":
        raise KeyboardInterrupt
    if kind != "done":
        raise TrainingError(f"training in {config.folder} failed: {text}")


def _work(connection: Connection, parent: int) -> None:
    """The body of a worker process: do what comes, until nothing can come any more."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        while True:
            connection.send(outcome(connection.recv_bytes()))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def outcome(job: bytes) -> tuple[str, str]:
    """How doing a pickled job ended, in a word, and what is to be told of it."""
    try:
        pickle.loads(job)()  # from this process's own parent
    except UsageError as error:
        return "usage", str(error)
    except KeyboardInterrupt:
        return "interrupted", ""
    except Exception as error:
        import traceback

        return "error", f"{error!r}\n{traceback.format_exc()}"
    return "done", ""


def _train(config_json: Mapping[str, Any]) -> None:
    from algorithms.config import TrainConfig

    ensure_trained(TrainConfig.from_json(config_json), progress=False)


def _end_with(parent: int) -> None:
    """End this process soon after its parent has gone, even where the parent was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
