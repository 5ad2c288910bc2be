"""Comparisons end to end on a tiny random backbone: what they write, repeat, refuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import baselines.compare
import baselines.workers
from algorithms.config import TrainConfig
from algorithms.errors import TrainingError
from algorithms.run import is_finished
from baselines.commands import compare, evaluate
from neuromas_env import UsageError, cli
from neuromas_env.transcripts import replay

METHODS = "direct,single-rl,untrained:1-1-1,neuromas:1-1-1"
TINY = ("updates=2", "questions=2", "samples=2", "validation_every=1", "validation_questions=4", "rank=2")


@pytest.fixture
def comparison(backbone_folder: Path, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Run `compare` in `tmp_path / "out"` and give back the rows."""

    def run(task: str = "coin", **changes: Any) -> list[dict[str, Any]]:
        settings: dict[str, Any] = {
            "methods": METHODS,
            "questions": 24,
            "backbone": str(backbone_folder),
            "train": TINY,
            "jobs": 1,
            "out": tmp_path / "out",
        }
        compare(task, **{**settings, **changes})
        return list(json.loads((tmp_path / "out" / "results.json").read_text())["rows"])

    return run


def test_a_comparison_has_a_row_a_method_and_seed_and_their_aggregates(
    comparison: Callable[..., list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = comparison(seeds=2, silence_layers=True, plot=tmp_path / "plot.svg", json=tmp_path / "results.json")
    names = [
        "direct", "single-rl", "untrained:1-1-1", "neuromas:1-1-1", "neuromas:1-1-1 (layer 1 silenced)",
        "neuromas:1-1-1 (layer 2 silenced)", "self-consistency",
    ]  # fmt: skip
    assert [(row["method"], row["seed"]) for row in rows] == [(name, seed) for name in names for seed in (0, 1, None)]
    total = {row["method"]: row for row in rows if row["seed"] is None}
    network, single, votes = total["neuromas:1-1-1"], total["single-rl"], total["self-consistency"]
    assert single["trainable_parameters"] == network["trainable_parameters"] > 0
    assert single["training_updates"] == 3 * network["training_updates"]
    assert votes["sampled_tokens"] <= network["sampled_tokens"] * 1.02
    assert votes["calls"] == votes["samples"]
    assert (network["calls"], total["direct"]["calls"]) == (3, 1)
    assert total["neuromas:1-1-1 (layer 1 silenced)"]["prompt_tokens"] < network["prompt_tokens"]
    assert total["neuromas:1-1-1 (layer 1 silenced)"]["calls"] == 3
    assert all(0 < row["accuracy"] < 1 for row in rows)
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == rows
    assert "<svg" in (tmp_path / "plot.svg").read_text()
    said = capsys.readouterr()
    assert "added self-consistency" in said.err
    assert "neuromas:1-1-1" in said.out
    assert said.out.count(" points (") == 2  # both trained methods, beside the votes at equal tokens
    for transcript in (tmp_path / "out" / "transcripts").iterdir():
        assert len(replay(transcript)) == 24


def test_nothing_finished_is_repeated(
    comparison: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = comparison()
    asked: list[int] = []
    ask = baselines.compare.ask

    def counted(*args: Any, **kwargs: Any) -> Any:
        asked.append(1)
        return ask(*args, **kwargs)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(baselines.compare, "ask", counted)
    monkeypatch.setattr("algorithms.train", refuse)
    assert comparison() == first
    assert not asked
    assert comparison(methods=f"{METHODS},cot")[-3]["method"] == "cot"
    assert len(asked) == 1  # only what is new
    comparison(seeds=1, questions=7)
    assert len(asked) == 1 + 5  # other questions are other cells, of the same trained networks


def test_an_interrupted_comparison_goes_on(
    comparison: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ask = baselines.compare.ask
    asked: list[str] = []

    def interrupted(system: Any, *args: Any, **kwargs: Any) -> Any:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(str(system.topology))
        return ask(system, *args, **kwargs)

    monkeypatch.setattr(baselines.compare, "ask", interrupted)
    with pytest.raises(SystemExit) as stopped:
        comparison()
    assert stopped.value.code == 130
    assert not (tmp_path / "out" / "results.json").exists()
    asked.clear()
    monkeypatch.setattr(baselines.compare, "ask", lambda s, *a, **k: (asked.append(""), ask(s, *a, **k))[1])
    resumed = comparison()
    assert len(asked) == 5 - 3
    monkeypatch.setattr(baselines.compare, "ask", ask)
    again = comparison(out=tmp_path / "whole")
    assert timeless(json.loads((tmp_path / "whole" / "results.json").read_text())["rows"]) == timeless(resumed)
    assert again == resumed


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def test_other_weights_or_options_are_another_cell(
    comparison: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    comparison(methods="neuromas:1-1-1")
    runs = {path.name for path in (tmp_path / "out" / "runs").iterdir()}
    comparison(methods="neuromas:1-1-1:updates=1")
    assert len({path.name for path in (tmp_path / "out" / "runs").iterdir()} - runs) == 1


def test_workers_train_and_ask_what_one_process_does(
    comparison: Callable[..., list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = "single-rl,neuromas:1-1-1,untrained:1-1-1"
    ask, asked = baselines.compare.ask, []
    monkeypatch.setattr(baselines.compare, "ask", lambda *a, **k: (asked.append(a), ask(*a, **k))[1])
    rows = comparison("chain", methods=methods, jobs=2, silence_layers=True)
    assert len(asked) == 3  # one cell is not worth a process: the network compared with, whole and twice silenced
    comparison("chain", methods=methods, jobs=1, out=tmp_path / "serial", silence_layers=True)
    serial = json.loads((tmp_path / "serial" / "results.json").read_text())["rows"]
    assert timeless(rows) == timeless(serial)
    for run in (tmp_path / "out" / "runs").iterdir():
        assert (run / "metrics.jsonl").read_bytes() == (
            tmp_path / "serial/runs" / run.name / "metrics.jsonl"
        ).read_bytes()


def test_what_another_process_cannot_ask_is_asked_in_this_one(
    comparison: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    methods = "direct,self-consistency@2,untrained:1-1-1"  # the task `coin` is registered by the tests alone
    rows = comparison(methods=methods, jobs=2, seeds=2)
    assert {row["accuracy"] for row in rows} != {0.0}
    shutil.rmtree(tmp_path / "out" / "cells")
    assert timeless(rows) == timeless(comparison(methods=methods, jobs=1, seeds=2))


def test_a_worker_that_fails_is_reported(comparison: Callable[..., list[dict[str, Any]]], tmp_path: Path) -> None:
    comparison("chain", methods="neuromas:1-1-1")
    (run,) = (tmp_path / "out" / "runs").iterdir()
    config = json.loads((run / "config.json").read_text())
    config["config"]["updates"] = 9  # a run of other settings stands in the way
    (run / "config.json").write_text(json.dumps(config))
    ours = TrainConfig.from_json({**config["config"], "updates": 2, "out": str(run)})
    with pytest.raises(UsageError, match="updates"):
        baselines.workers.train_all([ours, replace(ours, out=str(tmp_path / "other"))], 2)


def test_workers_go_on_to_the_next_run_and_one_that_dies_is_told(
    backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    begin, start = baselines.workers._Worker.__init__, baselines.workers._Worker.start
    monkeypatch.setattr(baselines.workers._Worker, "__init__", lambda self: (made.append(self), begin(self))[1])
    configs = [
        TrainConfig("chain", backbone=str(backbone_folder), seed=seed, updates=1, questions=2, samples=2, rank=2,
                    validation_questions=2, tensorboard=False, out=str(tmp_path / f"run{seed}"))
        for seed in range(5)
    ]  # fmt: skip
    baselines.workers.train_all(configs, 2)
    assert len(made) == 2
    assert all(is_finished(config.folder) for config in configs)
    assert not any(worker.process.is_alive() for worker in made)

    def killed(self: Any, place: int, job: Any) -> None:
        start(self, place, job)
        self.process.kill()

    monkeypatch.setattr(baselines.workers._Worker, "start", killed)
    again = [replace(config, out=str(tmp_path / f"again{config.seed}")) for config in configs[:2]]
    with pytest.raises(TrainingError, match="exit code -9"):
        baselines.workers.train_all(again, 2)
    assert not any(worker.process.is_alive() for worker in made)


def end_or_die(place: int) -> None:
    if place == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def test_after_a_worker_has_died_the_other_jobs_are_done() -> None:
    ends: dict[int, str] = {}
    jobs = [partial(end_or_die, place) for place in range(5)]
    baselines.workers.do_all(jobs, 2, lambda place, kind, text: ends.update({place: kind}))
    assert ends == {0: "error", 1: "done", 2: "done", 3: "done", 4: "done"}


def test_evaluate_measures_a_run_and_silences_nodes(
    comparison: Callable[..., list[dict[str, Any]]], tmp_path: Path, backbone_folder: Path
) -> None:
    rows = comparison(methods="neuromas:1-1-1", silence_layers=True)
    (run,) = (tmp_path / "out" / "runs").iterdir()
    file, transcript = tmp_path / "one.json", tmp_path / "one.jsonl"
    before = sorted(path for path in tmp_path.rglob("*"))
    evaluate(str(run), "coin", questions=24, silence="node_0", json=file, transcript=transcript)
    assert sorted(path for path in tmp_path.rglob("*") if path not in (file, transcript)) == before
    row, total = json.loads(file.read_text())["rows"]
    assert total["seed"] is None
    silenced = next(row for row in rows if row["method"].endswith("(layer 1 silenced)"))
    for name in ("accuracy", "prompt_tokens", "sampled_tokens", "calls", "trainable_parameters", "unparsed"):
        assert row[name] == silenced[name]
    assert row["prompt_tokens"] < rows[0]["prompt_tokens"]  # nobody hears what node_0 says
    assert len(replay(transcript)) == 24


# ---------------------------------------------------------------------- bad input, on the command line


@pytest.fixture
def complain(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail; give back its line, having seen that nothing was written."""

    def run(*args: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(arg) for arg in args])
        said = capsys.readouterr().err.strip().splitlines()
        said = [line for line in said if "Loading weights" not in line]
        assert stopped.value.code == 2, said
        assert len(said) == 1, said
        assert said[0].startswith("neuromas: error: ")
        assert sorted(tmp_path.rglob("*")) == before
        return said[0]

    return run


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["compare", "chein"], "chain"),
        (["compare", "chain", "--methods", "direct,oracle"], "self-consistency"),
        (["compare", "chain", "--methods", "direct,direct"], "twice"),
        (["compare", "chain", "--methods", "neuromas:1-2"], "width 1"),
        (["compare", "chain", "--methods", ","], "--methods"),
        (["compare", "chain", "--questions", "1000000"], "--questions"),
        (["compare", "chain", "--questions", "0"], "--questions"),
        (["compare", "chain", "--seeds", "0"], "--seeds"),
        (["compare", "chain", "--split", "train"], "--questions"),
        (["compare", "chain", "--split", "nowhere"], "validation"),
        (["compare", "chain", "--train", "updates"], "NAME=VALUE"),
        (["compare", "chain", "--train", "speed=9"], "learning_rate"),
        (["compare", "chain", "--train", "updates=-1"], "updates"),
        (["compare", "chain", "--plot", "plot.bmp"], ".svg"),
        (["compare", "navigate", "--data", "nowhere.json"], "nowhere.json"),
        (["evaluate", "oracle", "chain"], "direct"),
        (["evaluate", "direct", "chain", "--silence", "node_7"], "node_7"),
        (["evaluate", "no/such/run", "chain"], "no/such/run"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    complain: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in complain(*args)


def test_places_that_cannot_be_written_are_refused_before_any_work(
    complain: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "file" in complain("compare", "chain", "--out", file)
    assert "file" in complain("compare", "chain", "--out", file / "below")
    assert "file" in complain("compare", "chain", "--out", tmp_path / "out", "--json", file / "below.json")
    assert "folder" in complain("evaluate", "direct", "chain", "--json", tmp_path)


def test_a_run_whose_checkpoint_is_of_another_topology_is_refused(
    comparison: Callable[..., list[dict[str, Any]]], complain: Callable[..., str], tmp_path: Path
) -> None:
    comparison(methods="neuromas:1-1-1,neuromas:2-1")
    runs = tmp_path / "out" / "runs"
    ours, other = next(runs.glob("neuromas-1-1-1-*")), next(runs.glob("neuromas-2-1-*"))
    for part in ours.glob("checkpoints/step_*"):
        (part / "network.json").write_text((next(other.glob("checkpoints/step_*")) / "network.json").read_text())
    told = complain("evaluate", ours, "chain")
    assert "1-1-1" in told
    assert "2-1" in told


def test_an_unfinished_or_foreign_folder_is_no_run(complain: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "config.json" in complain("evaluate", tmp_path / "empty", "chain")


def test_a_run_is_compared_by_name_as_what_it_is(
    comparison: Callable[..., list[dict[str, Any]]],
    complain: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = comparison(methods="neuromas:1-1-1")
    (run,) = (tmp_path / "out" / "runs").iterdir()
    monkeypatch.setattr("algorithms.train", None)  # it is not trained again
    rows = comparison(methods=f"{run},direct", seeds=2)
    assert rows[0]["method"] == f"neuromas:1-1-1:run={run}"
    assert [row["accuracy"] for row in rows[:3]] == [trained[0]["accuracy"]] * 3  # greedy: every seed alike
    assert rows[-1]["method"] == "self-consistency"  # a trained network is never without it
    assert "1-1-1" in complain("compare", "coin", "--methods", f"neuromas:2-1:run={run}")
    assert "training options" in complain("compare", "coin", "--methods", f"neuromas:1-1-1:run={run}:updates=3")
    assert "config.json" in complain("compare", "coin", "--methods", f"neuromas:1-1-1:run={tmp_path}")


def test_a_run_is_not_judged_on_other_weights(
    comparison: Callable[..., list[dict[str, Any]]], complain: Callable[..., str], tmp_path: Path, backbone_folder: Path
) -> None:
    comparison(methods="neuromas:1-1-1")
    (run,) = (tmp_path / "out" / "runs").iterdir()
    other = tmp_path / "other"
    shutil.copytree(backbone_folder, other)
    tensors = load_file(other / "model.safetensors")
    save_file({name: tensor + 0.01 for name, tensor in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    assert "other weights" in complain("evaluate", run, "coin", "--backbone", other, "--questions", 4)
