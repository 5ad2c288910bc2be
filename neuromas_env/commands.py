"""The commands of this package: `neuromas tasks` and `neuromas show`."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .errors import UsageError
from .registry import make_task, task_factory, task_names
from .show import MAX_EPISODES, load, render_page
from .task import SPLITS, Task
from .text import visible


def tasks(
    task: Annotated[str | None, tyro.conf.Positional] = None,
    /,
    data: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None,
    difficulty: Annotated[str | None, tyro.conf.arg(metavar="LOW-HIGH")] = None,
) -> None:
    """List the tasks that can be solved, with their splits and sizes.

    Args:
        task: One task only, in detail, with an example question.
        data: A data file with questions in the task's published format.
        difficulty: A range of difficulty, for the tasks that have one.
    """
    console = Console(soft_wrap=False, highlight=False)
    if task is not None:
        _detail(console, make_task(task, data=data, difficulty=difficulty))
        return
    if data is not None or difficulty is not None:
        raise UsageError("--data and --difficulty need the name of a task: neuromas tasks TASK --data FILE")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("task", *SPLITS):
        table.add_column(column, justify="left" if column == "task" else "right", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for name in task_names():
        try:
            made = make_task(name)
            sizes = [_size(made, split) for split in SPLITS]
        except UsageError as error:  # a task of another package, say, that needs a data file
            sizes = ["?"] * len(SPLITS)
            table.add_row(name, *sizes, Text(str(error)))
            continue
        table.add_row(name, *sizes, Text(_summary(name)))
    console.print(table)


def _detail(console: Console, task: Task) -> None:
    lines = [f"{task.name}, version {task.version}: {_summary(task.name)}"]
    sizes = {split: size for split in SPLITS if (size := _size(task, split)) not in ("–", "0")}
    for split, size in sizes.items():
        digest = "" if size == "endless" else f"  sha256 {task.split_hash(split)[:16]}"
        lines.append(f"  {split:<10} {size:>8}{digest}")
    for split in list(sizes)[-1:]:
        question = task.question(split, 0)
        lines += ["", f"{split} question 0:", visible(question.prompt, keep_newlines=True)]
        lines.append(f"reference answer: {visible(question.answer)}")
    lines.append(f"at most {task.max_message_tokens} tokens a message")
    console.print(Text("\n".join(lines)))


def _size(task: Task, split: str) -> str:
    try:
        size = task.size(split)
    except ValueError:
        return "–"
    return "endless" if size is None else f"{size:,}"


def _summary(name: str) -> str:
    """The first sentence of the task's own docstring, or of its module's."""
    factory = task_factory(name)
    module = inspect.getmodule(factory)
    own = factory.__doc__ if "__doc__" in vars(factory) else None
    text = " ".join(inspect.cleandoc(own or (module.__doc__ if module else "") or "").split())
    return re.split(r"(?<=[.?!]) ", text, maxsplit=1)[0]


def show(
    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|TRANSCRIPT.jsonl")],
    /,
    out: Annotated[str | None, tyro.conf.arg(metavar="FILE.html")] = None,
    episodes: int = MAX_EPISODES,
) -> None:
    """Draw a network and every message of its episodes, as one HTML page.

    Args:
        path: A run folder, or one transcript.
        out: Where to write the page; by default show.html in the run folder, or beside the transcript.
        episodes: The most episodes to show of each transcript.
    """
    if episodes < 1:
        raise UsageError(f"--episodes is {episodes}; at least 1 is needed")
    source = Path(path)
    title, parts, metrics = load(source)
    target = Path(out) if out else source / "show.html" if source.is_dir() else source.with_suffix(".html")
    if target.is_dir() or target.resolve() == source.resolve():
        raise UsageError(f"--out {target} must be a file of its own")
    write_file(target, render_page(title, parts, metrics, max_episodes=episodes))
    print(target)


def write_file(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises UsageError where it cannot be written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True) if partial.parent.is_dir() else None
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
