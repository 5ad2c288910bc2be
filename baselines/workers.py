"""Trainings that go on from where they stand, several at a time, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
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
    """Train every unfinished run, `workers` at a time; each worker is a process of its own that trains one by one.

    One worker trains in this process, on `backbone` where it is given. An interrupt or an error ends all workers; their
    checkpoints stay, and the next call goes on from them. Raises TrainingError where a worker failed.
    """
    from algorithms.run import is_finished

    waiting = [config for config in configs if not is_finished(config.folder)]
    workers = min(workers, len(waiting))
    if workers <= 1:
        for config in waiting:
            ensure_trained(config, backbone)
        return
    team = [_Worker() for _ in range(workers)]
    with TrainingBars(waiting) as bars:
        try:
            while waiting or any(worker.training for worker in team):
                for worker in team:
                    if worker.training is None and waiting:
                        worker.start(waiting.pop(0))
                time.sleep(0.25)
                bars.update([worker.training.folder for worker in team if worker.training])
                for worker in team:
                    worker.check()
        finally:
            patience = time.monotonic() + 2.0  # a Ctrl-C in a terminal reaches the workers too: they save and end
            for worker in team:
                worker.end(max(0.0, patience - time.monotonic()))


class _Worker:
    """A process that trains what it is sent, one run after the other: what it loads and imports serves all of them."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.training: TrainConfig | None = None

    def start(self, config: TrainConfig) -> None:
        self.training = config
        self.connection.send(config.to_json())

    def check(self) -> None:
        """Be free again once the run has ended. Raises what ended it, if that was not its last update."""
        if self.training is None or (self.process.is_alive() and not self.connection.poll()):
            return
        config, self.training = self.training, None
        try:
            kind, text = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            kind, text = "error", f"its process ended with exit code {self.process.exitcode}"
        check_end(config, kind, text)

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
    """The body of a worker process: train what comes, until nothing can come any more."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        while True:
            connection.send(outcome(connection.recv()))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def outcome(config_json: Mapping[str, Any]) -> tuple[str, str]:
    """How training a run ended, in a word, and what is to be told of it."""
    from algorithms.config import TrainConfig

    try:
        ensure_trained(TrainConfig.from_json(config_json), progress=False)
    except UsageError as error:
        return "usage", str(error)
    except KeyboardInterrupt:
        return "interrupted", ""
    except Exception as error:
        import traceback

        return "error", f"{error!r}\n{traceback.format_exc()}"
    return "done", ""


def _end_with(parent: int) -> None:
    """End this process soon after its parent has gone, even where the parent was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
