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
    """Train every unfinished run, `workers` at a time; each worker is a process of its own with one bar.

    One worker trains in this process, on `backbone` where it is given. An interrupt or an error ends all workers; their
    checkpoints stay, and the next call goes on from them. Raises TrainingError where a worker failed.
    """
    from algorithms.run import is_finished

    waiting = [config for config in configs if not is_finished(config.folder)]
    if min(workers, len(waiting)) <= 1:
        for config in waiting:
            ensure_trained(config, backbone)
        return
    context = multiprocessing.get_context("spawn")
    active: list[tuple[TrainConfig, Any, Connection]] = []
    with TrainingBars(waiting) as bars:
        try:
            while waiting or active:
                while waiting and len(active) < workers:
                    config = waiting.pop(0)
                    receiver, sender = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(config.to_json(), sender, os.getpid()), daemon=True)
                    process.start()
                    sender.close()
                    active.append((config, process, receiver))
                time.sleep(0.25)
                bars.update()
                for entry in [entry for entry in active if not entry[1].is_alive()]:
                    active.remove(entry)
                    _check_end(*entry)
        finally:
            patience = time.monotonic() + 2.0  # a Ctrl-C in a terminal reaches the workers too: they save and end
            for _, process, _ in active:
                process.join(max(0.0, patience - time.monotonic()))
                process.terminate()
            for _, process, _ in active:
                process.join()


def _check_end(config: TrainConfig, process: Any, receiver: Connection) -> None:
    from algorithms.errors import TrainingError

    try:
        kind, text = receiver.recv()
    except EOFError:
        kind, text = "error", f"its process ended with exit code {process.exitcode}"
    if kind == "usage":
        raise UsageError(text)
    if kind == "interrupted":
        raise KeyboardInterrupt
    if kind != "done":
        raise TrainingError(f"training in {config.folder} failed: {text}")


def _work(config_json: Mapping[str, Any], sender: Connection, parent: int) -> None:
    """The body of a worker process: train, and report how it ended."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from transformers.utils.logging import disable_progress_bar

    from algorithms.config import TrainConfig

    disable_progress_bar()
    try:
        ensure_trained(TrainConfig.from_json(config_json), progress=False)
        sender.send(("done", ""))
    except UsageError as error:
        sender.send(("usage", str(error)))
    except KeyboardInterrupt:
        sender.send(("interrupted", ""))
    except Exception as error:
        import traceback

        sender.send(("error", f"{error!r}\n{traceback.format_exc()}"))


def _end_with(parent: int) -> None:
    """End this process soon after its parent has gone, even where the parent was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
