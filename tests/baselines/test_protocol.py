"""Protocol files: what they must say, what is checked, and that running one again repeats nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import baselines.compare
from algorithms import Backbone
from baselines.base import BUILTIN, make_method
from baselines.commands import compare
from baselines.plan import protocol_training
from baselines.protocol import SHIPPED, find_protocol, read_protocol, shipped_protocols
from neuromas_env import UnknownNameError, UsageError, make_task

PLAN: dict[str, Any] = {
    "name": "small",
    "tasks": [{"id": "coin", "questions": 12}, {"id": "chain", "questions": 6, "difficulty": "2"}],
    "methods": ["direct", "neuromas:1-1", "self-consistency"],
    "seeds": [3, 5],
    "train": {"updates": 1, "questions": 2, "samples": 2, "validation_questions": 4, "rank": 2, "targets": ["q_proj"]},
}


@pytest.fixture
def write(tmp_path: Path, backbone_folder: Path) -> Callable[..., Path]:
    """Write `PLAN`, changed, as a protocol file."""

    def to_file(**changes: Any) -> Path:
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump({**PLAN, "backbone": {"name": str(backbone_folder)}, **changes}))
        return path

    return to_file


def test_a_protocol_runs_all_its_tasks_and_repeats_nothing(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    compare(protocol=str(write()), out=out, jobs=1)
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert [(row["task"], row["method"], row["seed"]) for row in rows] == [
        (task, method, seed) for task in ("coin", "chain") for method in PLAN["methods"] for seed in (3, 5, None)
    ]
    assert {row["questions"] for row in rows if row["task"] == "chain"} == {6}
    trained = next(row for row in rows if row["method"] == "neuromas:1-1")
    assert trained["trainable_parameters"] == 2 * 2 * 2 * (32 + 32)  # nodes, layers, rank; only q_proj
    for name in ("results.md", "results.tex", "results.csv", "coin/pareto.png", "chain-2/differences.png"):
        assert (out / name).stat().st_size > 100
    before = (out / "results.md").read_bytes()
    monkeypatch.setattr(baselines.compare, "ask", None)
    monkeypatch.setattr("algorithms.train", None)
    compare(protocol=str(write()), out=out, jobs=1)
    assert (out / "results.md").read_bytes() == before
    compare(protocol=str(out / "protocol.yaml"), out=out, jobs=1)  # what was run, with its hashes, is the same again
    assert (out / "results.md").read_bytes() == before


def test_freezing_fills_in_what_is_checked_from_then_on(
    write: Callable[..., Path], tmp_path: Path, backbone: Backbone
) -> None:
    frozen = tmp_path / "frozen.yaml"
    compare(protocol=str(write()), out=tmp_path / "out", freeze=frozen)
    assert not (tmp_path / "out").exists()  # it only writes the file
    plan = read_protocol(frozen)
    assert plan.backbone.weights == backbone.weight_hash()
    assert plan.tasks[1].split_sha256 == make_task("chain", difficulty="2").split_hash("test")
    assert (plan.tasks[0].version, plan.tasks[0].message_tokens, plan.seeds) == (0, 4, [3, 5])
    data = yaml.safe_load(frozen.read_text())
    for place, name in ((0, "questions_sha256"), (1, "split_sha256")):
        wrong = [dict(task) for task in data["tasks"]]
        wrong[place][name] = "0" * 64
        with pytest.raises(UsageError, match=f"{data['tasks'][place][name]} here, and 0000"):
            compare(protocol=str(write(tasks=wrong)), out=tmp_path / "out")
    with pytest.raises(UsageError, match=f"weights is {plan.backbone.weights} here, and 1111"):
        compare(protocol=str(write(backbone={**data["backbone"], "weights": "1" * 64})), out=tmp_path / "out")
    with pytest.raises(UsageError, match="message_tokens is 4 here, and 9"):
        compare(protocol=str(write(tasks=[{"id": "coin", "questions": 3, "message_tokens": 9}])), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_typed_can_be_frozen_too(backbone_folder: Path, tmp_path: Path) -> None:
    frozen = tmp_path / "typed.yaml"
    compare("coin", methods="direct", questions=4, seeds=2, seed=7, backbone=str(backbone_folder), freeze=frozen)
    plan = read_protocol(frozen)
    assert (plan.methods, plan.seeds, plan.tasks[0].id, plan.tasks[0].questions) == (["direct"], [7, 8], "coin", 4)


def test_a_protocol_may_shorten_the_messages_of_every_method(write: Callable[..., Path], tmp_path: Path) -> None:
    task = {"id": "coin", "questions": 8, "message_tokens": 2}
    compare(protocol=str(write(tasks=[task], seeds=[0])), out=tmp_path / "out", jobs=1)
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert all(row["sampled_tokens"] <= 2 * row["calls"] for row in rows)
    (run,) = (tmp_path / "out" / "coin" / "runs").glob("*/config.json")
    assert json.loads(run.read_text())["config"]["max_tokens"] == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metods": []}, "methods"),
        ({"tasks": []}, "tasks is a list"),
        ({"tasks": [{"id": "coin", "qestions": 3}]}, "did you mean questions"),
        ({"tasks": [{"questions": 3}]}, "task 1 lacks 'id'"),
        ({"tasks": [{"id": "coin", "questions": "three"}]}, "questions is a whole number, not 'three'"),
        ({"tasks": [{"id": "coin", "questions": True}]}, "questions is a whole number, not True"),
        ({"tasks": [{"id": "coin", "questions": 0}]}, "from 1, not 0"),
        ({"tasks": [{"id": "coin", "questions": 3}, {"id": "coin", "questions": 4}]}, "'coin' stands twice"),
        ({"tasks": [{"id": "coyn", "questions": 3}]}, "did you mean coin"),
        ({"seeds": 3}, "seeds is a list"),
        ({"seeds": [1, 1]}, "1 stands twice"),
        ({"methods": "direct"}, "methods is a list"),
        ({"methods": ["direkt"]}, "did you mean direct"),
        ({"train": {"speed": 9}}, "unknown training option 'speed'"),
        ({"train": {"targets": "q_proj"}}, "targets is a list"),
        ({"wordings": {"self-refine": {"draft": 3}}}, "draft of self-refine is a text, not 3"),
        ({"wordings": {"self-refine": {"drift": "x"}}}, "did you mean draft"),
        ({"wordings": {"self-refin": {"draft": "x"}}}, "did you mean self-refine"),
    ],
)
def test_a_bad_protocol_is_refused_before_anything_is_written(
    write: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        compare(protocol=str(write(**changes)), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_protocol_is_found_by_name_or_path_and_decides_alone(write: Callable[..., Path], tmp_path: Path) -> None:
    assert find_protocol("quick") == find_protocol("protocols/quick.yaml") == SHIPPED / "quick.yaml"
    assert find_protocol(str(write())) == tmp_path / "small.yaml"
    with pytest.raises(UsageError, match="shipped: nano, paper, quick"):
        find_protocol("quack")
    with pytest.raises(UsageError, match="--seeds: the protocol decides"):
        compare(protocol=str(write()), seeds=2)
    with pytest.raises(UsageError, match="a TASK or a --protocol"):
        compare()
    with pytest.raises(UsageError, match="not both"):
        compare("coin", protocol="quick")
    (tmp_path / "broken.yaml").write_text("name: [")
    with pytest.raises(UsageError, match=r"broken\.yaml cannot be read"):
        read_protocol(tmp_path / "broken.yaml")


@pytest.mark.parametrize("name", shipped_protocols())
def test_the_shipped_protocols_name_methods_and_options_that_exist(name: str) -> None:
    plan = read_protocol(find_protocol(name))
    methods = [make_method(method) for method in plan.methods]
    assert len({str(method) for method in methods}) == len(plan.methods) >= 10
    assert "self-consistency" in plan.methods
    for task in plan.tasks:
        protocol_training(make_task("chain"), "nano", {**plan.train, **task.train}, {}, plan.backbone.dtype)
        if plan.backbone.name == "nano":
            made = make_task(task.id, difficulty=task.difficulty)
            assert (made.version, made.max_message_tokens) == (task.version, task.message_tokens)
            assert made.split_hash(task.split) == task.split_sha256
    if name == "nano":
        assert {method.spec.name for method in methods} == set(BUILTIN)  # every method; add a new one to the file
        assert (len(plan.seeds), [task.id for task in plan.tasks]) == (5, ["chain", "navigate", "chain"])


def test_the_papers_adapters_have_2_3_million_parameters(qwen_linears: dict[str, tuple[int, int]]) -> None:
    plan = read_protocol(find_protocol("paper"))
    training = protocol_training(make_task("chain"), "nano", plan.train, {}, "float32")
    each = 28 * sum(training.rank * sum(qwen_linears[target]) for target in training.targets)
    assert each == 2_293_760
    single = make_method("single-rl").own_config(training, dataclasses.replace(training, topology="1-1-1"))  # type: ignore[attr-defined]
    assert (single.rank, single.targets) == (24, training.targets)  # 6.9 million, as three nodes
    for size, topology in (("6.9", "1-1-1"), ("11.5", "2-2-1"), ("16.1", "2-2-2-1")):
        nodes = sum(map(int, topology.split("-")))
        assert f"{nodes * each / 1e6:.1f}" == size
        assert f"neuromas:{topology}" in plan.methods


@pytest.fixture
def qwen_linears() -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the linear layers of Qwen3-0.6B: width 1024, 16 heads and 8 key heads of 128."""
    return {"q_proj": (1024, 2048), "k_proj": (1024, 1024), "v_proj": (1024, 1024), "o_proj": (2048, 1024)}


