"""A backbone that no single GPU holds: its frozen weights divided over the processes of torchrun (`--shard-backbone`).

Each process keeps a share of every layer's weights; when a layer is its turn, the shares are gathered, used and dropped
again (fully sharded, as in FSDP; Zhao et al., arXiv 2304.11277). So all processes must make the same passes at the same
time: every one of them samples and learns from the whole batch, and what the first one samples is everybody's. It makes
room, not speed. Adapters, optimizer and keys and values are whole in every process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor
from torch import distributed as dist

from neuromas_env.errors import UsageError

from .backbone import Backbone, load_backbone

if TYPE_CHECKING:
    from .algorithm import Algorithm
    from .config import TrainConfig
    from .distributed import Team


def sharded_backbone(config: TrainConfig, team: Team, device: str) -> Backbone:
    """The backbone of `config`, read into main memory and divided over the team's devices.

    Raises UsageError for a team of one, and for an engine that holds the backbone elsewhere.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if team.size == 1:
        raise UsageError("--shard-backbone divides the backbone over several processes: start them with torchrun")
    backbone = load_backbone(config.backbone, config.dtype, "cpu", config.engine)
    if backbone.engine.name != "transformers":
        raise UsageError(f"--shard-backbone needs the engine 'transformers', not {backbone.engine.name!r}")
    weights = backbone.weight_hash()  # while they are whole
    mesh = init_device_mesh(device, (team.size,))
    for layer in backbone.model.get_decoder().layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(backbone.model, mesh=mesh)
    divided = replace(backbone, lockstep=from_first)
    vars(divided)["_weight_hash"] = weights
    return divided


def from_first(tensor: Tensor) -> None:
    """Make `tensor` what it is in the first process."""
    dist.broadcast(tensor, 0)


def check_shardable(algorithm: Algorithm) -> None:
    """Raise UsageError for an algorithm that runs a part of the backbone alone."""
    if algorithm.extra_parameters:
        raise UsageError(f"--shard-backbone: the critic of {algorithm.name} reads a part of what is divided")
