import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from neuromas_env import UsageError, cli, run_episodes
from neuromas_env.transcripts import TranscriptWriter

COMMANDS = EntryPoints(
    EntryPoint(name, f"neuromas_env.commands:{command}", group)
    for name, command, group in (
        ("tasks", "tasks", "neuromas.commands"),
        ("show", "show", "neuromas.commands"),
        ("page", "show", "neuromas.commands.write"),
    )
)
"""Two commands, and one of a family: `neuromas write page`."""


@pytest.fixture(autouse=True)
def own_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of this package, installed or not."""
    monkeypatch.setattr(cli, "entry_points", lambda **wanted: COMMANDS.select(**wanted))
    monkeypatch.setenv("COLUMNS", "200")


def neuromas(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(args)
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.fixture
def transcript(solver, tmp_path: Path) -> Path:
    path = tmp_path / "episodes.jsonl"
    with TranscriptWriter(path) as writer:
        from spell import Spell

        run_episodes(Spell(), "1-1", solver, [0, 1], transcript=writer)
    return path


def test_help_lists_the_commands_without_importing_them(capsys, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "neuromas_env.commands", raising=False)
    for args in ((), ("--help",), ("-h",)):
        code, out, err = neuromas(capsys, *args)
        assert (code, err) == (0, "")
        assert "show   Draw a network and every message of its episodes, as one HTML page." in out
    assert "neuromas_env.commands" not in sys.modules


def test_a_family_of_commands_has_help_of_its_own(capsys, transcript: Path) -> None:
    code, out, _ = neuromas(capsys, "--help")
    assert "write  page: see `neuromas write`" in out
    for args in (("write",), ("write", "--help")):
        code, out, err = neuromas(capsys, *args)
        assert (code, err) == (0, "")
        assert "neuromas write" in out
        assert "page  Draw a network" in out
        assert "tasks" not in out
    assert neuromas(capsys, "write", "page", str(transcript))[0] == 0
    code, _, err = neuromas(capsys, "write", "pgae")
    assert code == 2
    assert "did you mean page" in err
    assert "write" in neuromas(capsys, "wirte")[2]


def test_every_option_of_every_command_is_explained(capsys) -> None:
    code, out, _ = neuromas(capsys, "show", "--help")
    assert code == 0
    for text in ("RUN|TRANSCRIPT.jsonl", "--out FILE.html", "--episodes INT", "The most episodes to show"):
        assert text in out


def test_tasks(capsys) -> None:
    code, out, _ = neuromas(capsys, "tasks")
    assert code == 0
    assert {"chain", "navigate", "arc_challenge", "bbh/…", "mmlu/…"} <= {
        line.split()[0] for line in out.splitlines()[1:]
    }
    assert "endless" in out
    code, out, _ = neuromas(capsys, "tasks", "chain", "--difficulty", "4")
    assert "reference answer" in out


def test_show_writes_one_page(capsys, transcript: Path) -> None:
    code, out, _ = neuromas(capsys, "show", str(transcript))
    page = transcript.with_suffix(".html")
    assert (code, out.strip()) == (0, str(page))
    assert page.read_text().startswith("<!DOCTYPE html>")
    code, _, _ = neuromas(capsys, "show", str(transcript), "--out", str(transcript.parent / "other.html"))
    assert (transcript.parent / "other.html").read_text() == page.read_text()


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["shwo"], "unknown command 'shwo'; did you mean show?"),
        (["tasks", "chian"], "unknown task 'chian'; did you mean chain?"),
        (["tasks", "chain", "--data", "{t}"], "takes no option 'data'"),
        (["tasks", "chain", "--difficulty", "9-1"], "9-1"),
        (["tasks", "navigate", "--data", "{t}"], "line 2"),
        (["tasks", "navigate", "--data", "{d}/none.json"], "none.json"),
        (["tasks", "--difficulty", "2"], "need the name of a task"),
        (["tasks", "--colour", "red"], "--colour"),
        (["tasks", "--dificulty", "2"], "Perhaps you meant: --difficulty"),
        (["show"], "RUN|TRANSCRIPT.jsonl"),
        (["show", "{d}/none.jsonl"], "cannot read"),
        (["show", "{d}"], "holds no transcripts"),
        (["show", "{t}", "--episodes", "0"], "at least 1"),
        (["show", "{t}", "--episodes", "many"], "many"),
        (["show", "{t}", "--out", "{t}"], "file of its own"),
        (["show", "{t}", "--out", "{d}"], "file of its own"),
        (["show", "{t}", "--out", "{d}/none/page.html"], "cannot write"),
        (["show", "{t}", "--out", "{t}/page.html"], "cannot write"),
        (["tasks", "\ud800\n\x1b[31m"], "unknown task"),
        (["show", "{d}/a\nb\x1b[31m\udc80"], "cannot read"),
    ],
)
def test_bad_input_is_one_line_and_code_2_and_writes_nothing(capsys, transcript: Path, args, named: str) -> None:
    before = sorted(transcript.parent.rglob("*"))
    code, out, err = neuromas(capsys, *(arg.format(t=transcript, d=transcript.parent) for arg in args))
    assert (code, out) == (2, "")
    assert err.startswith("neuromas: error: ")
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert named in err
    assert sorted(transcript.parent.rglob("*")) == before


def test_commands_may_be_dataclasses_and_their_stderr_is_not_held_back(capsys) -> None:
    @dataclass
    class Greet:
        """Say hello."""

        name: str
        """Whom to greet."""

        def run(self) -> None:
            print(f"hello {self.name}", file=sys.stderr)
            raise UsageError("two\nlines")

    with pytest.raises(UsageError, match="two"):
        cli.call(Greet, ["--name", "you"], prog="neuromas greet")
    assert capsys.readouterr().err == "hello you\n"


def test_a_missing_extra_is_named(capsys, monkeypatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(cli, "call", absent)
    code, _, err = neuromas(capsys, "tasks")
    assert (code, err) == (2, "neuromas: error: torch is not installed; it comes with: pip install 'neuromas[llm]'\n")


def test_defects_keep_their_traceback(monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'our_typo'", name="our_typo")

    monkeypatch.setattr(cli, "call", broken)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["tasks"])


def test_files_of_the_working_directory_shadow_nothing(tmp_path: Path) -> None:
    for name in ("algorithms", "rich", "tyro"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('shadowed')")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-m", "neuromas_env.cli", "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: neuromas" in done.stdout
