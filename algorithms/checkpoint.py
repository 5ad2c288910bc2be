"""Checkpoints: everything that training needs to go on as if it had never stopped.

`checkpoints/step_N/` holds the network (`network.json` and a PEFT folder a node, see network.py), the optimizer's
tensors (`optimizer.safetensors`) and `state.json`: updates done, the best validation so far, the algorithm's own
state, where the curriculum stands. Randomness needs no record (seeds.py). A checkpoint appears under its name only
when it is whole and on disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import CheckpointError

from .files import remove_folder, remove_partial, whole_folder, write_json

if TYPE_CHECKING:
    from .backbone import Backbone
    from .network import Network
    from .optimizer import StackedAdam

_NAME = re.compile(r"step_(\d+)")


@dataclass
class TrainState:
    """Where a run stands: `update` updates are done, or -1 before the untrained network was judged.

    `best_update` had the best validation accuracy so far; `spent`: calls and tokens of all rollouts so far;
    `curriculum`: where it stands, empty without one.
    """

    update: int = 0
    best_update: int | None = None
    best_accuracy: float | None = None
    algorithm: Mapping[str, Any] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    curriculum: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """One whole checkpoint on disk."""

    update: int
    path: Path

    def state(self) -> TrainState:
        try:
            return TrainState(**json.loads((self.path / "state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{self.path} is not a checkpoint of a training run: {error}") from None

    def network(self, backbone: Backbone | None = None) -> Network:
        """The network as saved here; `backbone` spares loading it again."""
        from .network import Network

        return Network.load(self.path, backbone=backbone)

    def load_optimizer(self, optimizer: StackedAdam) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            optimizer.load_state_dict(load_file(self.path / "optimizer.safetensors"))
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the optimizer state in {self.path} cannot be used: {error}") from None


def checkpoints(run: Path) -> list[Checkpoint]:
    """The whole checkpoints of a run folder, oldest first."""
    found = [(_NAME.fullmatch(path.name), path) for path in (run / "checkpoints").glob("step_*")]
    return sorted((Checkpoint(int(match[1]), path) for match, path in found if match), key=lambda item: item.update)


def save_checkpoint(run: Path, network: Network, optimizer: StackedAdam, state: TrainState, keep: int) -> Checkpoint:
    """Write the checkpoint of `state.update`, then delete all but the last `keep` and the best one.

    A checkpoint that is already there is left alone: it holds the same state.
    """
    from safetensors.torch import save_file

    path = run / "checkpoints" / f"step_{state.update}"
    if not path.exists():
        with whole_folder(path) as folder:
            network.save(folder)
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in optimizer.state_dict().items()}
            save_file(tensors, folder / "optimizer.safetensors")
            write_json(folder / "state.json", asdict(state))
    for checkpoint in checkpoints(run)[:-keep]:
        if checkpoint.update != state.best_update:
            remove_folder(checkpoint.path)
    return Checkpoint(state.update, path)


def clean(run: Path) -> None:
    """Delete what a kill left half-written."""
    for folder in (run, run / "checkpoints", run / "transcripts"):
        remove_partial(folder)
