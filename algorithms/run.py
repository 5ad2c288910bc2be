"""A run folder, as a value: what was trained, how it went, and the networks it left.

RUN/config.json        the configuration, what it resolved to, and the versions of the libraries
RUN/topology.json      the network's graph
RUN/metrics.jsonl      a row an update (metrics.py); timings.jsonl beside it; tensorboard/
RUN/transcripts/       episodes of each validation with every message
RUN/checkpoints/       step_N/ (checkpoint.py)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import CheckpointError, UsageError

from .checkpoint import Checkpoint, checkpoints
from .config import TrainConfig, differences
from .errors import TrainingError
from .files import TEMPORARY, write_json, writing
from .metrics import Row, read_rows

if TYPE_CHECKING:
    from .backbone import Backbone
    from .network import Network

FORMAT = 1
STARTED = frozenset({"checkpoints", "transcripts", "topology.json", ".lock"})
"""What a start that was killed before it wrote `config.json` may have left."""
FOLDERS = ("checkpoints", "transcripts")


@dataclass(frozen=True)
class Run:
    """The run in `folder`. Every property is read from disk, so it also follows a run that is still going."""

    folder: Path

    def __post_init__(self) -> None:
        if not is_run(self.folder):
            raise CheckpointError(f"{self.folder} is not a training run (it has no config.json)")

    @property
    def record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.folder / 'config.json'} cannot be read: {error}") from None
        if not isinstance(record, dict):
            raise CheckpointError(f"{self.folder / 'config.json'} is not the record of a training run")
        if record.get("format") != FORMAT:
            raise CheckpointError(f"{self.folder} has format {record.get('format')!r}; this version reads {FORMAT}")
        return record

    @property
    def config(self) -> TrainConfig:
        return TrainConfig.from_json(self.record["config"])

    @property
    def metrics(self) -> list[Row]:
        return read_rows(self.folder / "metrics.jsonl")

    @property
    def timings(self) -> list[Row]:
        return read_rows(self.folder / "timings.jsonl")

    @property
    def seconds(self) -> float:
        """What its updates and validations took, all in all."""
        return float(sum(v for row in self.timings for name, v in row.items() if name.endswith("_seconds")))

    @property
    def latest(self) -> Checkpoint | None:
        """The last whole checkpoint, if there is one yet."""
        found = checkpoints(self.folder)
        return found[-1] if found else None

    def checkpoint(self, which: str | int = "best") -> Checkpoint:
        """The "best" by validation (the last where nothing was validated), the "last", or that of an update."""
        found = checkpoints(self.folder)
        if not found:
            raise CheckpointError(f"{self.folder} holds no checkpoint yet")
        wanted = found[-1].state().best_update if which == "best" else which
        if which == "last" or wanted is None:
            return found[-1]
        for checkpoint in found:
            if checkpoint.update == wanted:
                return checkpoint
        kept = ", ".join(str(checkpoint.update) for checkpoint in found)
        raise CheckpointError(f"{self.folder} keeps no checkpoint of update {wanted} (kept: {kept})")

    def network(self, which: str | int = "best", backbone: Backbone | None = None) -> Network:
        return self.checkpoint(which).network(backbone)

    @property
    def finished(self) -> bool:
        latest, config = self.latest, self.config
        if latest is None:
            return False
        if config.token_budget is None and not config.patience:
            return latest.update >= config.updates
        return latest.state().finished


def is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def is_finished(folder: Path) -> bool:
    """Whether there is a run in `folder` with nothing left to do."""
    return is_run(folder) and Run(folder).finished


def check_free(folder: Path, resume: bool) -> bool:
    """Whether a run in `folder` is to be resumed. Refuses, with UsageError, a folder that is not ours to write in."""
    if is_run(folder):
        if not resume:
            raise UsageError(f"{folder} already holds a run: add --resume to go on with it, or choose another --out")
        return True
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; a run needs a folder")
    if folder.is_dir() and any(path.name not in STARTED and TEMPORARY not in path.name for path in folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no run: choose another --out")
    return False


def create_run(folder: Path, record: Mapping[str, Any], topology: Mapping[str, Any]) -> Run:
    """Make the run folder; `config.json` is written last, and makes it a run. Raises WriteError where it cannot."""
    with writing(folder):
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_json(folder / "topology.json", topology)
        write_json(folder / "config.json", {"format": FORMAT, **record})
    return Run(folder)


def reopen_run(folder: Path, record: Mapping[str, Any]) -> Run:
    """The run in `folder`, if it is the one `record` describes; else UsageError names what differs."""
    run = Run(folder)
    old = run.record
    changed = differences(run.config.to_json(), record["config"]) + differences(old["resolved"], record["resolved"])
    if changed:
        raise UsageError(f"{folder} holds another run: {'; '.join(changed)}")
    for name in FOLDERS:
        with writing(folder / name):
            (folder / name).mkdir(exist_ok=True)
    return run


@contextmanager
def stopping_whole(run: Run) -> Iterator[None]:
    """Around training: what cannot be written or read there becomes a TrainingError that says what is kept.

    A CheckpointError stays one: nothing was begun.
    """
    try:
        yield
    except CheckpointError:
        raise
    except UsageError as error:
        raise TrainingError(f"{error}. Training stopped; {_what_is_kept(run)}") from None


def _what_is_kept(run: Run) -> str:
    folder, latest = run.folder, run.latest
    if not is_run(folder):
        return f"{folder} was deleted or moved, and is not made again; one that was moved can be resumed there (--out)"
    if latest is None:
        return f"there is no checkpoint yet. With that put right, --resume starts {folder} over"
    kept = f"everything up to update {latest.update} is kept in {folder}"
    return f"{kept}. With that put right, --resume goes on from there"
