"""Training on a disk that is full: one line that says what could not be written, and nothing that was whole is lost.

Every run here is `neuromas train` in a process of its own. What must come of it once there is room again are the bytes
of a run that nothing ever happened to.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from left_behind import contents
from trained_apart import Command, finish, rows

import neuromas_env.transcripts
from algorithms import adapters, files
from algorithms.checkpoint import checkpoints
from algorithms.metrics import MetricsLog
from algorithms.run import Run

resource = pytest.importorskip("resource", reason="needs POSIX")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return tiny_models.save(tmp_path_factory.mktemp("qwen3"), "qwen3")


@pytest.fixture(scope="module")
def undisturbed(backbone: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return finish(backbone, tmp_path_factory.mktemp("undisturbed") / "run")


def full(path: object = None) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def after(run: Path, count: int, error: Callable[[], Exception], concerns: Callable[..., bool]) -> Callable[..., Any]:
    """A wrapper of a function that raises `error` from the row `count` on, for arguments that it concerns."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if rows(run) >= count and concerns(*arguments):
                raise error()
            return function(*arguments, **options)

        return wrapped

    return wrap


class FullFile:
    """An open file that, from the fifth row on, takes half of a write and then nothing more."""

    def __init__(self, file: Any, run: Path) -> None:
        self.file, self.run, self.pending = file, run, False

    def write(self, data: Any) -> int:
        if rows(self.run) < 5:
            return self.file.write(data)
        if len(data) == 1:
            raise full()
        written = self.file.write(data[: len(data) // 2])
        if isinstance(data, str):  # which is written through a buffer: all of it, or an error now and at closing
            self.pending = True
            raise full()
        return written

    def close(self) -> None:
        self.file.close()
        if self.pending:
            raise full()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def fill(place: str, run: Path) -> Callable[[], None]:
    """Makes one place of a run's writing fail as on a full disk, from the fifth row on."""

    def opening(owner: Any, name: str) -> None:
        def opened(path: Any, *arguments: Any, **options: Any) -> Any:
            file = open(path, *arguments, **options)  # noqa: SIM115 - the caller closes it
            return FullFile(file, run) if Path(path).name.startswith(name) else file

        owner.open = opened

    def replaced(owner: Any, name: str, concerns: Callable[..., bool], error: Callable[[], Exception] = full) -> None:
        setattr(owner, name, after(run, 5, error, concerns)(getattr(owner, name)))

    def tensor_error() -> Exception:
        from safetensors import SafetensorError

        return SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    def install() -> None:
        import safetensors.torch

        always = lambda *arguments: True  # noqa: E731
        match place:
            case "metrics.jsonl" | "timings.jsonl":
                opening(files, place)
            case "tensorboard":
                opening(files, "events.out")
            case "state.json" | "manifest.json":
                replaced(files, "write_text", lambda path, text: path.name == place)
            case "transcript":
                opening(neuromas_env.transcripts, "validation_")
            case "adapter":
                replaced(adapters, "save_file", always, tensor_error)
            case "optimizer":
                replaced(safetensors.torch, "save_file", lambda tensors, path: "optimizer" in str(path), tensor_error)
            case "network.json":
                replaced(Path, "write_text", lambda path, *text: path.name == place)
            case "fsync":
                replaced(os, "fsync", always)
            case "rename":
                replaced(os, "replace", always)

    return install


PLACES = {
    "metrics.jsonl": "metrics.jsonl",
    "timings.jsonl": "timings.jsonl",
    "tensorboard": "tensorboard/events",
    "transcript": "transcripts/validation_",
    "adapter": "checkpoints/step_",
    "optimizer": "checkpoints/step_",
    "network.json": "checkpoints/step_",
    "state.json": "checkpoints/step_",
    "manifest.json": "checkpoints/step_",
    "rename": "checkpoints/step_",
    "fsync": "metrics.jsonl",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_full_disk_stops_in_one_line_and_loses_nothing(place, backbone, undisturbed, tmp_path):
    run = tmp_path / "run"
    line = Command(backbone, run, prepare=fill(place, run)).complaint(1)
    assert f"cannot write {run / PLACES[place]}" in line
    assert "No space left on device" in line
    assert f"everything up to update {Run(run).latest.update} is kept in {run}" in line
    assert "--resume goes on from there" in line
    assert Run(run).latest.update >= 2
    assert all(checkpoint.damage is None for checkpoint in checkpoints(run))
    assert not list(run.rglob(f"{files.TEMPORARY}*"))
    assert finish(backbone, run) == undisturbed


def test_a_disk_that_is_full_from_the_start(backbone, undisturbed, tmp_path):
    run = tmp_path / "run"

    def refuse(*arguments: object) -> None:
        raise full()

    line = Command(backbone, run, prepare=lambda: setattr(os, "replace", refuse)).complaint(2)
    assert f"cannot write {run}: No space left on device" in line
    assert finish(backbone, run) == undisturbed


def test_a_disk_that_stays_full_leaves_a_resumed_run_as_it_was(backbone, undisturbed, tmp_path):
    run = tmp_path / "run"
    Command(backbone, run, prepare=fill("rename", run)).complaint(1)
    before = contents(run)
    line = Command(backbone, run, "--resume", prepare=fill("rename", run)).complaint(1)
    assert f"cannot write {run / 'metrics.jsonl'}: No space left on device" in line
    assert contents(run) == before
    assert not list(run.glob(f"{files.TEMPORARY}*"))
    assert finish(backbone, run) == undisturbed


def test_a_file_that_may_not_grow_is_a_real_error_of_every_writer(backbone, undisturbed, tmp_path):
    """A limit on the size of files, which the adapters reach at once: what safetensors says of it is understood."""
    run = tmp_path / "run"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    line = Command(backbone, run, prepare=limit).complaint(1)
    assert "checkpoints/step_0: File too large. Training stopped; there is no checkpoint yet" in line
    assert finish(backbone, run) == undisturbed


def mount_small_disk(folder: Path, size: str) -> bool:
    """Mount a file system of its own for this process; False where the system does not allow it."""
    libc, new_user, new_mounts = ctypes.CDLL(None, use_errno=True), 0x10000000, 0x00020000
    user, group = os.getuid(), os.getgid()
    try:
        if libc.unshare(new_user | new_mounts):
            return False
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except (AttributeError, OSError):
        return False
    return libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()) == 0


@pytest.mark.parametrize("moment", ["append", "sync"])
def test_a_disk_that_is_really_full(moment, backbone, undisturbed, tmp_path):
    """A small file system is filled to its last byte at update 7 or at the checkpoint after it, then emptied again."""
    disk, results = tmp_path / "disk", tmp_path / "results"
    disk.mkdir()
    results.mkdir()
    if not (child := os.fork()):
        code = 70
        try:
            code = _use_small_disk(moment, backbone, disk, results)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 77:
        pytest.skip("this system lets nobody mount a file system of their own")
    assert code == 0
    line = (results / "complaint").read_text()
    assert f"cannot write {disk / 'run'}/" in line
    assert "No space left on device. Training stopped; everything up to update 6 is kept" in line
    assert contents(results / "run") == undisturbed


def _use_small_disk(moment: str, backbone: str, disk: Path, results: Path) -> int:
    if not mount_small_disk(disk, "8m"):
        return 77
    ballast, original = disk / "ballast", getattr(MetricsLog, moment)

    def filling(log: MetricsLog, *arguments: Any) -> None:
        if rows(disk / "run") >= 8:
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(64))
                except OSError:
                    pass
        original(log, *arguments)

    complaint = Command(backbone, disk / "run", prepare=lambda: setattr(MetricsLog, moment, filling)).complaint(1)
    (results / "complaint").write_text(complaint)
    ballast.unlink()
    finish(backbone, disk / "run")
    shutil.copytree(disk / "run", results / "run")
    return 0
