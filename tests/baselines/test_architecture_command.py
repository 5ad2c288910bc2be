"""`neuromas search` from what is typed to its files, which `train`, `grow`, `compare` and the leaderboard take."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from algorithms import Backbone, Network, TrainConfig, grow, train
from algorithms.resolve import make_network
from algorithms.run import Run
from baselines.architecture import growth
from baselines.architecture.command import search
from baselines.architecture.growth import StageTrainer
from baselines.architecture.ledger import Ledger
from baselines.architecture.optimisers import BEST, best_known
from baselines.base import Context, make_method
from baselines.training import read_topology
from neuromas_env import Topology, UsageError, make_task, run_episodes
from neuromas_env.growth import renumbered
from neuromas_env.search import GrowthEnv, Stage
from neuromas_env.transcripts import TranscriptWriter

BASE = "1-1-1/all"
FILES = {"search.json", "evaluations.jsonl", "random.jsonl", "controller.json", "results.json", "topology.json",
         "search.png", "topologies.png", ".lock"}  # fmt: skip
STAGES: dict[str, Any] = {"stages": 2, "stage_tokens": 40, "evaluations": 6, "held_out": 6}
SMALL = ("questions=2", "samples=2", "validation_questions=6", "rank=2")


def searched(folder: Path, backbone: Path, **own: Any) -> dict[str, Any]:
    given = {"base": BASE, "evaluations": 12, "held_out": 20, "backbone": str(backbone), "out": folder}
    given |= own
    if "space" in own:
        del given["base"]
    search("coin", **given)
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return results


def test_a_search_leaves_its_files_and_says_what_it_found(
    backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = searched(tmp_path / "s", backbone_folder)
    assert {path.name for path in (tmp_path / "s").iterdir()} == FILES
    found = results["searches"]["ridge"]
    assert found["evaluations"] == 12
    assert results["searches"]["random"]["evaluations"] <= 12
    topology = Topology.from_json(found["topology"])
    assert read_topology(tmp_path / "s" / "topology.json") == renumbered(topology)
    batch = run_episodes(
        "coin", topology, Network.create("1", str(backbone_folder), rank=0), range(20), split="validation"
    )
    assert results["held_out"]["ridge"]["accuracy"] == batch.accuracy
    said = capsys.readouterr().out
    assert f"found by ridge (12 evaluations, {found['tokens']:,} tokens): {topology}" in said
    for name in ("search.png", "topologies.png"):
        assert (tmp_path / "s" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "own",
    [
        {"space": "shape", "algorithm": "a2c", "evaluations": 30, "layerwise": True},
        {"space": "templates", "algorithm": "dqn", "templates": "1,1-1", "evaluations": 30},
        {"algorithm": "ppo", "evaluations": 40, "embedding": "backbone"},
    ],
    ids=["shape", "templates", "edges"],
)
def test_every_space_can_be_searched(backbone_folder: Path, tmp_path: Path, own: dict[str, Any]) -> None:
    results = searched(tmp_path / "s", backbone_folder, **own)
    assert 0 < results["searches"][own["algorithm"]]["evaluations"] <= own["evaluations"]
    assert read_topology(tmp_path / "s" / "topology.json").num_nodes >= 1


def test_an_interrupted_search_goes_on(backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = searched(tmp_path / "whole", backbone_folder, algorithm="reinforce")
    take, calls = Ledger.take, list[int]()

    def mortal(ledger: Ledger, *given: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return take(ledger, *given)

    monkeypatch.setattr(Ledger, "take", mortal)
    with pytest.raises(SystemExit) as stopped:
        searched(tmp_path / "s", backbone_folder, algorithm="reinforce")
    assert stopped.value.code == 130
    monkeypatch.undo()
    assert len((tmp_path / "s" / "evaluations.jsonl").read_text().splitlines()) == 2
    assert searched(tmp_path / "s", backbone_folder, algorithm="reinforce") == whole
    for name in ("evaluations.jsonl", "random.jsonl", "topology.json", "controller.json", "search.png"):
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(UsageError, match=r"holds another search: seed is 0 there and 1 here"):
        searched(tmp_path / "s", backbone_folder, algorithm="reinforce", seed=1)


def test_what_was_recorded_can_be_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Digit:
        """Right on chains whose answer is the digit."""

        def act(self, requests: Any) -> Any:
            from neuromas_env import Message

            return [Message("= 3", token_ids=(1, 2)) for _ in requests]

    paths = []
    for text in ("1", "1-1-1"):
        paths.append(tmp_path / f"{text}.jsonl")
        with TranscriptWriter(paths[-1]) as writer:
            run_episodes("chain", text, Digit(), range(40), transcript=writer)
    search("chain", "templates", transcripts=tuple(paths), evaluations=100, price=2.0, out=tmp_path / "s")
    assert read_topology(tmp_path / "s" / "topology.json") == Topology.parse("1")  # as good, and cheaper
    assert "20 held-out questions" in capsys.readouterr().out


def test_growth_is_searched_by_training(backbone_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    results = searched(folder, backbone_folder, space="growth", algorithm="a2c", train=SMALL, **STAGES)
    found = results["searches"]["a2c"]
    assert 0 < found["stages"] <= 6
    runs = [Run(path) for path in sorted((folder / "runs").iterdir())]
    assert all(run.finished for run in runs)
    assert {run.folder.name[:6] for run in runs} == {"stage1", "stage2"}
    for run in runs:
        assert run.checkpoint("last").state().spent["sampled_tokens"] >= 40
        assert (run.config.parent is None) == run.folder.name.startswith("stage1")
    path = [Topology.from_json(each) for each in found["path"]]
    last = Run(Path(StageTrainer(runs[0].config, 40, folder / "runs").configs(path)[-1].folder))
    assert found["accuracy"] == max(row["validation_accuracy"] for row in last.metrics if "validation_accuracy" in row)
    assert read_topology(folder / "topology.json") == Topology.parse(str(path[-1]))


def test_a_stage_goes_on_from_the_best_network_before(
    backbone: Backbone, backbone_folder: Path, tmp_path: Path
) -> None:
    config = TrainConfig("coin", backbone=str(backbone_folder), questions=2, samples=2, validation_questions=6,
                         rank=2, tensorboard=False)  # fmt: skip
    trainer = StageTrainer(config, 40, tmp_path, backbone)
    env = GrowthEnv(trainer, 120, stages=3)
    env.reset()
    *_, info = env.step(1)
    first, second = (trainer(env.path[:length]) for length in (1, 2))
    assert str(info["topology"]) == "2-1-1"
    grown = Run(trainer.configs(env.path[:2])[1].folder)
    assert [ancestor["topology"] for ancestor in grown.record["ancestors"]] == ["1-1-1"]
    assert second.before == first.accuracy  # it starts as its parent was
    assert first.tokens >= 40


def test_a_stage_is_judged_as_its_best_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    validated = ((0, 0.2), (10, 0.7), (20, 0.5))

    class Trained:
        metrics = [{"update": update, "validation_accuracy": accuracy} for update, accuracy in validated]  # noqa: RUF012

        def checkpoint(self, which: str) -> Any:
            state = SimpleNamespace(spent={"sampled_tokens": 99})
            return SimpleNamespace(update={"best": 10, "last": 20}[which], state=lambda: state)

    monkeypatch.setattr(growth, "ensure_trained", lambda *given, **more: Trained())
    assert StageTrainer(TrainConfig("coin"), 40, tmp_path)([Topology.parse("1-1")]) == Stage(0.2, 0.7, 99)


def test_the_topology_file_is_taken_by_train_grow_and_compare(
    backbone: Backbone, backbone_folder: Path, tmp_path: Path
) -> None:
    searched(tmp_path / "s", backbone_folder, floor=False)
    found = Topology.from_edges(["node_0", "node_1", "node_2"], [("node_0", "node_2"), ("node_1", "node_2")], "node_2")
    file = tmp_path / "s" / "topology.json"
    file.write_text(json.dumps(found.to_json()))  # a graph whose name is not its spelling
    config = TrainConfig("coin", str(file), backbone=str(backbone_folder), updates=1, questions=2, samples=2,
                         validation_questions=2, tensorboard=False, out=str(tmp_path / "run"))  # fmt: skip
    assert train(config, progress=False).network(backbone=backbone).topology == found
    larger = grow(make_network(TrainConfig("coin", "1-1", backbone=str(backbone_folder))), found)
    assert {len(layer) for layer in larger.topology.layers} == {2, 1}
    given = Context(make_task("coin"), [], 0, backbone, backbone.weight_hash(), config, config, tmp_path)
    method = make_method(f"neuromas:{file}:updates=1")
    assert method.prepare(given).topology == found
    folder = method.run_configs(given)[-1].folder
    untrained = make_method(f"untrained:{file}")
    assert untrained.prepare(given).topology == found
    before = untrained.identity(given)
    file.write_text(json.dumps(Topology.parse("1-1").to_json()))
    assert make_method(str(method)).run_configs(given)[-1].folder != folder  # another graph is another run
    assert make_method(str(untrained)).identity(given) != before
    with pytest.raises(UsageError, match="cannot be read"):
        make_method("neuromas:none.json")


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"evaluations": 0}, "a budget of 0 evaluations is impossible"),
        ({"evaluations": 3, "algorithm": "reinforce"}, "impossible for reinforce"),
        ({"evaluations": 8, "algorithm": "ppo"}, "impossible for ppo"),
        ({"base": "1"}, "the space of edges is empty"),
        ({"space": "templates", "templates": " , "}, "the space of templates is empty"),
        ({"space": "shape", "width": 0}, "the space of shapes is empty"),
        ({"algorithm": "dqn"}, "dqn makes one choice"),
        ({"algorithm": "ridge", "layerwise": True}, "not layer by layer"),
        ({"algorithm": "random", "layerwise": True}, "not layer by layer"),
        ({"price": -0.5}, "the price of tokens"),
        ({"held_out": 0}, "--held-out 0"),
        ({"network": Path("none"), "base": None}, "none is not a training run"),
        ({"space": "shape", "network": Path("none")}, "--network searches the edges"),
        ({"transcripts": (Path("none.jsonl"),)}, "--transcripts are templates"),
        ({"space": "growth", "layerwise": True}, "--layerwise has no meaning"),
        ({"space": "growth", "stages": 1}, "nothing to decide"),
        ({"space": "growth", "stage_tokens": 0}, "--stage-tokens 0"),
        ({"space": "growth", "evaluations": 2}, "impossible for ppo"),
        ({"space": "growth", "train": ("validation_questions=0",)}, "validation_questions"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_writes_nothing(
    backbone_folder: Path, tmp_path: Path, own: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        searched(tmp_path / "s", backbone_folder, **own)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(backbone_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no search"):
        searched(tmp_path, backbone_folder)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_default_is_what_was_best_on_planted_problems() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results" / "search.md").read_text(encoding="utf-8")
    for space, measured in BEST.items():
        head, _, *rows = page.partition(f"| {space}: share attained |")[2].partition("\n\n")[0].splitlines()
        budgets = [int(cell.split()[0].replace(",", "")) for cell in head.strip(" |").split("|")]
        shares = {
            row.split("`")[1]: [float(cell.split()[0]) for cell in row.strip(" |").split("|")[1:]] for row in rows
        }
        for place, budget in enumerate(budgets):
            assert shares[measured[budget]][place] == max(each[place] for each in shares.values())
            assert best_known(space, budget) == measured[budget]
    assert [best_known("edges", budget) for budget in (1, 1500, 1700, 10**6)] == ["ridge"] * 2 + ["reinforce"] * 2
