"""How fast the engine samples and trains, on the work of the yardsticks (algorithms/bench/work.py), in one thread.

    pytest tests/benchmarks -n 0 --benchmark-enable --benchmark-only            sampling, training, and both in one step
    pytest tests/benchmarks/test_engine_speed.py -m slow -s                beside TRL's GRPOTrainer, if it is installed

Rates are kept in `extra_info` of the JSON report (`--benchmark-json FILE`); the comparison prints its own. Nothing is
asserted about time.
"""

from __future__ import annotations

import importlib.util

import pytest
import torch

from algorithms.bench.contest import alternate
from algorithms.bench.contestants import ours, trl
from algorithms.bench.work import Engine, Work

WORK = Work("t1")


@pytest.fixture
def engine():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Engine(WORK)
    torch.set_num_threads(threads)


def rate(benchmark, name: str, count: int) -> None:
    if benchmark.enabled:
        benchmark.extra_info[name] = round(count / benchmark.stats["median"])


def test_sampling(benchmark, engine) -> None:
    _, rows, _, drawn = benchmark(engine.sample)
    assert len(rows) == len(drawn) == WORK.messages
    rate(benchmark, "tokens_per_second", sum(len(one.token_ids) for one in drawn))


def test_training(benchmark, engine) -> None:
    nodes, rows, groups, drawn = engine.sample()
    before = engine.network.adapters.flat_NP.clone()
    benchmark(engine.learn, nodes, rows, groups, drawn)
    assert not torch.equal(engine.network.adapters.flat_NP, before)
    rate(benchmark, "samples_per_second", len(rows))


def test_one_step(benchmark, engine) -> None:
    benchmark(engine.step)
    rate(benchmark, "samples_per_second", WORK.messages)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
def test_beside_trl() -> None:
    contestants = [ours(WORK), trl(WORK)]
    alternate(contestants, steps=3)
    assert [len(each.seconds) for each in contestants] == [4, 4]
    print("\nmessages a second:", {each.name: round(each.per_second, 1) for each in contestants})
