"""What a person sees of a running training: a bar with the time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from .metrics import Row


class Reporter:
    """Shows the rows of a run as they come, on stderr; a context manager. `enabled=False` shows nothing."""

    def __init__(self, title: str, updates: int, done: int = 0, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self.console = Console(file=sys.stderr, soft_wrap=True)
        self._bar: Progress | None = None
        self._validation = ""
        if enabled and self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("reward {task.fields[reward]}{task.fields[validation]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task(title, total=updates, completed=done, reward="–", validation="")

    def row(self, metrics: Row, done: float, seconds_left: float) -> None:
        """One update is finished, or the untrained network was judged (update 0); `done` updates' worth is behind."""
        update, accuracy = metrics["update"], metrics.get("validation_accuracy")
        if accuracy is not None:
            self._validation = f" validation {accuracy:.3f}"
        reward = f"{metrics['reward']:.3f}" if "reward" in metrics else "–"
        if "difficulty" in metrics:
            reward += f" at difficulty {metrics['difficulty']}"
        if self._bar is not None:
            self._bar.update(self._task, completed=int(done), reward=reward, validation=self._validation)
        elif self.enabled and accuracy is not None:
            left = f", about {_duration(seconds_left)} left" if seconds_left else ""
            self.line(f"update {update}: reward {reward},{self._validation}{left}")

    def line(self, text: str) -> None:
        if self.enabled:
            self.console.print(Text(text))

    def __enter__(self) -> Reporter:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
