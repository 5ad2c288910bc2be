"""Every snippet of the README and the documentation runs as it stands, and every command of them is one that exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
FAMILIES = {"leaderboard"}
"""Commands that are followed by another one."""
COMMANDS = [
    found[0]
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if (found := re.search(r"(?<![-/\w])neuromas [^#]*", line))  # torchrun or a variable may stand before it
]


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs(code, tmp_path):
    if "from algorithms" in code:
        pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if "Calculator" in code:
        assert done.stdout.strip() == "1.0"


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_command_names_what_exists(command):
    """Options and subcommands are checked against each command's own help; nothing is run."""
    pytest.importorskip("tyro")
    _, name, *arguments = shlex.split(command)
    whole = [name, arguments.pop(0)] if name in FAMILIES else [name]
    done = subprocess.run(
        [sys.executable, "-m", "neuromas_env.cli", *whole, "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for argument in arguments:
        if argument.startswith("--"):
            assert re.search(rf"{re.escape(argument)}\b", done.stdout), f"{name} has no option {argument}"
