"""Training that is killed, loses its folder, finds a damaged checkpoint or meets a NaN.

Every run here is `neuromas train` in a process of its own, on a random Qwen3 model. What must come of it, after
resuming, are the bytes of a run that nothing ever happened to.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trained_apart import OPTIONS, Command, contents, finish, rows

import algorithms.trainer
from algorithms.checkpoint import checkpoints
from algorithms.metrics import MetricsLog
from algorithms.network import Network
from algorithms.reinforce import Reinforce
from algorithms.run import Run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
LONG = ("--updates", "40")
PROGRAM = """
import sys, tiny_models
from neuromas_env.cli import main
from neuromas_env.registry import register_task
register_task(tiny_models.Echo)
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return tiny_models.save(tmp_path_factory.mktemp("qwen3"), "qwen3")


@pytest.fixture(scope="module")
def undisturbed(backbone: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    found = finish(backbone, run)
    for name in ("nodes/node_1/adapter_model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"):
        assert f"checkpoints/step_14/{name}" in found
    assert sum(row["trained"] for row in Run(run).metrics[1:]) > 2  # so that the adapters have moved
    return found


@pytest.fixture(scope="module")
def undisturbed_long(backbone: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return finish(backbone, tmp_path_factory.mktemp("undisturbed") / "run", *LONG)


@pytest.fixture(scope="module")
def halfway(backbone: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run killed at update 9 or soon after, with the checkpoints of updates 6 and 8 or later ones."""
    run = tmp_path_factory.mktemp("halfway") / "run"
    command = Command(backbone, run, "--keep-checkpoints", "9")
    while rows(run) < 10:
        time.sleep(0.001)
    command.pause()
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    return run


@pytest.fixture
def cut(halfway: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(halfway, tmp_path / "run"))


# ---------------------------------------------------------------------- killed


def test_ten_kills_while_sampling_learning_and_saving(backbone, undisturbed_long, tmp_path):
    run, chance, phase = tmp_path / "run", random.Random(4), mmap.mmap(-1, 1)

    def watch(owner: Any, name: str, letter: bytes) -> None:
        """Write `letter` into the memory shared with the killer while a function runs."""
        function = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            phase[0:1] = letter
            try:
                return function(*arguments, **options)
            finally:
                phase[0:1] = b"-"

        setattr(owner, name, watched)

    def watch_phases() -> None:
        watch(Network, "sample", b"s")
        watch(algorithms.trainer, "learn", b"l")
        watch(algorithms.trainer, "save_checkpoint", b"c")

    killed: list[tuple[str, int]] = []
    for wanted in "slcslcslcs":
        phase[0:1] = b"-"
        command = Command(backbone, run, "--resume", *LONG, prepare=watch_phases)
        target = rows(run) + chance.randint(1, 3)
        while rows(run) < target:
            command.pause()  # which fails where the process has ended
            os.kill(command.pid, signal.SIGCONT)
            time.sleep(0.002)
        while True:
            time.sleep(chance.uniform(0, 0.003))
            command.pause()
            if phase[0:1] == wanted.encode():
                break
            os.kill(command.pid, signal.SIGCONT)
        os.kill(command.pid, signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL
        killed.append((wanted, rows(run)))
        assert all(checkpoint.damage is None for checkpoint in checkpoints(run))
    assert len({updates for _, updates in killed}) >= 5
    assert finish(backbone, run, *LONG) == undisturbed_long
    shown = EventAccumulator(str(run / "tensorboard")).Reload().Scalars("loss")
    expected = [(row["update"], row["loss"]) for row in Run(run).metrics[1:]]
    assert [event.step for event in shown] == [update for update, _ in expected]  # each once, the last time's
    assert [event.value for event in shown] == pytest.approx([loss for _, loss in expected])


@pytest.mark.slow  # each of the eleven processes imports torch
def test_ten_kills_of_the_installed_command(backbone, undisturbed_long, tmp_path):
    run, chance, killed = tmp_path / "run", random.Random(5), set()
    options = ["train", "echo", "--backbone", backbone, "--out", str(run), *OPTIONS.split(), *LONG, "--resume"]
    folder = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(folder.parents[1])])}
    for _ in range(10):
        target = rows(run) + chance.randint(1, 3)
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *options], env=environment, stderr=subprocess.DEVNULL
        ) as process:
            while rows(run) < target:
                assert process.poll() is None
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            assert process.poll() is None
            process.kill()
            assert process.wait() == -signal.SIGKILL
        killed.add(rows(run))
    assert len(killed) >= 5
    assert finish(backbone, run, *LONG) == undisturbed_long


# ---------------------------------------------------------------------- damaged


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-len(data) // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
@pytest.mark.parametrize(
    "name", ["nodes/node_1/adapter_model.safetensors", "nodes/node_0/adapter_config.json", "optimizer.safetensors",
             "state.json", "network.json"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_goes_on(name, damage, cut, backbone, undisturbed):
    before, last = checkpoints(cut)[-2:]
    damage(last.path / name)
    after_damage = contents(cut)
    line = Command(backbone, cut, "--resume").complaint(2)
    assert f"{last.path / name} is {'missing' if damage is Path.unlink else 'damaged'}" in line
    assert f"delete {last.path}, and --resume goes on from {before.path}, which is whole" in line
    assert contents(cut) == after_damage
    if name == "optimizer.safetensors":
        shutil.rmtree(last.path)
        assert finish(backbone, cut) == undisturbed


def test_several_damaged_checkpoints_are_all_named(cut, backbone):
    *_, whole, last_but_one, last = found = checkpoints(cut)
    truncate(last.path / "manifest.json")
    (last_but_one.path / "network.json").write_text("{}")
    line = Command(backbone, cut, "--resume").complaint(2)
    assert f"{last.path / 'manifest.json'} is damaged" in line
    assert f"delete {last.path} and {last_but_one.path}, and --resume goes on from {whole.path}" in line
    for checkpoint in found:
        flip(checkpoint.path / "state.json")
    line = Command(backbone, cut, "--resume").complaint(2)
    assert f"{cut} has no whole checkpoint: train again in another folder" in line


def test_a_checkpoint_without_a_manifest_is_still_read(cut, backbone, undisturbed):
    for checkpoint in checkpoints(cut):
        (checkpoint.path / "manifest.json").unlink()
    assert finish(backbone, cut) == undisturbed


def test_damaged_metrics_are_refused(cut, backbone, undisturbed):
    path, command = cut / "metrics.jsonl", lambda: Command(backbone, cut, "--resume")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'{"update": 4,', b'{"update" 4,'))
    assert f"{path} is damaged: line 5 is not the row of an update" in command().complaint(2)
    path.write_bytes(whole[: whole.index(b'{"update": 5')])
    last = checkpoints(cut)[-1]
    missing = f"{path} holds no row of update {last.update}, whose checkpoint is there"
    assert missing in command().complaint(2)
    path.unlink()
    assert missing in command().complaint(2)
    path.write_bytes(whole)
    assert finish(backbone, cut) == undisturbed


# ---------------------------------------------------------------------- gone


@pytest.mark.parametrize(
    ("moment", "missed"),
    [("append", "metrics.jsonl"), ("sync", "metrics.jsonl"), ("validate", "transcripts/validation_6.jsonl"),
     ("save_checkpoint", "checkpoints/step_6")],
)  # fmt: skip
@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_vanished_run_folder_stops_and_is_not_made_again(how, moment, missed, backbone, undisturbed, tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"

    def vanish() -> None:
        owner: Any = MetricsLog if hasattr(MetricsLog, moment) else algorithms.trainer
        function = getattr(owner, moment)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            if rows(run) >= 6:
                run.rename(elsewhere)
                if how == "deleted":
                    shutil.rmtree(elsewhere)
            return function(*arguments, **options)

        setattr(owner, moment, wrapped)

    line = Command(backbone, run, prepare=vanish).complaint(1)
    assert (
        f"cannot write {run / missed}: No such file or directory. Training stopped; {run} was deleted or moved" in line
    )
    assert not run.exists()
    if how == "moved" and moment == "append":
        assert finish(backbone, elsewhere) == undisturbed


# ---------------------------------------------------------------------- not a number


def test_a_loss_that_is_no_number_stops_and_the_message_is_true(backbone, undisturbed, tmp_path):
    run = tmp_path / "run"

    def explode() -> None:
        loss = Reinforce.loss
        Reinforce.loss = lambda *arguments: loss(*arguments) * (float("nan") if rows(run) >= 6 else 1.0)

    line = Command(backbone, run, prepare=explode).complaint(1)
    assert "not finite. Training stopped; everything up to update 5 is kept" in line
    assert "--resume would meet it again: start another run (--out) with a lower --learning-rate" in line
    kept = contents(run)
    assert Command(backbone, run, "--resume", prepare=explode).complaint(1) == line
    assert "learning-rate is 0.01 there and 0.001 here" in Command(
        backbone, run, "--resume", "--learning-rate", "1e-3"
    ).complaint(2)
    assert contents(run) == kept
    assert finish(backbone, run) == undisturbed


def test_adapters_that_have_run_away_stop_too(backbone, tmp_path):
    """With such a learning rate the nodes soon say NaN, and get no reward that a loss could be computed from."""
    run = tmp_path / "run"
    line = Command(backbone, run, "--learning-rate", "1e30").complaint(1)
    assert "the log-probability of what node_" in line
    assert f"everything up to update {Run(run).latest.update} is kept" in line
    assert Run(run).latest.update == rows(run) - 1


def test_what_a_row_cannot_hold_is_named(backbone, tmp_path):
    run = tmp_path / "run"

    def poison() -> None:
        Reinforce.logs = lambda *arguments: {"drift": float("inf") if rows(run) >= 6 else 0.0}

    line = Command(backbone, run, prepare=poison).complaint(1)
    assert f"cannot write {run / 'metrics.jsonl'}: update 6: drift is not a finite number" in line
    assert "everything up to update 4 is kept" in line
