"""Several processes make the update of one, and only the first of them writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from algorithms import Network, TrainConfig, load_backbone, train
from algorithms.algorithm import make_algorithm
from algorithms.distributed import Team, TogetherEngine
from algorithms.learner import ALONE, Additions, backward
from algorithms.rollout import Rollout, roll_out
from algorithms.sharding import sharded_backbone
from neuromas_env.errors import UsageError
from neuromas_env.registry import make_task

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")

CASES = {
    "reinforce": Additions(),
    "grpo": Additions(entropy_bonus=0.01, kl=0.1),
    "cispo": Additions(truncate=1.5),
    "magrpo": Additions(),
    "gspo": Additions(),
}


def network() -> Network:
    made = Network.create("2-1", load_backbone("nano", "float64"), rank=2, seed=1)
    assert made.adapters is not None
    oracle.shake(made.adapters)
    return made


def played(made: Network) -> Rollout:
    task = make_task("chain")
    questions = [task.question("train", index) for index in (0, 1, 2, 3, 0)]  # an uneven number, one of them twice
    return roll_out(made, task, questions, 4, temperature=1.0, seed=5)


def update(name: str, team: Team) -> tuple[torch.Tensor, float, dict[str, list[float]], list[tuple[int, ...]]]:
    """The gradient of one batch as a team computes it, its loss and statistics, and what was said."""
    torch.set_num_threads(1)
    made = network()
    if team.size > 1:
        made.engine = TogetherEngine(made.engine, team)
    rollout = played(made)
    rewards_QG = np.random.default_rng(0).random(rollout.rewards_QG.shape)
    algorithm = make_algorithm(name)
    algorithm.prepare(samples=4, epochs=1, max_tokens=8)
    assert made.adapters is not None
    made.adapters.zero_grad()
    seen = backward(
        made, algorithm, rollout, algorithm.advantages(rewards_QG), temperature=1.0, micro_batch_tokens=200,
        additions=CASES[name], team=team,
    )  # fmt: skip
    statistics = {name: values_N.tolist() for name, values_N in seen.statistics_N.items()}
    return made.adapters.grad_NP.clone(), seen.loss, statistics, [turn.message.token_ids for turn in rollout.turns]


def process(rank: int, size: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(size)}
    sys.path.insert(0, str(Path(__file__).parent))
    team = Team.join("cpu")
    assert (team.rank, team.size) == (rank, size)
    torch.save({name: update(name, team) for name in CASES}, f"{folder}/{rank}.pt")

    def refuse() -> int:
        raise UsageError(f"told by {rank}")

    with pytest.raises(UsageError, match="told by 0"):
        team.agree(refuse)
    assert team.agree(lambda: rank) == 0
    assert team.any(rank == 1)
    assert not team.any(False)
    check_shares(team)
    dist.destroy_process_group()


def check_shares(team: Team) -> None:
    """Each process holds half of the weights, and both compute with all of them."""
    whole = load_backbone("nano")
    divided = sharded_backbone(TrainConfig("chain"), team, "cpu")
    held = sum(parameter.to_local().numel() for parameter in divided.model.parameters())
    assert held < 0.55 * sum(parameter.numel() for parameter in whole.model.parameters())
    assert divided.weight_hash() == whole.weight_hash()
    said = [
        [turn.message.token_ids for turn in played(Network.create("2-1", each, rank=2)).turns]
        for each in (whole, divided)
    ]
    assert said[0] == said[1]
    token = torch.tensor([team.rank])
    assert divided.lockstep is not None
    divided.lockstep(token)
    assert token.tolist() == [0]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple]]:
    import socket

    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(process, (2, port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_update_of_one(name: str, together: list[dict[str, tuple]]) -> None:
    gradient_NP, loss, statistics, said = update(name, ALONE)
    assert gradient_NP.abs().max() > 1e-3
    for rank in range(2):
        their_NP, their_loss, their_statistics, their_words = together[rank][name]
        assert their_words == said
        assert float((their_NP - gradient_NP).abs().max()) < 1e-9
        assert their_loss == pytest.approx(loss, abs=1e-5)
        assert their_statistics.keys() == statistics.keys()
        for column, values in statistics.items():
            assert their_statistics[column] == pytest.approx(values, abs=1e-5)
    assert torch.equal(together[0][name][0], together[1][name][0])  # or they would drift apart


OPTIONS = ["--topology", "2-1", "--updates", "6", "--questions", "4", "--samples", "4", "--validation-every", "2",
           "--validation-questions", "20", "--checkpoint-every", "1", "--device", "cpu", "--rank", "2"]  # fmt: skip
NEUROMAS = [sys.executable, "-c", "from neuromas_env.cli import main; main()"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python", "--nproc-per-node", "2"]


def start(out: Path, *more: str, processes: int = 2) -> subprocess.Popen[str]:
    command = [*(TORCHRUN if processes > 1 else []), *NEUROMAS, "train", "chain", "--out", str(out), *OPTIONS, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def metrics(run: Path) -> list[dict]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_torchrun_trains_one_run_stops_and_goes_on(tmp_path: Path) -> None:
    alone, team = tmp_path / "alone", tmp_path / "team"
    single = start(alone, processes=1)
    single.communicate(timeout=300)
    assert single.returncode == 0

    stopped = start(team)
    while len(metrics(team)) < 3 and stopped.poll() is None:
        time.sleep(0.02)
    stopped.send_signal(signal.SIGTERM)  # torchrun hands it to both
    stopped.communicate(timeout=300)
    assert 3 <= len(metrics(team)) < 7
    going_on = start(team, "--resume")
    out, err = going_on.communicate(timeout=300)
    assert going_on.returncode == 0, err
    assert out.count("best network") == 1

    mine, theirs = metrics(alone), metrics(team)
    assert [row["update"] for row in theirs] == list(range(7))
    for one, other in zip(mine, theirs, strict=True):
        for column in ("reward", "sampled_tokens", "prompt_tokens", "validation_accuracy"):
            assert one.get(column) == other.get(column)
        assert one.get("loss", 0.0) == pytest.approx(other.get("loss", 0.0), abs=1e-4)
    again = start(team)
    _, err = again.communicate(timeout=300)
    assert again.returncode != 0
    assert err.count("already holds a run") == 1


def test_a_divided_backbone_trains_the_same_run(tmp_path: Path) -> None:
    alone, team = tmp_path / "alone", tmp_path / "team"
    runs = [start(alone, processes=1), start(team, "--shard-backbone")]
    for run in runs:
        _, err = run.communicate(timeout=300)
        assert run.returncode == 0, err
    for one, other in zip(metrics(alone), metrics(team), strict=True):
        for column in ("reward", "sampled_tokens", "validation_accuracy"):
            assert one.get(column) == other.get(column)
        assert one.get("loss", 0.0) == pytest.approx(other.get("loss", 0.0), abs=1e-4)
    assert any(row.get("trained") for row in metrics(team))


@pytest.mark.parametrize(
    ("options", "told"),
    [({}, "start them with torchrun"), ({"backbone": True}, "give none")],
)
def test_what_cannot_be_divided_is_told(options: dict, told: str, tmp_path: Path) -> None:
    backbone = load_backbone("nano") if options else None
    with pytest.raises(UsageError, match=told):
        train(TrainConfig("chain", out=str(tmp_path / "run"), shard_backbone=True), backbone=backbone)
    assert not (tmp_path / "run").exists()


def test_a_team_of_one_is_alone() -> None:
    team = Team.join("cpu")
    assert team == ALONE
    assert team.gather("x") == ["x"]
    assert team.own(np.arange(3)).all()


def test_a_process_without_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "99")
    with pytest.raises(UsageError, match="process 99 of this machine has no GPU"):
        Team.join("cuda")
