"""The examples run as a reader would run them, and an algorithm of another package trains by its name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parent.parent


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_flat_loop_is_short_and_learns(tmp_path):
    path = ROOT / "examples" / "train_loop.py"
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert not re.search(r"\btrain\(|trainer import|learner import", text)
    out = run(str(path), "--updates", "10", "--questions", "8", "--judged", "100", cwd=tmp_path)
    before, after = (float(re.search(rf"^{name}: (\S+)", out, re.MULTILINE)[1]) for name in ("untrained", "trained"))
    assert after > before + 0.2  # 0.95 against 0.50 where it was written
    assert (tmp_path / "runs" / "train_loop-seed0" / "network.json").exists()


def test_an_algorithm_of_an_installed_package_trains_by_its_name(tmp_path):
    """The algorithm of the documentation, offered by an entry point as an installed package has it."""
    page = (ROOT / "docs" / "algorithms.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class BestOf" in block]
    site = tmp_path / "site"
    metadata = site / "my_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "my_package.py").write_text(code[: code.index("run = train(")])
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[neuromas.algorithms]\nbest-of = my_package:BestOf\n")
    out = run(
        "-m", "neuromas_env.cli", "train", "chain", "--algorithm", "best-of", "--options", "keep", "1",
        "--credit", "counterfactual", "--updates", "2", "--questions", "4", "--validation-questions", "20",
        "--out", "run", cwd=tmp_path, PYTHONPATH=str(site),
    )  # fmt: skip
    assert "best network" in out
    config = (tmp_path / "run" / "config.json").read_text(encoding="utf-8")
    assert '"keep": 1' in config
    assert '"algorithm": "best-of"' in config


def test_the_traps_make_their_tables(tmp_path, monkeypatch):
    """The script itself, on runs of a few updates: conditions, measures, and going on where it stopped."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import traps
    finally:
        sys.path.pop(0)
    trained = []

    def short(config, **options):
        from dataclasses import replace

        from algorithms import train

        trained.append(config.out)
        small = {"questions": 2, "samples": 4, "updates": 2, "validation_questions": 10, "validation_every": 1}
        return train(replace(config, **small), **options)

    monkeypatch.setattr(traps, "train", short)
    traps.main(traps.Config("silence", 1, out=tmp_path))
    table = (tmp_path / "silence.md").read_text(encoding="utf-8").splitlines()
    assert [line.split("|")[1].strip() for line in table[2:4]] == ["under the cost", "under the cost, silence_cost 1"]
    assert all(len(line.split("|")) == 7 for line in table)
    count = len(trained)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    traps.main(traps.Config("silence", 1, out=tmp_path))
    assert len(trained) == 2 * count
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")} == before
