"""How fast the engine samples and trains, on the work of the yardsticks (see engine_speed.py), in one thread.

    pytest tests/benchmarks -n 0 --benchmark-enable --benchmark-only            sampling, training, and both in one step
    pytest tests/benchmarks/test_engine_speed.py -m slow -s                beside TRL's GRPOTrainer, if it is installed

Rates are kept in `extra_info` of the JSON report (`--benchmark-json FILE`); the comparison prints its own. Nothing is
asserted about time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import engine_speed
import pytest
import torch


@pytest.fixture
def engine():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield engine_speed.Engine()
    torch.set_num_threads(threads)


def rate(benchmark, name: str, count: int) -> None:
    if benchmark.enabled:
        benchmark.extra_info[name] = round(count / benchmark.stats["median"])


def test_sampling(benchmark, engine) -> None:
    rows, _, drawn = benchmark(engine.sample)
    assert len(rows) == len(drawn) == engine_speed.QUESTIONS * engine_speed.SAMPLES
    rate(benchmark, "tokens_per_second", sum(len(one.token_ids) for one in drawn))


def test_training(benchmark, engine) -> None:
    rows, groups, drawn = engine.sample()
    before = engine.network.adapters.flat_NP.clone()
    benchmark(engine.learn, rows, groups, drawn)
    assert not torch.equal(engine.network.adapters.flat_NP, before)
    rate(benchmark, "samples_per_second", len(rows))


def test_one_step(benchmark, engine) -> None:
    benchmark(engine.step)
    rate(benchmark, "samples_per_second", engine_speed.QUESTIONS * engine_speed.SAMPLES)


@pytest.mark.slow
def test_beside_trl() -> None:
    if importlib.util.find_spec("trl") is None:
        pytest.skip("trl is not installed")
    folder = Path(__file__).parent
    paths = os.pathsep.join([str(folder), str(folder.parents[1])])
    result = subprocess.run(
        [sys.executable, str(folder / "engine_speed.py")],
        env={**os.environ, **engine_speed.MALLOC, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    rates = json.loads(result.stdout.splitlines()[-1])
    print(f"\nsamples a second, both sampling and training: {json.dumps(rates)}")
    assert rates["engine"] > 0 < rates["trl"]
