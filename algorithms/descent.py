"""Runs that go on from another run's network: what they take over, and the ancestors that they name.

A run with a `parent` starts from the best network of that run, grown to its own topology (growth.py), and from the
optimizer state of the nodes in it. Its record lists all ancestors, the oldest first, with the tokens that they cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import UsageError

from .config import TrainConfig
from .growth import carried, check, grow
from .run import Run, is_run

if TYPE_CHECKING:
    from .backbone import Backbone
    from .network import Network
    from .optimizer import StackedAdam

KEPT = ("rank", "alpha", "targets", "lora")
"""What a grown network has of its parent, because its adapters are carried over."""


def parent_run(config: TrainConfig) -> Run:
    """The run that `config` goes on from. Raises UsageError where it has other adapters than are asked for."""
    assert config.parent is not None
    run = Run(Path(config.parent))
    for name in KEPT:
        here, there = getattr(config, name), getattr(run.config, name)
        if here != there:
            raise UsageError(f"{name} cannot be {here}: the parent {run.folder} has {there}, and its adapters are kept")
    return run


def grown_network(config: TrainConfig, backbone: Backbone) -> Network:
    """The parent's best network, grown to the topology of `config`. Raises UsageError where it is on other weights."""
    from .resolve import resolve_topology

    check(config.init, config.opening)
    run = parent_run(config)
    if run.record["resolved"]["backbone"] != backbone.weight_hash():
        raise UsageError(f"the parent {run.folder} was trained on other weights than {backbone.name}")
    network = run.network("best", backbone)
    return grow(
        network, resolve_topology(config.topology), init=config.init, opening=config.opening, seed=config.seed
    )  # fmt: skip


def carry_optimizer(config: TrainConfig, optimizer: StackedAdam) -> None:
    """Take over the optimizer state of the parent's nodes; new nodes start as at their first step."""
    state = parent_run(config).checkpoint("best").optimizer_state()
    optimizer.load_state_dict(carried(state, optimizer.adapters.num_nodes))


def ancestors(config: TrainConfig) -> list[dict[str, Any]]:
    """The runs that a run of `config` descends from, oldest first: folder, topology, updates and what they spent.

    `update` is that of the network that was grown; `spent` and `seconds` are those of all updates, also after it.
    """
    if config.parent is None:
        return []
    if is_run(config.folder) and Run(config.folder).config.parent == config.parent:
        found: list[dict[str, Any]] = Run(config.folder).record.get("ancestors", [])
        return found  # as it was when the run began: the parent may have gone on, or be gone
    run = parent_run(config)
    checkpoint = run.checkpoint("best")
    own = {
        "folder": run.folder.name,
        "topology": run.config.topology,
        "update": checkpoint.update,
        "network": checkpoint.fingerprint,
        "spent": dict(run.checkpoint("last").state().spent),
        "seconds": round(run.seconds, 1),
    }
    return [*run.record.get("ancestors", []), own]


def spent_by_ancestors(record: Mapping[str, Any], what: str = "sampled_tokens") -> int:
    """What all ancestors of a run spent together: `calls`, `prompt_tokens` or `sampled_tokens`."""
    return sum(ancestor["spent"].get(what, 0) for ancestor in record.get("ancestors", []))
