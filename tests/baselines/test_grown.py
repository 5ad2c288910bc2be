"""Grown networks among the compared methods: their stages, their budget, and runs that several of them share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from algorithms import Backbone
from algorithms.config import TrainConfig
from algorithms.run import Run
from baselines.base import make_method
from baselines.compare import Comparison, run_comparison
from baselines.grown import GrownNetwork, parse_stages, shares
from neuromas_env import UsageError, make_task
from tests.baselines.scripted import context


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_the_first_stage_gets_half_and_all_get_everything(stages: int) -> None:
    assert sum(shares(stages)) == 1.0
    assert len(shares(stages)) == stages
    assert shares(4) == [0.5, 0.25, 0.125, 0.125]


def test_stages_share_the_budget_of_one_network_and_the_runs_that_they_have_in_common(
    backbone: Backbone, tmp_path: Path
) -> None:
    training = TrainConfig("coin", updates=40, token_budget=800, rank=2)
    given = context(backbone, out=tmp_path, training=training, compared=training)
    three, two = make_method("grown:1-1+2-1+2-2-1"), make_method("grown:1-1+2-1")
    configs = three.run_configs(given)
    assert [(config.topology, config.updates, config.token_budget) for config in configs] == [
        ("1-1", 20, 400),
        ("2-1", 10, 200),
        ("2-2-1", 10, 200),
    ]
    assert [config.parent for config in configs] == [None, configs[0].out, configs[1].out]
    shared = two.run_configs(given)
    assert shared[0] == configs[0]
    assert shared[1].folder != configs[1].folder  # the last stage has as much as the one before
    other = make_method("grown:1-1+2-1+2-2-1:init=clone").run_configs(given)
    assert other[0].folder == configs[0].folder  # nothing is grown there
    assert other[1].folder != configs[1].folder
    assert make_method("neuromas:1-1").run_configs(given)[0].init == "fresh"


def test_shares_may_be_said_and_the_last_stage_gets_what_is_left(backbone: Backbone, tmp_path: Path) -> None:
    assert parse_stages("1-1@0.5+2-1@0.25+2-2-1") == (["1-1", "2-1", "2-2-1"], [0.5, 0.25, 0.25])
    training = TrainConfig("coin", updates=40, token_budget=800, rank=2)
    given = context(backbone, out=tmp_path, training=training, compared=training)
    early, usual = (make_method(name).run_configs(given) for name in ("grown:1-1@0.125+2-1", "grown:1-1+2-1"))
    assert [(config.updates, config.token_budget) for config in early] == [(5, 100), (35, 700)]
    assert [config.folder for config in make_method("grown:1-1@0.5+2-1").run_configs(given)] == [
        config.folder for config in usual
    ]


def test_new_nodes_open_over_a_quarter_of_a_stage_however_many_nodes_share_its_tokens(
    backbone: Backbone, tmp_path: Path
) -> None:
    training = TrainConfig("coin", updates=80, rank=2)
    for budget, opening in ((None, 5), (9000, 2)):  # from 2 nodes to 5
        config = replace(training, token_budget=budget)
        given = context(backbone, out=tmp_path, training=config, compared=config)
        stages = make_method("grown:1-1+2-1+2-2-1").run_configs(given)
        assert (stages[-1].updates, stages[-1].opening_updates) == (20, opening)


def test_a_comparison_trains_the_stages_in_order_and_counts_their_tokens(backbone: Backbone, tmp_path: Path) -> None:
    task = make_task("coin")
    questions = [task.question("test", index) for index in range(8)]
    methods = [make_method(name) for name in ("grown:1-1+2-1", "neuromas:2-1")]
    training = TrainConfig(
        "coin", updates=4, questions=2, samples=4, rank=2, validation_questions=4, validation_every=1, tensorboard=False
    )
    comparison = Comparison(task, "test", questions, methods, [0, 1], backbone, training, tmp_path)
    rows, _ = run_comparison(comparison)
    assert str(comparison.compared) == "neuromas:2-1"  # budgets are those of a network from scratch
    configs = methods[0].run_configs(comparison.context(1))
    runs = [Run(config.folder) for config in configs]
    spent = [run.metrics[-1]["sampled_tokens"] for run in runs]
    (row,) = (row for row in rows if row.method == "grown:1-1+2-1" and row.seed == 1)
    assert row.extra["training_sampled_tokens"] == sum(spent)
    assert row.extra["training_seconds"] == pytest.approx(sum(run.seconds for run in runs), abs=0.11)
    assert [ancestor["folder"] for ancestor in runs[1].record["ancestors"]] == [configs[0].folder.name]
    again, _ = run_comparison(comparison)
    assert [each.to_json() for each in again] == [each.to_json() for each in rows]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("grown", "lacks its topologies"),
        ("grown:2-1+1-1", "has 2 nodes, and only 1 there"),
        ("grown:1-1+", "bad topology"),
        ("grown:1-1@0.5+2-1@0.5", "behind all topologies but the last"),
        ("grown:1-1@0.5+2-1+2-2-1", "behind all topologies but the last"),
        ("grown:1-1@1+2-1", "together below 1"),
        ("grown:1-1@nan+2-1", "together below 1"),
        ("grown:1-1@x+2-1", "each above 0"),
        ("grown:1-1+2-1:init=old", "init is one of fresh, clone, relay"),
    ],
)
def test_what_cannot_be_grown_is_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_method(name)


def test_one_topology_is_a_network_from_scratch() -> None:
    method = make_method("grown:1-1")
    assert isinstance(method, GrownNetwork)
    assert method.topology.name == "1-1"
