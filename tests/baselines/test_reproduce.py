"""The reproduction: verdicts, slopes and costs on planted figures, and the command end to end on a tiny backbone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from algorithms import trainer
from baselines import compare as compare_module
from baselines.grown import GrownNetwork
from baselines.reproduce import claims, cost, efficiency, growth, plan, recipes
from baselines.reproduce.claims import Finding, verdict
from baselines.reproduce.command import EXPERIMENTS, reproduce
from neuromas_env.errors import UsageError

rng = np.random.default_rng(0)


def finding(low: float, high: float, where: str = "here") -> Finding:
    return Finding(where, (low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ([], "not tested"),
        ([finding(0.1, 0.2), finding(0.01, 0.3)], "reproduced"),
        ([finding(0.1, 0.2, "chain"), finding(-0.1, 0.3, "tree")], "reproduced in part (chain)"),
        ([finding(-0.1, 0.2), finding(0.0, 0.3)], "not reproduced"),  # an interval that touches zero shows nothing
        ([finding(-0.1, 0.2), finding(-0.3, -0.1, "tree")], "not reproduced; the contrary was found (tree)"),
        (
            [finding(0.1, 0.2, "chain"), finding(-0.3, -0.1, "tree")],
            "reproduced in part (chain); the contrary was found (tree)",
        ),
    ],
)
def test_a_claim_is_judged_by_all_of_its_intervals(findings: list[Finding], told: str) -> None:
    assert verdict(findings) == told


def test_claims_read_the_figures_of_their_sections() -> None:
    row = {"difference": 0.1, "low": 0.05, "high": 0.2}
    found = {
        "methods": {"against_single": [{"task": "chain", "budget": "tokens", "against": "single-rl", **row}]},
        "growth": {
            "differences": [{"task": "chain", "nodes": 7, "kind": "grown", **row}],
            "against_three": [
                {"task": "chain", "nodes": 7, "kind": "scratch", "difference": -0.2, "low": -0.3, "high": -0.1},
                {"task": "chain", "nodes": 7, "kind": "grown", **row},
            ],
        },
    }
    rows = {each["claim"]: each for each in claims.judged(found)}
    told = [each["verdict"] for each in rows.values()]
    assert told.count("reproduced") == 4  # single, scratch worse, grown better, grown beats three
    assert told.count("not tested") == len(claims.CLAIMS) - 4
    worse = next(each for claim, each in rows.items() if "from scratch are worse" in claim)
    assert worse["findings"] == [{"where": "chain, 7 nodes", "difference": 0.2, "low": 0.1, "high": 0.3}]
    assert "chain, 7 nodes +20.0 (+10.0 to +30.0)" in claims.text(list(rows.values()))


def test_a_planted_exponent_is_recovered() -> None:
    q = [100, 200, 400, 800, 1600]
    points = [(each, (rng.random((5, 4000)) < 3.0 * each**-0.5).astype(float)) for each in q]
    values = efficiency.fitted(points)
    assert values["slope"] == pytest.approx(-0.5, abs=0.05)
    assert values["low"] is not None
    assert values["high"] is not None
    assert values["low"] < -0.5 < values["high"]
    rare = efficiency.fitted([(100, np.eye(2, 10)), (200, np.zeros((2, 10)))])
    assert rare["low"] is not None
    assert math.isfinite(rare["low"])  # no logarithm of zero


def test_where_no_size_makes_an_error_no_slope_is_told(tmp_path: Path) -> None:
    perfect = efficiency.fitted([(100, np.zeros((2, 10))), (200, np.zeros((2, 10)))])
    assert perfect["slope"] is None
    assert efficiency.told_slope(perfect) == "none: no error at any size"
    one = {"parameters": [100, 200], "errors": [0.7, 0.6], "slope": -0.2, "low": -0.3, "high": -0.1, "theory": -0.25}
    case = {"task": "tree 2", "network": {**one, **perfect, "errors": [0.0, 0.0], "theory": -0.5}, "one node": one}
    assert claims.steeper({"efficiency": {"cases": [case]}}) == []
    efficiency.draw(case, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_differences_have_the_interval_and_the_p_of_one_bootstrap() -> None:
    better = (rng.random((5, 400)) < 0.8).astype(float)
    worse = (rng.random((5, 400)) < 0.6).astype(float)
    found = growth.difference(better, worse)
    assert found["low"] < 0.2 < found["high"]
    assert found["p"] < 0.01
    same = growth.difference(better, better)
    assert (same["difference"], same["p"]) == (0.0, 1.0)
    lucky = worse.copy()
    lucky[0] = 1.0  # one seed is far better, the others alike: no difference that could be relied on
    assert growth.difference(lucky, worse)["p"] > 0.05


def test_ranks_go_together_or_not() -> None:
    first = [0.1, 0.5, 0.5, 0.9, 0.7]
    assert growth.rank_correlation(first, [value**3 for value in first]) == pytest.approx(1.0)
    assert growth.rank_correlation(first, [-value for value in first]) == pytest.approx(-1.0)
    assert growth.rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)  # by hand: 1 - 6*2 / (4*15)
    assert growth.rank_correlation(first, [0.5] * 5) == 0.0


def test_recipes_vary_one_thing_at_a_time_and_their_names_are_methods() -> None:
    from baselines.base import make_method

    names = recipes.recipes("3e-3", recipes.SHARES)
    assert len(set(names.values())) == len(names) == 2 * (1 + 4 + 2)
    for (change, init, _, share), name in names.items():
        method = make_method(name)
        assert method.topology is not None
        assert str(method.topology) == recipes.CHANGES[change]
        if init != "scratch":
            assert isinstance(method, GrownNetwork)
            assert method.shares == [share, 1 - share]
    assert plan.Plan(Path(), [], [], [0], 1, ("6e-3", "1.5e-3", "3e-3")).middle_rate == "3e-3"


def test_what_was_spent_when_a_target_was_first_reached() -> None:
    metrics = [
        {"update": 0, "validation_accuracy": 0.4},
        {"update": 1, "sampled_tokens": 10, "calls": 2},
        {"update": 2, "sampled_tokens": 20, "calls": 4, "validation_accuracy": 0.85},
        {"update": 3, "sampled_tokens": 30, "calls": 6, "validation_accuracy": 0.7},
    ]
    timings = [{"update": n, "sample_seconds": 1.0, "learn_seconds": 0.5, "samples_per_second": 99} for n in range(4)]
    spent = {"sampled_tokens": 20, "calls": 4, "seconds": 4.5}
    assert cost.reached(metrics, timings) == {0.5: spent, 0.8: spent, 0.9: None, 0.95: None}
    assert cost.cell([spent, None]) == "– (1/2)"
    assert cost.cell([spent, spent, None]) == "0k / 0.0k / 4 s (2/3)"


def test_sizes_are_grown_from_all_before_them() -> None:
    assert growth.grown(7, "1e-3") == "grown:1-1-1+2-2-1+2-2-2-1:learning_rate=1e-3"
    from baselines.base import make_method

    for size in list(growth.LADDER)[1:]:
        method = make_method(growth.grown(size, "1e-3"))
        assert method.topology is not None
        assert method.topology.num_nodes == size
        assert make_method(growth.scratch(size, "1e-3")).topology is not None


def small(backbone_folder: Path, out: Path, **changes: object) -> None:
    given = {"quick": True, "tasks": "chain", "seeds": 1, "questions": 6, "budget": 0.01}
    reproduce(**{**given, **changes}, backbone=str(backbone_folder), out=out, jobs=1)  # type: ignore[arg-type]


def test_the_whole_report_and_nothing_is_done_twice(
    backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "reproduce"
    small(backbone_folder, out, second=str(backbone_folder))
    report, data = (out / "report.md").read_text(), json.loads((out / "report.json").read_text())
    assert list(data["sections"]) == list(EXPERIMENTS)
    assert "A quick run" in report
    assert "nan" not in report.lower().replace("nano", "")
    for name in ("growth-chain-2-3.png", "efficiency-chain-3.png"):
        assert f"]({name})" in report
        assert (out / name).stat().st_size > 5000
    assert all(claim["verdict"] != "not tested" for claim in data["claims"])
    largest = data["sections"]["size"]["rows"][-1]
    assert largest["nodes"] == 31
    assert largest["milliseconds"] > 0
    assert largest["peak"] >= largest["resident"] > 2**25
    learnt = data["sections"]["specialisation"]["networks"]
    assert [len(each["seeds"][0]["now"]["edges"]) for each in learnt] == [2, 6]
    trained, asked = [], []
    monkeypatch.setattr(trainer.Trainer, "train", lambda self: trained.append(self.run))
    monkeypatch.setattr(compare_module, "ask", lambda *given, **named: asked.append(given))
    small(backbone_folder, out, second=str(backbone_folder))
    assert (trained, asked) == ([], [])
    assert (out / "report.md").read_text() == report


def test_ways_of_growing_are_compared_with_scratch_and_their_parents_told(
    backbone_folder: Path, tmp_path: Path
) -> None:
    small(backbone_folder, tmp_path / "out", only="recipes", tasks="chain-long")
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["sections"]["recipes"]["rows"]
    assert len(rows) == 2 * (1 + 4 + 1)
    for row in rows:
        assert len(row["parents"]) == len(row["seeds"]) == 1
        if row["init"] == "scratch":
            assert row["against_scratch"]["difference"] == 0.0
        if row["opening"] == "immediate":
            assert row["calls"] == 4.0  # every node speaks from the first update on


def test_an_interrupted_reproduction_goes_on(
    backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "a" / "reproduce", tmp_path / "b" / "reproduce"
    small(backbone_folder, whole, only="growth")
    train, count = trainer.Trainer.train, 0

    def failing(self: trainer.Trainer) -> object:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return train(self)

    monkeypatch.setattr(trainer.Trainer, "train", failing)
    with pytest.raises(SystemExit) as stopped:
        small(backbone_folder, out, only="growth")
    assert stopped.value.code == 130
    assert not (out / "report.md").exists()
    before = count
    small(backbone_folder, out, only="growth")
    runs = len(list((whole / "growth" / "chain-2-3" / "runs").iterdir()))
    assert count == runs + 1  # each run once, and the interrupted one again
    assert before == 4
    found = [json.loads((folder / "report.json").read_text())["sections"]["growth"] for folder in (out, whole)]
    assert found[0]["differences"] == found[1]["differences"]  # the rest has seconds in it


def test_at_equal_parameters_nothing_is_compared_that_has_none_but_the_floor(
    backbone_folder: Path, tmp_path: Path
) -> None:
    small(backbone_folder, tmp_path / "out", only="methods", budgets="parameters", tasks="chain")
    found = json.loads((tmp_path / "out" / "report.json").read_text())["sections"]["methods"]
    assert {row["budget"] for row in found["rows"]} == {"parameters"}
    methods = {row["method"] for row in found["rows"]}
    assert methods == {"neuromas:1-1-1", "neuromas:2-2-1", "single-rl", "untrained:1-1-1", "direct"}
    assert {row["against"] for row in found["against_single"]} == {"single-rl", "untrained:1-1-1"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"only": "groth"}, "did you mean growth"),
        ({"tasks": "chian"}, "did you mean chain"),
        ({"seeds": 0}, "at least 1 seed"),
        ({"budget": 0.0}, "a share above 0"),
        ({"budgets": "token"}, "did you mean tokens"),
        ({"learning_rates": "fast", "only": "growth"}, "learning_rate is a number, not 'fast'"),
    ],
)
def test_what_cannot_be_run_is_refused(
    backbone_folder: Path, tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        small(backbone_folder, tmp_path / "out", **changes)


def test_the_papers_tasks_are_those_of_its_protocol() -> None:
    tasks = plan.chosen_tasks("paper", Path("data"))
    assert [task.name for task in tasks][:2] == ["arc_challenge", "bbh/navigate"]
    assert tasks[0].data == "data/arc_challenge"
    assert tasks[-1].allow_code_execution
    assert {task.message_tokens for task in tasks} == {200}
