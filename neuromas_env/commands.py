"""The commands of this package: `neuromas tasks` and `neuromas show`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from .errors import DataFileError, UsageError
from .registry import make_task, task_factory, task_names, typed_options
from .show import MAX_EPISODES, load, render_page
from .task import SPLITS, Task, split_size
from .task_page import describe, documentation, sample, splits, summary
from .text import visible


def tasks(
    task: Annotated[str | None, tyro.conf.Positional] = None,
    /,
    data: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None,
    difficulty: Annotated[str | None, tyro.conf.arg(metavar="LOW-HIGH")] = None,
    task_options: Annotated[dict[str, str] | None, tyro.conf.arg(metavar="NAME VALUE ...")] = None,
) -> None:
    """List the tasks that can be solved, or show one in detail with three of its questions.

    Args:
        task: One task, such as chain or bbh/navigate, or a family of tasks, such as bbh.
        data: A file of the task's published format, or a folder of such files.
        difficulty: A range of difficulty, for the tasks that have one.
        task_options: Further options of the task, such as shots 5.
    """
    console = Console(soft_wrap=False, highlight=False)
    if task is None:
        if data is not None or difficulty is not None or task_options:
            raise UsageError("--data and --difficulty need the name of a task: neuromas tasks TASK --data PATH")
        _list(console, _grouped(task_names()))
    elif members := [name for name in task_names() if name.startswith(f"{task}/")]:
        _list(console, members)
    else:
        given: dict[str, Any] = {"data": data, "difficulty": difficulty, **typed_options(task_options)}
        _detail(console, make_task(task, **given))


def _grouped(names: Sequence[str]) -> list[str]:
    """The names with one line `family/…` for each family of many."""
    families = Counter(name.partition("/")[0] for name in names if "/" in name)
    return sorted({f"{name.partition('/')[0]}/…" if families[name.partition("/")[0]] > 3 else name for name in names})


def _list(console: Console, names: Sequence[str]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("task", *SPLITS):
        table.add_column(column, justify="left" if column == "task" else "right", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for name in names:
        family = name.removesuffix("/…")
        if family != name:
            members = [other for other in task_names() if other.startswith(f"{family}/")]
            sentence = re.split(r"(?<=[.?!]) ", " ".join(documentation(task_factory(members[0])).split()))[0]
            table.add_row(name, "", "", "", Text(f"{len(members)} tasks (neuromas tasks {family}). {sentence}"))
            continue
        try:
            made = make_task(name)
            sizes = [_listed_size(made, split) for split in SPLITS]
            table.add_row(name, *sizes, Text(summary(name)))
        except UsageError as error:  # a task of another package, say, that needs a data file
            table.add_row(name, *["?"] * len(SPLITS), Text(str(error)))
    console.print(table)


def _listed_size(task: Task, split: str) -> str:
    """The size of a split, without loading anything: what is published is told by the publication."""
    rows = getattr(task, "rows", None)
    size = split_size(task, split) if rows is None else rows.get(split, 0)
    return "endless" if size is None else f"{size:,}" if size else "–"


def _detail(console: Console, task: Task) -> None:
    page = describe(task)
    console.print(Text(f"{page.name}, version {page.version}: {page.summary}\n"))
    if page.body:
        console.print(Markdown(page.body), "")
    lines = [f"source   {page.source}", f"licence  {page.licence}"]
    lines += [f"answers  {page.instruction}"] if page.instruction else []
    lines.append(f"limit    {page.max_message_tokens} tokens a message")
    if page.options:
        lines += ["", "options"]
        lines += [f"  {name:<20} {default:<6} {meaning}".rstrip() for name, default, meaning in page.options]
    console.print(Text("\n".join(lines)))
    try:
        found, questions = splits(task), sample(task, 3)
    except DataFileError as error:
        console.print(Text(f"\nno questions: {error}"))
        found, questions = [], [page.example]
    if found:
        console.print(Text("\nsplits"))
        for split in found:
            console.print(Text(f"  {split.name:<10} {split.size:>8}  {split.sha256}  {split.origin}".rstrip()))
    for question in questions:
        console.print(Text(f"\n{'made-up example' if question is page.example else question.id}", style="bold"))
        console.print(Text(visible(question.prompt, keep_newlines=True)))
        console.print(Text(f"reference answer: {visible(question.answer, keep_newlines=True)}"))


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
