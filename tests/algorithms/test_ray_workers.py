"""Workers of a Ray cluster of two nodes on this machine: they sample what one process samples, also where one dies."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algorithms import Network, TrainConfig, train
from algorithms.engines.ray_workers import RayEngine, parse_workers
from neuromas_env.errors import UsageError

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'neuromas[ray]'")
ROOT = Path(__file__).parents[2]
COLUMNS = ("update", "reward", "loss", "sampled_tokens", "prompt_tokens", "validation_accuracy")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two nodes of one core each, joined by this process."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.add_node(num_cpus=1)
        ray.init(address=made.address, log_to_driver=False, logging_level=logging.ERROR)
        yield
        ray.shutdown()
        made.shutdown()


def config(out: Path, **more: Any) -> TrainConfig:
    return replace(
        TrainConfig(
            "chain", topology="2-1", out=str(out), updates=6, questions=4, samples=4, rank=2, validation_every=3,
            validation_questions=20, checkpoint_every=1, tensorboard=False, device="cpu",
        ),
        **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return train(config(tmp_path_factory.mktemp("alone") / "run")).metrics


def told(rows: list[dict]) -> list[list[Any]]:
    return [[row.get(column) for column in COLUMNS] for row in rows]


def test_two_workers_on_two_nodes_sample_what_one_process_samples(
    cluster: None, alone: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = []
    made = RayEngine.__init__

    def listening(self: RayEngine, *arguments: Any) -> None:
        made(self, *arguments)
        states = ray._private.state.actors().values()
        nodes.append({state["Address"]["NodeID"] for state in states if state["State"] == "ALIVE"})

    monkeypatch.setattr(RayEngine, "__init__", listening)
    network = Network.create("2-1", "nano", rank=2)
    run = train(config(tmp_path / "run", workers="ray:2"), network=network)
    assert told(run.metrics) == told(alone)
    assert [len(each) for each in nodes] == [2]
    assert network.engine.name == "transformers"  # it is used on, without the workers


def test_a_worker_that_dies_costs_its_questions_only(
    cluster: None, alone: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is killed by its process while it samples; what it was asked is sampled again, to the same tokens."""
    engines: list[RayEngine] = []
    asked: list[int] = []
    plain = RayEngine.sample

    def watched(self: RayEngine, network: Any, batch: Any) -> list[Any]:
        engines[:] = [self]
        asked.append(len(batch))
        if len(asked) == 8:
            ray.kill(self.workers[1], no_restart=False)
        return plain(self, network, batch)

    monkeypatch.setattr(RayEngine, "sample", watched)
    run = train(config(tmp_path / "run", workers="ray:2"))
    timings = [json.loads(line) for line in (run.folder / "timings.jsonl").read_text().splitlines()]
    assert [timings[update]["workers_lost"] for update in (1, 6)] == [0, 1]
    assert told(run.metrics) == told(alone)


def test_sampling_ahead_is_bounded_recorded_and_learns(cluster: None, tmp_path: Path) -> None:
    made = config(
        tmp_path / "run", topology="1", workers="ray:2", staleness=2, truncate=2.0, updates=12, learning_rate=1e-2
    )
    rows = train(made).metrics
    assert [row["staleness"] for row in rows[1:]] == [0, 1] + [2] * 10
    assert rows[1]["mismatch"] < 1e-5 < rows[5]["mismatch"]  # the sampler is behind, and the learner knows by how much
    assert [row["calls"] for row in rows[1:]] == [16 * update for update in range(1, 13)]


def test_a_killed_head_goes_on_from_its_checkpoint(alone: list[dict], tmp_path: Path) -> None:
    out = tmp_path / "run"
    values = {**config(out, workers="ray:1").to_json()}
    program = (
        "import json, sys; from algorithms import TrainConfig, train; "
        "train(TrainConfig.from_json(json.loads(sys.argv[1])), resume=True)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", program, json.dumps(values)], env=environment, stderr=subprocess.DEVNULL
        )

    head = start()
    metrics = out / "metrics.jsonl"
    while (not metrics.exists() or metrics.read_text().count("\n") < 3) and head.poll() is None:
        time.sleep(0.02)
    head.send_signal(signal.SIGKILL)
    head.wait()
    assert 3 <= metrics.read_text().count("\n") < 7
    assert start().wait(timeout=300) == 0
    assert told([json.loads(line) for line in metrics.read_text().splitlines()]) == told(alone)


def test_more_workers_than_cores_are_refused(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has only 2 CPUs"):
        train(config(tmp_path / "run", workers="ray:3"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["ray", "ray:0", "ray:x", "dask:2", "2"])
def test_what_names_no_workers_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="ray:N"):
        parse_workers(text)


def test_sampling_ahead_needs_workers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --workers ray:N too"):
        train(config(tmp_path / "run", staleness=1))
    assert not (tmp_path / "run").exists()
