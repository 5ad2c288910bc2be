"""The record of a run, one row an update: metrics.jsonl (what is learnt) and timings.jsonl (what it took).

metrics.jsonl holds only what the configuration decides, so two runs of one configuration are equal byte for byte;
everything that depends on the machine is in timings.jsonl. TensorBoard shows both.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuromas_env.errors import CheckpointError, UsageError

from .events import EventFile
from .files import GrowingFile, WriteError, write_text

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The whole rows of a JSONL file, oldest first; a last line cut by a kill is left out.

    Raises CheckpointError for any other line that is no row.
    """
    if not path.exists():
        return []
    rows: list[Row] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            _ = row["update"]
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(f"{path} is damaged: line {number} is not the row of an update") from None
        rows.append(row)
    return rows


class RowFile:
    """A JSONL file that grows by one row an update and can be cut back to an update."""

    def __init__(self, path: Path, update: int) -> None:
        """Open `path`, dropping the rows after `update` (an interrupted run wrote them; they are written again).

        `last` is the update of the last row left, -1 where there is none. Raises WriteError where the file cannot be
        written.
        """
        kept = [row for row in read_rows(path) if row["update"] <= update]
        self.last = kept[-1]["update"] if kept else -1
        write_text(path, "".join(_line(row) for row in kept))
        self._file = GrowingFile(path)

    def append(self, row: Row) -> None:
        """Write one row. Raises WriteError, also for a row with a number that is not finite."""
        try:
            line = _line(row)
        except ValueError:
            bad = ", ".join(name for name, value in _numbers(row) if not math.isfinite(value))
            raise WriteError(self._file.path, f"update {row['update']}: {bad} is not a finite number") from None
        self._file.append(line.encode())

    def sync(self) -> None:
        """Flush to disk: called before a checkpoint, so that no checkpoint is ahead of its rows."""
        self._file.sync()

    def close(self) -> None:
        self._file.close()


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


class MetricsLog:
    """Both row files, TensorBoard and Weights & Biases, opened after `update` (-1 for a new run).

    Raises WriteError where one of them cannot be written, CheckpointError where the metrics do not reach `update`,
    UsageError where `wandb` names a project and the package is missing.
    """

    def __init__(self, folder: Path, update: int, *, tensorboard: bool = True, wandb: str | None = None) -> None:
        self._wandb = start_wandb(folder, wandb) if wandb else None
        self.metrics = RowFile(folder / "metrics.jsonl", update)
        if self.metrics.last != update:
            raise CheckpointError(
                f"{folder / 'metrics.jsonl'} holds no row of update {update}, whose checkpoint is there: put the whole "
                "file back, or train again in another folder (--out)"
            )
        self.timings = RowFile(folder / "timings.jsonl", update)
        self._board = EventFile(folder / "tensorboard", update) if tensorboard else None

    def append(self, metrics: Row, timings: Mapping[str, float]) -> None:
        update = metrics["update"]
        self.metrics.append(metrics)
        self.timings.append({"update": update, **timings})
        numbers = dict(_numbers({**metrics, "time": dict(timings)}))
        if self._board is not None:
            self._board.append(update, numbers)
        if self._wandb is not None:
            self._wandb.log(numbers, step=update)

    def sync(self) -> None:
        self.metrics.sync()
        self.timings.sync()
        if self._board is not None:
            self._board.sync()

    def close(self) -> None:
        self.metrics.close()
        self.timings.close()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def import_wandb() -> Any:
    """The package of Weights & Biases. Raises UsageError where it is missing."""
    try:
        import wandb
    except ImportError:
        raise UsageError("--wandb needs the package wandb: pip install wandb") from None
    return wandb


def start_wandb(folder: Path, project: str) -> Any:
    """The run of Weights & Biases that belongs to `folder`: its name and id are the folder's, so resuming goes on."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = folder.resolve().name
    identity = hashlib.sha256(json.dumps([project, name, config["config"]], sort_keys=True).encode()).hexdigest()[:16]
    return import_wandb().init(project=project, name=name, id=identity, resume="allow", config=config["config"])


def _numbers(row: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and name != "update":
            found.append((prefix + name, value))
    return found
