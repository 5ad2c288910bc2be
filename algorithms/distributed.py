"""One training in several processes, started by torchrun: `torchrun --nproc-per-node 2 -m neuromas_env.cli train …`.

Every process has the whole network. Each samples the messages of its share of the questions, all hear what was said,
and from there on all hold the same batch; each computes the gradient of its own questions' messages, and the sum moves
all adapters alike. So what travels is the sampled tokens and the adapters' gradients, and the update is that of one
process, to rounding. Only the first process writes the run; the others write into a folder that is thrown away.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from neuromas_env.errors import UsageError

from .engines import PromptBatch, TokenEngine
from .engines.base import Engine
from .sampling import Sampled

if TYPE_CHECKING:
    from .config import TrainConfig
    from .network import Network

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes of one training. A team of one does everything by itself."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> Team:
        """The team that torchrun has started this process in (or whose process group is there already), if any.

        Raises UsageError where a GPU is asked for that this machine has not.
        """
        if not dist.is_available() or (not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) < 2):
            return cls()
        on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        if on_gpu:
            place = int(os.environ.get("LOCAL_RANK", "0"))
            if place >= torch.cuda.device_count():
                raise UsageError(
                    f"process {place} of this machine has no GPU: there are {torch.cuda.device_count()}; start as many "
                    "processes as GPUs (--nproc-per-node), or train with --device cpu"
                )
            torch.cuda.set_device(place)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if on_gpu else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """The value of every process, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def agree(self, decide: Callable[[], T]) -> T:
        """What `decide` gives in the first process, in all of them; a UsageError that it raises is raised in all."""
        if self.size == 1:
            return decide()
        found: list[Any] = [None, None]
        if self.first:
            try:
                found[0] = decide()
            except UsageError as error:
                found[1] = error
        dist.broadcast_object_list(found)
        if found[1] is not None:
            raise found[1]
        value: T = found[0]
        return value

    def any(self, asked: bool) -> bool:
        """Whether it is so in any of the processes."""
        return any(self.gather(asked))

    def add(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over all processes."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def own(self, questions: np.ndarray) -> np.ndarray:
        """Which of these questions of a batch, by number, are this process's to learn from."""
        return questions % self.size == self.rank

    @contextmanager
    def folder(self, config: TrainConfig, going_on: bool) -> Iterator[TrainConfig]:
        """`config` as this process trains it: the first in the run's folder, any other in a passing copy of it."""
        if self.size == 1:
            yield config
            return
        files = self.agree(lambda: resumable(config.folder) if going_on else {})
        if self.first:
            yield config
            return
        with tempfile.TemporaryDirectory(prefix="neuromas-") as scratch:
            for name, data in files.items():
                path = Path(scratch, "run", name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            yield replace(config, out=str(Path(scratch, "run")), tensorboard=False, wandb=None)


def resumable(folder: Path) -> dict[str, bytes]:
    """The files of a run that going on with it needs, by their path in it."""
    from .run import Run

    latest = Run(folder).latest
    paths = [folder / name for name in ("config.json", "topology.json", "metrics.jsonl")]
    paths += [] if latest is None else [path for path in latest.path.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.exists()}


class TogetherEngine(TokenEngine):
    """Each process samples its share of the questions with its own engine, and hears what the others sampled."""

    name = "together"

    def __init__(self, own: Engine, team: Team) -> None:
        if not isinstance(own, TokenEngine):
            own.check("training in several processes", token_ids=True)
        assert isinstance(own, TokenEngine)
        self.own, self.team, self.capabilities = own, team, own.capabilities  # type: ignore[misc]

    def sample(self, network: Network, batch: PromptBatch) -> list[Sampled]:
        shares = batch.shares(self.team.size)
        mine = shares[self.team.rank]
        said = self.own.sample(network, batch.part(mine)) if mine else []
        return merged(shares, self.team.gather(said))


def merged(shares: Sequence[Sequence[int]], said: Sequence[Sequence[Sampled]]) -> list[Sampled]:
    """The completions of a divided batch in its own order; `said[i]` are those at the places `shares[i]`."""
    placed = {
        place: sampled
        for places, answers in zip(shares, said, strict=True)
        for place, sampled in zip(places, answers, strict=True)
    }
    return [placed[place] for place in range(len(placed))]
