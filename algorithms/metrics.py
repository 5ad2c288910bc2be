"""The record of a run, one row an update: metrics.jsonl (what is learnt) and timings.jsonl (what it took).

metrics.jsonl holds only what the configuration decides, so two runs of one configuration are equal byte for byte;
everything that depends on the machine is in timings.jsonl. TensorBoard shows both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import write_text

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The whole rows of a JSONL file, oldest first; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


class RowFile:
    """A JSONL file that grows by one row an update and can be cut back to an update."""

    def __init__(self, path: Path, update: int) -> None:
        """Open `path`, dropping the rows after `update` (an interrupted run wrote them; they are written again)."""
        kept = [row for row in read_rows(path) if row["update"] <= update]
        write_text(path, "".join(_line(row) for row in kept))
        self._file = open(path, "a", encoding="utf-8", newline="\n")  # noqa: SIM115 - closed by `close`

    def append(self, row: Row) -> None:
        self._file.write(_line(row))
        self._file.flush()

    def sync(self) -> None:
        """Flush to disk: called before a checkpoint, so that no checkpoint is ahead of its rows."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


class MetricsLog:
    """Both row files and TensorBoard, opened after `update` (-1 for a new run)."""

    def __init__(self, folder: Path, update: int, *, tensorboard: bool = True) -> None:
        self.metrics = RowFile(folder / "metrics.jsonl", update)
        self.timings = RowFile(folder / "timings.jsonl", update)
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to import

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=update + 1)

    def append(self, metrics: Row, timings: Mapping[str, float]) -> None:
        update = metrics["update"]
        self.metrics.append(metrics)
        self.timings.append({"update": update, **timings})
        if self._board is not None:
            for name, value in _numbers({**metrics, "time": dict(timings)}):
                self._board.add_scalar(name, value, update)

    def sync(self) -> None:
        self.metrics.sync()
        self.timings.sync()
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        self.metrics.close()
        self.timings.close()
        if self._board is not None:
            self._board.close()


def _numbers(row: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and name != "update":
            found.append((prefix + name, value))
    return found
