"""What training takes of memory, in a process of its own: against what --dry-run says, and by the number of nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of resident memory"),
]

MEASURE = """
import json, sys
from pathlib import Path
import torch
from algorithms import TrainConfig, train
from algorithms.backbone import load_backbone
from algorithms.bench.work import Engine, Work
from algorithms.estimate import estimate

def resident(field="VmRSS"):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

torch.set_num_threads(1)
"""
RUN = """
config = TrainConfig.from_json(json.loads(sys.argv[1]))
if sys.argv[2] == "said":
    print(estimate(config).peak_bytes)
else:
    load_backbone("nano")  # what the libraries keep for themselves
    before = resident()
    train(config)
    print(resident("VmHWM") - before)
"""
UPDATE = """
import algorithms.bench.work as work
pack, nodes = work.pack, int(sys.argv[1])
work.pack = lambda samples: pack(samples, 2048)
engine = Engine(Work("t1", nodes, 56 // nodes, 8, 48, 16))
batch = engine.sample()
Path("/proc/self/clear_refs").write_text("5")
engine.learn(*batch)
print(resident("VmHWM"))
"""


def measured(program: str, *arguments: str) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE + program, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize(("topology", "micro_batch_tokens"), [("1-1-1", 16384), ("2-2-2-1", 16384)])
def test_a_dry_run_knows_the_peak(topology: str, micro_batch_tokens: int, tmp_path: Path) -> None:
    values = {
        "task": "chain", "topology": topology, "updates": 2, "micro_batch_tokens": micro_batch_tokens,
        "validation_questions": 20, "tensorboard": False, "entropy_bonus": 1e-3, "out": str(tmp_path / "run"),
    }  # fmt: skip
    said, taken = (measured(RUN, json.dumps(values), mode) for mode in ("said", "taken"))
    assert 0.75 < said / taken < 1.25


def test_seven_nodes_take_little_more_than_one_for_the_same_calls() -> None:
    one, seven = measured(UPDATE, "1"), measured(UPDATE, "7")
    assert seven < 1.3 * one
