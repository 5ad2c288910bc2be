"""A page for each task, made from the registry and the tasks' docstrings when the documentation is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from neuromas_env import SPLITS, Task, make_task, task_names
from neuromas_env.registry import task_factory
from neuromas_env.task_page import Split, TaskPage, describe, documentation, splits, summary


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add tasks/NAME.md for every task, and the list of all of them."""
    names = task_names()
    for name in names:
        files.append(File.generated(config, f"tasks/{name}.md", content="\n".join(page(make_task(name)))))
    files.append(File.generated(config, "tasks/index.md", content="\n".join(index(names))))
    return files


def index(names: list[str]) -> Iterator[str]:
    """The list of all tasks, a section a family."""
    yield "# Tasks\n"
    yield (
        "A task gives questions in splits that never overlap and scores answers. Each has a version, which rises "
        "whenever a question, a split or a score changes. Pages below are made from the code itself; "
        "`neuromas tasks NAME` shows the same in a terminal, with questions.\n"
    )
    single = [name for name in names if "/" not in name]
    yield from _section("Single tasks", single)
    for family, members in groupby([name for name in names if "/" in name], key=lambda name: name.partition("/")[0]):
        chosen = list(members)
        yield f"\n## `{family}/…`: {len(chosen)} tasks\n"
        yield documentation(task_factory(chosen[0])) + "\n"
        yield from _section("", chosen)


def _section(title: str, names: list[str]) -> Iterator[str]:
    if title:
        yield f"## {title}\n"
    yield "| task | what it is |\n|---|---|"
    for name in names:
        yield f"| [`{name}`]({name}.md) | {_cell(summary(name))} |"
    yield ""


def page(task: Task) -> Iterator[str]:
    """The page of one task, in Markdown."""
    about: TaskPage = describe(task)
    yield f"# {about.name}\n"
    yield f"{about.summary}\n"
    if about.body:
        yield f"{about.body}\n"
    yield f"- **Version** {about.version}"
    yield f"- **Source** {about.source}"
    yield f"- **Licence** {about.licence}"
    if about.instruction:
        yield f"- **Instruction to nodes** {about.instruction}"
    yield f"- **Longest message** {about.max_message_tokens} tokens"
    yield from _splits(task)
    if about.options:
        yield "\n## Options\n"
        yield "| option | default | meaning |\n|---|---|---|"
        for name, default, meaning in about.options:
            yield f"| `{name}` | {f'`{default}`' if default else 'needed'} | {_cell(meaning)} |"
    made_up = task.trains_on_data
    yield "\n## Example\n"
    yield ("A question made up in the published form:\n" if made_up else "The first training question:\n")
    yield _block(about.example.prompt)
    yield "\nIts reference answer:\n"
    yield _block(about.example.answer)
    yield "\n## Use\n"
    data = " --data PATH" if made_up else ""
    yield _block(
        f"neuromas tasks {about.name}{data}\nneuromas compare {about.name}{data} --methods direct,self-consistency",
        "bash",
    )


def _splits(task: Task) -> Iterator[str]:
    """The splits: with hashes where they need no data, else as many rows as were published."""
    yield "\n## Splits\n"
    if not task.trains_on_data:
        yield "| split | questions | SHA-256 |\n|---|---|---|"
        recorded = getattr(task, "hashes", None)
        for split in splits(task) if recorded is None else _recorded(task, recorded):
            yield f"| {split.name} | {split.size} | {f'`{split.sha256}`' if split.sha256 else ''} |"
        return
    rows = getattr(task, "rows", {})
    hashes = getattr(task, "hashes", {})
    yield f"Read from `--data PATH`, or from the hub: `{task.hub}`.\n" if hasattr(task, "hub") else ""
    if rows:
        yield "| split | published rows | content hash of the published rows |\n|---|---|---|"
        for split in SPLITS:
            if split in rows:
                yield f"| {split} | {rows[split]:,} | {f'`{hashes[split]}`' if split in hashes else 'not known'} |"


def _recorded(task: Task, hashes: Mapping[str, str]) -> Iterator[Split]:
    """The splits of a task whose hashes are on record: drawing every question for them takes minutes."""
    for split in SPLITS:
        size = task.size(split)
        yield Split(split, "endless" if size is None else f"{size:,}", hashes.get(split, ""))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _block(text: str, language: str = "text") -> str:
    fence = "````"
    return f"{fence}{language}\n{text}\n{fence}"
