"""Checkpoints and run files: whole or absent, bit for bit, and refused where they do not fit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import tiny_models
import torch

from algorithms.backbone import Backbone
from algorithms.checkpoint import TrainState, checkpoints, clean, save_checkpoint
from algorithms.files import WriteError, exclusive, remove_folder, whole_folder, write_text
from algorithms.metrics import RowFile, read_rows
from algorithms.network import Network
from algorithms.optimizer import StackedAdam
from algorithms.run import Run
from neuromas_env.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.set_num_threads(1)
    return Backbone.wrap(tiny_models.make("llama"), tiny_models.tokenizer(), "tiny")


def trained(backbone: Backbone, topology: str = "1-1") -> tuple[Network, StackedAdam]:
    """A network and an optimizer that have moved, with values that need all their bits."""
    network = Network.create(topology, backbone, rank=2)
    optimizer = StackedAdam(network.adapters, 1e-2)
    generator = torch.Generator().manual_seed(0)
    for active in (0, 1, 1):
        network.adapters.grad_NP.copy_(torch.randn(network.adapters.grad_NP.shape, generator=generator))
        optimizer.step([node == active for node in range(network.topology.num_nodes)])
    return network, optimizer


def test_a_checkpoint_gives_back_every_bit(backbone, tmp_path):
    network, optimizer = trained(backbone)
    state = TrainState(3, 2, 1 / 3, {"running_mean": 0.1 + 0.2}, {"calls": 7})
    save_checkpoint(tmp_path, network, optimizer, state, keep=1)
    (checkpoint,) = checkpoints(tmp_path)
    assert checkpoint.state() == state
    loaded = checkpoint.network(backbone)
    fresh = StackedAdam(loaded.adapters, 0.0)
    checkpoint.load_optimizer(fresh)
    assert torch.equal(loaded.adapters.flat_NP, network.adapters.flat_NP)
    for name, tensor in optimizer.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name
    assert fresh.steps_N.tolist() == [1, 2]


def test_the_last_ones_and_the_best_one_are_kept(backbone, tmp_path):
    network, optimizer = trained(backbone)
    for update in (0, 5, 10, 100, 110):
        best = 5 if update >= 5 else 0
        save_checkpoint(tmp_path, network, optimizer, TrainState(update, best), keep=2)
    assert [checkpoint.update for checkpoint in checkpoints(tmp_path)] == [5, 100, 110]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail() -> None:
        with whole_folder(tmp_path / "step_1") as folder:
            (folder / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "step_1") as folder:
        (folder / "all").write_text("x")
        assert not (tmp_path / "step_1").exists()
    assert (tmp_path / "step_1" / "all").read_text() == "x"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_while_writing_or_deleting_leaves_only_whole_checkpoints(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()

    def write_and_delete(path: Path, forever: int) -> None:
        for number in range(forever):
            with whole_folder(path / f"step_{number}") as partial:
                for name in range(20):
                    (partial / f"file{name}").write_text("x" * 1000)
            if number:
                remove_folder(path / f"step_{number - 1}")
            write_text(path / "state", str(number) * 1000)

    leftovers = False
    for _ in range(15):
        if (child := os.fork()) == 0:
            try:
                write_and_delete(folder, 10**6)
            finally:
                os._exit(0)
        time.sleep(random.uniform(0.005, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for checkpoint in checkpoints(tmp_path):
            assert len(list(checkpoint.path.iterdir())) == 20
            assert all(len(file.read_text()) == 1000 for file in checkpoint.path.iterdir())
        if (folder / "state").exists():
            text = (folder / "state").read_text()
            assert len(text) % 1000 == 0 < len(text)
        leftovers |= any(path.name.startswith(".") for path in folder.iterdir())
        clean(tmp_path)
        assert not any(path.name.startswith(".") for path in folder.iterdir())
        for checkpoint in checkpoints(tmp_path):
            shutil.rmtree(checkpoint.path)
    assert leftovers  # else no kill came at a moment that matters


def test_a_kill_in_the_middle_of_deleting_or_replacing_leaves_no_half(tmp_path, monkeypatch):
    (tmp_path / "step_1").mkdir()
    for name in "ab":
        (tmp_path / "step_1" / name).write_text(name)
    write_text(tmp_path / "state", "old")

    def killed(path: Path | int, *args: object, **options: object) -> None:
        if isinstance(path, Path) and path.exists():
            (path / "a").unlink()
        if not isinstance(path, Path) or path.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        remove_folder(tmp_path / "step_1")
    assert not (tmp_path / "step_1").exists()
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "state", "new")
    assert (tmp_path / "state").read_text() == "old"


def test_damaged_and_foreign_checkpoints_are_refused_in_one_line(backbone, tmp_path):
    network, optimizer = trained(backbone)
    checkpoint = save_checkpoint(tmp_path, network, optimizer, TrainState(1), keep=1)
    _, other = trained(backbone, "1-1-1")
    with pytest.raises(CheckpointError, match=r"optimizer state.*shape"):
        checkpoint.load_optimizer(other)
    readers = {
        "optimizer.safetensors": lambda: checkpoint.load_optimizer(optimizer),
        "nodes/node_1/adapter_model.safetensors": lambda: checkpoint.network(backbone),
        "state.json": checkpoint.state,
    }
    for name, read in readers.items():
        read()
        file = checkpoint.path / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(CheckpointError, match=f"^[^\n]*{tmp_path}[^\n]*$"):
            read()
    with pytest.raises(CheckpointError, match="not a training run"):
        Run(tmp_path)


def test_rows_after_the_checkpoint_and_a_cut_line_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = RowFile(path, -1)
    for update in range(4):
        file.append({"update": update, "value": 0.1 * update})
    file.close()
    first_three = b"".join(path.read_bytes().splitlines(keepends=True)[:3])
    with open(path, "a") as broken:
        broken.write('{"update": 4, "val')
    assert [row["update"] for row in read_rows(path)] == [0, 1, 2, 3]
    file = RowFile(path, 2)
    with pytest.raises(WriteError, match=r"metrics.jsonl: update 3: of/value is not a finite number"):
        file.append({"update": 3, "of": {"value": float("nan"), "other": 1.0}})
    file.close()
    assert path.read_bytes() == first_three


def test_a_row_never_goes_into_a_file_that_is_no_longer_there(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = RowFile(path, -1)
    file.append({"update": 0})
    path.rename(tmp_path / "moved")
    with pytest.raises(WriteError, match=r"cannot write .*metrics.jsonl: No such file"):
        file.append({"update": 1})
    path.write_text("of another run\n")
    with pytest.raises(WriteError, match="another file has taken its place"):
        file.append({"update": 1})
    file.close()
    assert path.read_text() == "of another run\n"
    assert read_rows(tmp_path / "moved") == [{"update": 0}]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_second_process_is_refused(tmp_path):
    with exclusive(tmp_path), pytest.raises(UsageError, match="in use by another process"), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass
