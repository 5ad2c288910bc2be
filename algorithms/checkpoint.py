"""Checkpoints: everything that training needs to go on as if it had never stopped.

`checkpoints/step_N/` holds the network (`network.json` and a PEFT folder a node, see network.py), the optimizer's
tensors (`optimizer.safetensors`), those that an algorithm has beside the network (`algorithm.safetensors`, where it
has any) and `state.json`: updates done, the best validation so far, the algorithm's own state, where the curriculum
stands. Randomness needs no record (seeds.py). A checkpoint appears under its name only
when it is whole and on disk. `manifest.json` has the SHA-256 of every other file, and what is read is held to it: a
damaged file is refused. Checkpoints without a manifest, of earlier versions, are read as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import CheckpointError

from .files import remove_folder, remove_partial, whole_folder, write_json, writing

if TYPE_CHECKING:
    from torch import Tensor

    from .backbone import Backbone
    from .network import Network
    from .optimizer import StackedAdam

MANIFEST, STATE = "manifest.json", "state.json"
OPTIMIZER, ALGORITHM = "optimizer.safetensors", "algorithm.safetensors"
_NAME = re.compile(r"step_(\d+)")


@dataclass
class TrainState:
    """Where a run stands: `update` updates are done, or -1 before the untrained network was judged.

    `best_update` had the best validation accuracy so far, and `without_best` validations came after it; `spent`: calls
    and tokens of all rollouts so far; `curriculum`: where it stands, empty without one; `finished`: nothing is left to
    do.
    """

    update: int = 0
    best_update: int | None = None
    best_accuracy: float | None = None
    algorithm: Mapping[str, Any] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    curriculum: Mapping[str, Any] = field(default_factory=dict)
    without_best: int = 0
    finished: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """One whole checkpoint on disk. Reading a damaged one raises CheckpointError, which says how to go on."""

    update: int
    path: Path

    def state(self) -> TrainState:
        self._check([STATE])
        try:
            return TrainState(**json.loads((self.path / STATE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{self.path} is not a checkpoint of a training run: {error}") from None

    def network(self, backbone: Backbone | None = None) -> Network:
        """The network as saved here; `backbone` spares loading it again."""
        from .network import Network

        self._check(self._of_network)
        return Network.load(self.path, backbone=backbone)

    @property
    def fingerprint(self) -> str:
        """A hash of the network as saved here, and of nothing else."""
        hashes = self._manifest()
        return hashlib.sha256("".join(hashes[name] for name in self._of_network).encode()).hexdigest()

    @property
    def _of_network(self) -> list[str]:
        """The files of the network, among those of a checkpoint."""
        return sorted(name for name in self._manifest() if name not in (STATE, OPTIMIZER, ALGORITHM))

    def optimizer_state(self) -> dict[str, Tensor]:
        return self._tensors(OPTIMIZER)

    def load_optimizer(self, optimizer: StackedAdam) -> None:
        try:
            optimizer.load_state_dict(self.optimizer_state())
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the optimizer state in {self.path} cannot be used: {error}") from None

    def algorithm_tensors(self) -> dict[str, Tensor]:
        """What the algorithm has beside the network; empty where it has nothing."""
        if not (self.path / ALGORITHM).exists() and ALGORITHM not in self._manifest():
            return {}
        return self._tensors(ALGORITHM)

    def _tensors(self, name: str) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self._check([name])
        try:
            return load_file(self.path / name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self.path / name} cannot be read: {error}") from None

    @property
    def damage(self) -> str | None:
        """What is wrong with the first file that is not as it was written; None where all are."""
        try:
            hashes = self._manifest()
        except CheckpointError as error:
            return str(error)
        found = (_damage(self.path / name, digest) for name, digest in hashes.items())
        return next((text for text in found if text), None)

    def _manifest(self) -> dict[str, str]:
        """The hash of every file by its path in the checkpoint; empty for a checkpoint of an earlier version."""
        path = self.path / MANIFEST
        if not path.exists():
            return {}
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            raise CheckpointError(f"{path} is damaged") from None

    def _check(self, names: list[str]) -> None:
        """Raises CheckpointError where one of the files `names` is not as it was written."""
        try:
            hashes = self._manifest()
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {self._advice()}") from None
        for name in names if hashes else ():
            text = _damage(self.path / name, hashes.get(name))
            if text:
                raise CheckpointError(f"{text}; {self._advice()}")

    def _advice(self) -> str:
        """How to go on without this checkpoint: by the last one of the run that is whole."""
        run = self.path.parent.parent
        later: list[str] = []
        for other in reversed(checkpoints(run)):
            if other.damage is None:
                if not later:
                    return f"the last checkpoint, {other.path}, is whole"
                return f"delete {' and '.join(later)}, and --resume goes on from {other.path}, which is whole"
            later.append(str(other.path))
        return f"{run} has no whole checkpoint: train again in another folder (--out)"


def _damage(path: Path, digest: str | None) -> str | None:
    """What is wrong with a file whose SHA-256 was `digest`; None where it still is."""
    try:
        if _sha256(path) == digest:
            return None
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return f"{path} is damaged: it is not what was written"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkpoints(run: Path) -> list[Checkpoint]:
    """The whole checkpoints of a run folder, oldest first."""
    found = [(_NAME.fullmatch(path.name), path) for path in (run / "checkpoints").glob("step_*")]
    return sorted((Checkpoint(int(match[1]), path) for match, path in found if match), key=lambda item: item.update)


def save_checkpoint(
    run: Path,
    network: Network,
    optimizer: StackedAdam,
    state: TrainState,
    keep: int,
    algorithm: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Write the checkpoint of `state.update`, then delete all but the last `keep` and the best one.

    `algorithm` are the tensors that the algorithm has beside the network. A checkpoint that is already there is left
    alone: it holds the same state. Raises WriteError where it cannot be written; those before it are then untouched.
    """
    path = run / "checkpoints" / f"step_{state.update}"
    if not path.exists():
        with writing(path):
            path.parent.mkdir(exist_ok=True)  # the run's folder itself is not made again
            with whole_folder(path) as folder, _tensor_errors():
                network.save(folder)
                _save_tensors(folder / OPTIMIZER, optimizer.state_dict())
                if algorithm:
                    _save_tensors(folder / ALGORITHM, algorithm)
                write_json(folder / STATE, asdict(state))
                _write_manifest(folder)
    for checkpoint in checkpoints(run)[:-keep]:
        if checkpoint.update != state.best_update:
            with writing(checkpoint.path):
                remove_folder(checkpoint.path)
    return Checkpoint(state.update, path)


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _write_manifest(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(folder / MANIFEST, {"sha256": {path.relative_to(folder).as_posix(): _sha256(path) for path in files}})


@contextmanager
def _tensor_errors() -> Iterator[None]:
    """Raise what safetensors could not write as the OSError that it was; its own error has the number in its text."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise (OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))) from None


def clean(run: Path) -> None:
    """Delete what a kill left half-written."""
    for folder in (run, run / "checkpoints", run / "transcripts"):
        remove_partial(folder)
