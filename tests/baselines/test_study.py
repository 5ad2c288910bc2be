"""The study of algorithms and credit: what it combines, what it counts, and that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from baselines.study import CREDITS, Summary, combinations, study, table, tokens_to
from neuromas_env import UnknownNameError, UsageError

TINY = ("questions=2", "samples=4", "validation_questions=4", "rank=2", "max_tokens=4")


def test_every_algorithm_comes_with_its_own_credit_and_marked_ones_with_all():
    rows = combinations(["reinforce+", "grpo", "malt"], CREDITS, 2, {"grpo": "1e-3"})
    assert [row[:3] for row in rows] == [
        ("reinforce", "shared", 1),
        *(("reinforce", credit, 1) for credit in CREDITS),
        ("grpo", "shared", 2),
        ("malt", "tree", 2),
    ]
    assert rows[0][3] == "algorithm=reinforce"
    assert rows[2][3] == "algorithm=reinforce:credit=counterfactual:replacement=sample"
    assert rows[-2][3] == "algorithm=grpo:epochs=2:learning_rate=1e-3"
    with pytest.raises(UnknownNameError, match="did you mean grpo"):
        combinations(["grop"], (), 1, {})


def test_tokens_are_those_when_the_target_was_first_met():
    metrics: list[dict[str, Any]] = [
        {"update": 0, "validation_accuracy": 0.2},
        {"update": 1, "sampled_tokens": 10},
        {"update": 2, "sampled_tokens": 25, "validation_accuracy": 0.9},
        {"update": 4, "sampled_tokens": 50, "validation_accuracy": 0.95},
    ]
    assert tokens_to(metrics, 0.9) == 25
    assert tokens_to(metrics, 0.1) == 0
    assert tokens_to(metrics, 0.96) is None


def test_medians_and_ranges_show_a_seed_that_got_stuck():
    summary = Summary("grpo", "shared", 2, "1-1-1", [0.9, 0.1, 1.0], [100, None, 300], 5, 400, 0.25, 7)
    assert summary.median == 0.9
    assert summary.median_reached == 300
    assert Summary("grpo", "shared", 2, "1", [0.1] * 3, [None, None, 1], 5, 400, 0, 7).median_reached is None
    line = table([summary], 0.9).splitlines()[-1]
    assert "90.0 (10.0–100.0)" in line
    assert "2/3" in line
    assert "25 %" in line


def test_a_study_trains_to_its_budget_and_goes_on_where_it_stopped(
    backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    settings: dict[str, Any] = {
        "credits": "shapley", "topologies": "1-1", "seeds": 2, "token_budget": 150, "questions": 20,
        "backbone": str(backbone_folder), "train": TINY, "jobs": 1, "out": out,
    }  # fmt: skip
    study("coin", algorithms="reinforce", **settings)
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/metrics.jsonl")}
    assert len(before) == 2
    study("coin", algorithms="reinforce+,grpo", **settings)
    assert before.items() <= {p: p.stat().st_mtime_ns for p in (out / "runs").glob("*/metrics.jsonl")}.items()
    rows = json.loads((out / "study.json").read_text())["rows"]
    assert [(row["algorithm"], row["credit"], row["epochs"]) for row in rows] == [
        ("reinforce", "shared", 1),
        ("reinforce", "shapley", 1),
        ("grpo", "shared", 2),
    ]
    for row in rows:
        assert row["sampled_tokens"] >= 150
        assert len(row["accuracies"]) == 2
        assert (row["credit_calls"] > 0) == (row["credit"] == "shapley")
    assert (out / "table.md").read_text() in capsys.readouterr().out
    with pytest.raises(UsageError, match="at least 1 seed"):
        study("coin", **{**settings, "seeds": 0})
