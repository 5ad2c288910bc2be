"""Memory: keeping what is about to be needed again, what is still free, and what a training pass keeps."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from neuromas_env.errors import UsageError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory(limit: int = 512 * 2**20) -> bool:
    """Let this process keep up to `limit` bytes of freed memory; returns whether the C library took the hint.

    Training passes allocate and free the same large tensors thousands of times. By default glibc returns each to the
    system and gets it back as fresh, zeroed pages, which costs about a tenth of the time of a pass on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # not glibc
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(M_TRIM_THRESHOLD, limit))


# ---------------------------------------------------------------------- what is free


def free_memory(device: torch.device | str, root: Path = Path("/")) -> int:
    """The bytes that this process may still take on `device`.

    On a GPU, what the driver calls free and what torch holds unused. Else what the system has left, or what the
    control groups of the process (version 1 or 2, their parents included) leave it, whichever is less; `root` is
    where the system's files are looked for. Raises UsageError where the system does not tell.
    """
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    left = [*_left_to_system(root), *_left_to_groups(root)]
    if not left:
        raise UsageError("this system does not tell how much memory is free; give --micro-batch-tokens a number")
    return max(0, min(left))


def _left_to_system(root: Path) -> Iterator[int]:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
                return
    except OSError:
        pass
    names = getattr(os, "sysconf_names", {})
    if root == Path("/") and "SC_PHYS_PAGES" in names:  # macOS: no more is told than what is built in
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _left_to_groups(root: Path) -> Iterator[int]:
    """What each control group that binds this process leaves, with the file pages it could give back."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, limit, usage, reclaimable = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, usage = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            reclaimable = "total_inactive_file"
        else:
            continue
        # In a container the path may be the host's, which is not seen here; its own group is then the top.
        group = root / top / path.strip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root / top):
                break
            try:
                most = (folder / limit).read_text().strip()
                if most != "max":
                    yield int(most) - int((folder / usage).read_text()) + _statistic(folder, reclaimable)
            except (OSError, ValueError):
                continue


def _statistic(folder: Path, name: str) -> int:
    values = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int(values.get(name, 0))


# ---------------------------------------------------------------------- what a training pass keeps


@dataclass
class Kept:
    """The bytes of tensors that autograd keeps for the backward pass: now, and at most so far."""

    now: int = 0
    most: int = 0
    _holders: Counter[int] = field(default_factory=Counter, repr=False)

    def hold(self, tensor: Tensor) -> _Holder:
        storage = tensor.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        holder = _Holder(tensor)
        if not self._holders[key]:  # a storage counts once, however many tensors view it
            self.now += size
            self.most = max(self.most, self.now)
        self._holders[key] += 1
        weakref.finalize(holder, self._release, key, size)
        return holder

    def _release(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            self.now -= size


class _Holder:
    """A kept tensor; that nobody needs it any more shows when this is collected."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@contextmanager
def kept_for_backward(known: Iterable[Tensor] = ()) -> Iterator[Kept]:
    """Count what autograd keeps within the block, backward passes included, each storage once; not the storages of
    `known`, such as the weights. What a pass needs for a moment, such as the gradients in flight, is not seen."""
    kept = Kept()
    besides = {tensor.untyped_storage().data_ptr() for tensor in known}

    def pack(tensor: Tensor) -> Tensor | _Holder:
        return tensor if tensor.untyped_storage().data_ptr() in besides else kept.hold(tensor)

    def unpack(held: Tensor | _Holder) -> Tensor:
        return held.tensor if isinstance(held, _Holder) else held

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield kept
