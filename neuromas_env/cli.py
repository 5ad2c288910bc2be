"""The command `neuromas`. Its subcommands are the entry points of the group `neuromas.commands`, from any package, and
those of a subcommand's own, as in `neuromas leaderboard pack`, the entry points of `neuromas.commands.leaderboard`.

A subcommand is a function whose arguments are the options, or a dataclass with a method `run()`; tyro reads both.
Listing the commands imports none of them: the one-line summaries are read from the source. A wrong input ends with
one line on stderr and exit code 2.
"""

from __future__ import annotations

import ast
import difflib
import functools
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import UsageError
from .text import visible

EXTRAS = {
    **dict.fromkeys(("tyro", "rich"), "cli"),
    **dict.fromkeys(("torch", "transformers", "peft", "safetensors", "tokenizers", "tensorboard", "yaml"), "llm"),
    "matplotlib": "llm",
    **dict.fromkeys(("pydantic", "sqlalchemy", "alembic", "fastapi", "uvicorn", "jinja2", "httpx"), "leaderboard"),
    "datasets": "tasks",
    "stable_baselines3": "sb3",
}
"""Which extra brings an optional dependency."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line (`sys.argv` by default) and exit."""
    if args is None:
        _leave_working_directory()
        args = sys.argv[1:]
    try:
        code = run(list(args))
        sys.stdout.flush()
    except UsageError as error:
        code = _complain(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        code = _complain(f"{package} is not installed; it comes with: pip install 'neuromas[{EXTRAS[package]}]'")
    except (PermissionError, NotADirectoryError) as error:
        code = _complain(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        print("neuromas: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of a pipe has gone, as in `neuromas tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


GROUP = "neuromas.commands"


def run(args: list[str], of: str = "") -> int:
    """Run one command (`of` another, where it is a subcommand's own) and return its exit code. Raises UsageError for an
    unknown command or a wrong option."""
    points = entry_points()
    commands = {point.name: point for point in points.select(group=f"{GROUP}.{of}" if of else GROUP)}
    families = {} if of else _families(points)
    if not args or args[0] in ("-h", "--help", "help"):
        print(overview(commands, families, of))
        return 0
    if args[0] in ("-V", "--version") and not of:
        print(f"neuromas {version('neuromas')}")
        return 0
    name, options = args[0], args[1:]
    if name in families:
        return run(options, name)
    if name not in commands:
        known = sorted([*commands, *families])
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"unknown command {name[:100]!r}{hint} (known: {', '.join(known)})")
    return call(commands[name].load(), options, prog=" ".join(filter(None, ["neuromas", of, name])))


def _families(points: Any) -> dict[str, list[str]]:  # of all groups; the class is another in Python 3.11 than later
    """Commands that have commands of their own, and which."""
    groups = [group for group in points.groups if group.startswith(f"{GROUP}.")]
    return {group[len(GROUP) + 1 :]: sorted(points.select(group=group).names) for group in sorted(groups)}


def call(command: Callable[..., Any], options: list[str], prog: str) -> int:
    """Parse `options` for `command` and run it. Raises UsageError with tyro's complaint as one line."""
    import tyro

    @functools.wraps(command, updated=())
    def bind(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(command, *args, **kwargs)

    said = io.StringIO()
    action: Callable[[], Any]
    try:
        with redirect_stderr(said):  # only the parsing: what the command itself writes to stderr must be seen at once
            if isinstance(command, type):
                action = tyro.cli(command, prog=prog, args=options).run
            else:
                action = tyro.cli(bind, prog=prog, args=options)
    except SystemExit as stop:
        if stop.code in (None, 0):
            return 0
        raise UsageError(one_line(said.getvalue())) from None
    action()
    return 0


def one_line(complaint: str) -> str:
    """The first paragraph within the box that tyro draws, and its guess at what was meant."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", complaint)
    lines = [line.strip(" │|") for line in text.strip().splitlines()[1:-1]]  # the first and last draw the box
    paragraphs = [" ".join(part.split()) for part in re.split(r"^[─-]{3,}$", "\n".join(lines), flags=re.MULTILINE)]
    hints = [part for part in paragraphs[1:] if part.startswith("Perhaps you meant")]
    return "; ".join([paragraphs[0] or " ".join(text.split()), *hints])


def overview(commands: dict[str, EntryPoint], families: dict[str, list[str]], of: str = "") -> str:
    """The help text: all commands with the first line of their description."""
    told = {name: summary(point) for name, point in commands.items()}
    told |= {name: f"{', '.join(own)}: see `neuromas {name}`" for name, own in families.items()}
    width = max(map(len, told), default=0)
    lines = [f"  {name:<{width}}  {told[name]}".rstrip() for name in sorted(told)]
    prog = " ".join(filter(None, ["neuromas", of]))
    if not lines:
        lines = ["  (no command is installed; install the package with: pip install neuromas)"]
    return "\n".join(
        [
            f"usage: {prog} COMMAND [OPTIONS]",
            "",
            "Networks of language models: train them, compare them, read what they say.",
            "",
            "commands:",
            *lines,
            "",
            f"`{prog} COMMAND --help` explains a command; `neuromas --version` shows the version.",
        ]
    )


def summary(point: EntryPoint) -> str:
    """The first line of a command's docstring, read from its source without importing it."""
    try:
        spec = find_spec(point.module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return f"(broken: there is no module {point.module})"
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) and statement.name == point.attr:
            return (ast.get_docstring(statement) or "").partition("\n")[0]
    return ""


def _complain(message: str) -> int:
    print(f"neuromas: error: {visible(' '.join(message.split()))}", file=sys.stderr)
    return 2


def _leave_working_directory() -> None:
    """Take the working directory off the path, where `python -m` puts it: files there must not shadow our packages."""
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]


if __name__ == "__main__":
    main()
