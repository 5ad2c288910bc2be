"""Growing in one command: stages as typed, their runs, and the command that grows a single run."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
from left_behind import contents

from algorithms import Backbone, TrainConfig
from algorithms.errors import TrainingStopped
from algorithms.run import Run, is_run
from algorithms.stages import parse_stages, stage_configs, train_stages
from algorithms.training import train
from neuromas_env.cli import main
from neuromas_env.cli import run as command
from neuromas_env.errors import UsageError
from neuromas_env.topology import Topology

ECHO = tiny_models.LongEcho()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1-1-1", "'1-1-1' is no stage"),
        ("1-1-1@0", "no stage"),
        ("1-1-1@many", r"TOPOLOGY@UPDATES or TOPOLOGY@plateau"),
        ("2-2-1@3,1-1-1@3", "hidden layer 1 has 2 nodes, and only 1 there"),
        ("1-1@3,1-2@3", "last layer must have width 1"),
        ("5@3", "last layer must have width 1"),
        ("1-1@3,nowhere.json@3", "nowhere.json cannot be read"),
    ],
)
def test_stages_that_cannot_be_are_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"--grow: .*{told}"):
        parse_stages(text)


def test_each_stage_goes_on_from_the_one_before(config: TrainConfig, backbone: Backbone, tmp_path: Path) -> None:
    config = replace(config, updates=9, opening_updates=2)
    stages = stage_configs(config, parse_stages("1-1@2,2-1@plateau,2-2-1@3"))
    assert [(stage.topology, stage.updates, stage.patience) for stage in stages] == [
        ("1-1", 2, 0),
        ("2-1", 9, 3),  # until a plateau, at most as long as the configuration says
        ("2-2-1", 3, 0),
    ]
    last = train_stages(stages, lambda stage: train(stage, task=ECHO, backbone=backbone, resume=True))
    assert last.folder == Path(config.out or "") / "stage3-2-2-1"
    assert [ancestor["topology"] for ancestor in last.record["ancestors"]] == ["1-1", "2-1"]
    with pytest.raises(UsageError, match="cannot go on from a --parent"):
        stage_configs(replace(config, parent="x"), parse_stages("1-1@2"))


def test_a_stage_may_be_a_topology_from_a_file(config: TrainConfig, backbone: Backbone, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    found.write_text(json.dumps(Topology.parse("1-1-1/all").to_json()))
    stages = stage_configs(config, parse_stages(f"1-1@1,{found}@1"))
    last = train_stages(stages, lambda stage: train(stage, task=ECHO, backbone=backbone))
    assert last.folder.name == "stage2-found"
    grown = Topology.from_json(json.loads((last.folder / "topology.json").read_text()))
    assert len(grown.edges) == 3  # the skip too
    assert [ancestor["topology"] for ancestor in last.record["ancestors"]] == ["1-1"]


def test_a_schedule_that_was_stopped_goes_on_with_its_stage(
    config: TrainConfig, backbone: Backbone, tmp_path: Path
) -> None:
    def interrupting(stage: TrainConfig) -> Run:
        def interrupt(row: dict) -> None:
            if stage.topology == "2-1" and row["update"] == 1:
                os.kill(os.getpid(), signal.SIGINT)

        return train(stage, task=ECHO, backbone=backbone, on_update=interrupt)

    stages = stage_configs(config, parse_stages("1-1@2,2-1@3"))
    with pytest.raises(TrainingStopped):
        train_stages(stages, interrupting)
    first = contents(Path(stages[0].out or ""))
    run = train_stages(stages, lambda stage: train(stage, task=ECHO, backbone=backbone, resume=True))
    whole = stage_configs(replace(config, out=str(tmp_path / "whole")), parse_stages("1-1@2,2-1@3"))
    undisturbed = train_stages(whole, lambda stage: train(stage, task=ECHO, backbone=backbone))
    assert contents(run.folder) == contents(undisturbed.folder)
    assert contents(Path(stages[0].out or "")) == first  # a finished stage is not touched


def test_the_commands_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_models.save_chat_model(tmp_path / "model")
    small = ["--questions", "2", "--samples", "2", "--rank", "2", "--validation-questions", "2", "--no-tensorboard"]
    stages = ["--grow", "1-1@1,2-1@1", "--out", str(tmp_path / "run")]
    assert not command(["train", "chain", "--backbone", model, *small, *stages])
    told = capsys.readouterr().out
    assert "stage2-2-1: 1 updates" in told
    assert "grown from 1-1 (stage1-1-1), which sampled" in told
    first = tmp_path / "run" / "stage1-1-1"
    assert not command(
        ["grow", str(first), "--to", "1-1-1", "--updates", "0", "--init", "clone", "--opening", "immediate"]
    )
    grown = Path(f"{first}-grown-1-1-1")
    assert is_run(grown)
    assert "as grown" in capsys.readouterr().out
    assert not command(["evaluate", str(grown), "chain", "--questions", "3"])
    assert "neuromas:1-1-1" in capsys.readouterr().out
    for wrong, expected in (
        (["grow", str(first), "--to", "1-1-1", "--updates", "0"], "already holds a run"),
        (["train", "chain", "--grow", "1-1@1", "--dry-run"], "--grow trains several"),
        (["grow", str(tmp_path), "--to", "1-1-1"], "is not a training run"),
        (["grow", str(first), "--to", "1", "--out", str(tmp_path / "x")], "cannot be grown to 1"),
        (["grow", str(first), "--to", "no", "--out", str(tmp_path / "x")], "bad topology 'no'"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(wrong)
        assert stopped.value.code == 2
        assert expected in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()