def test_wordings_reach_the_model_and_make_another_cell(
    backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wordings.json"
    settings: dict[str, Any] = {
        "methods": "self-refine@1", "questions": 4, "backbone": str(backbone_folder), "out": tmp_path / "out",
    }  # fmt: skip
    compare("coin", **settings)
    file.write_text(json.dumps({"self-refine": {"feedback": "Quack."}}))
    compare("coin", wordings=file, **settings)
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 2
    (transcript,) = (tmp_path / "out" / "transcripts").iterdir()
    header = json.loads(transcript.read_text().splitlines()[0])
    assert "Quack." in header["instructions"].values()
    file.write_text(json.dumps({"self-refine": {"feedbac": "Quack."}}))
    with pytest.raises(UnknownNameError, match="did you mean feedback"):
        compare("coin", wordings=file, **settings)


def test_data_starts_at_the_given_folder_or_beside_the_protocol(write: Callable[..., Path], tmp_path: Path) -> None:
    choices = [{"text": text, "label": label} for text, label in (("stone", "A"), ("water", "B"), ("sand", "C"))]
    row = {"id": "one", "question": {"stem": "What do plants drink?", "choices": choices}, "answerKey": "B"}
    protocol = write(tasks=[{"id": "arc_challenge", "data": "arc"}], methods=["direct"])
    for place in (tmp_path / "arc", tmp_path / "elsewhere" / "arc"):
        place.mkdir(parents=True)
        (place / "ARC-Challenge-Test.jsonl").write_text(json.dumps({**row, "id": place.parent.name}))
    hashes = []
    for data in (None, tmp_path / "elsewhere"):
        compare(protocol=str(protocol), data=data, freeze=tmp_path / "frozen.yaml")
        plan = read_protocol(tmp_path / "frozen.yaml")
        assert (plan.tasks[0].data, plan.tasks[0].questions) == ("arc", 1)
        hashes.append(plan.tasks[0].questions_sha256)
    assert hashes[0] != hashes[1]
    with pytest.raises(UsageError, match="nowhere"):
        compare(protocol=str(protocol), data=tmp_path / "nowhere", freeze=tmp_path / "frozen.yaml")
