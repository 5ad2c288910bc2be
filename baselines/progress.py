"""What a person sees while several runs are trained by worker processes: one bar each, fed from the metrics on disk."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from algorithms import TrainConfig


class TrainingBars:
    """Bars in a terminal, plain lines at each validation elsewhere; a context manager, on stderr."""

    def __init__(self, configs: Sequence[TrainConfig]) -> None:
        self.console = Console(file=sys.stderr, soft_wrap=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.runs = [(config.folder, config.updates) for config in configs]
        self.bars = [
            self.progress.add_task(f"training {_title(folder)}", total=updates, state="waiting", start=False)
            for folder, updates in self.runs
        ]
        self._told: dict[Path, int] = {}
        self._last: set[Path] = set()

    def update(self, folders: Collection[Path] | None = None) -> None:
        """Read how far the runs in `folders` are, and those that were looked at before; without it, all runs."""
        from algorithms.metrics import read_rows

        looked_at = {folder for folder, _ in self.runs} if folders is None else {*folders, *self._last}
        self._last = set(folders or ())
        for (folder, updates), bar in zip(self.runs, self.bars, strict=True):
            if folder not in looked_at:
                continue
            rows = read_rows(folder / "metrics.jsonl")
            if not rows:
                continue
            self.progress.start_task(bar)
            judged = [row for row in rows if row.get("validation_accuracy") is not None]
            state = f"validation {judged[-1]['validation_accuracy']:.3f}" if judged else ""
            self.progress.update(bar, completed=rows[-1]["update"], state=state)
            if judged and not self.console.is_terminal and self._told.get(folder) != judged[-1]["update"]:
                self._told[folder] = judged[-1]["update"]
                self.console.print(
                    f"{_title(folder)}: update {judged[-1]['update']} of {updates}, {state}", markup=False
                )

    def __enter__(self) -> TrainingBars:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.update()
        self.progress.stop()


def _title(folder: Path) -> str:
    return folder.name.rsplit("-", 1)[0]  # without the digest of the settings
