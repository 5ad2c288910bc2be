"""What a configuration resolves to: its topology, device and network, and the record by which a run is known again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from neuromas_env.errors import TopologyError, UsageError
from neuromas_env.task import Task, split_size
from neuromas_env.topology import Topology

from .algorithm import Algorithm
from .backbone import Backbone, load_backbone
from .config import TrainConfig
from .credit import Credit
from .network import Network


def make_network(config: TrainConfig, backbone: Backbone | None = None) -> Network:
    """The network that `config` describes, untrained; `backbone` spares loading it."""
    topology = resolve_topology(config.topology)
    backbone = make_backbone(config) if backbone is None else backbone
    if config.parent is not None:
        from .descent import grown_network

        return grown_network(config, backbone)
    return Network.create(
        topology, backbone, config.rank, config.alpha, config.seed, targets=config.targets, variant=config.lora
    )


def make_backbone(config: TrainConfig) -> Backbone:
    return load_backbone(config.backbone, config.dtype, resolve_device(config.device), config.engine)


def resolve_topology(text: str) -> Topology:
    """The topology that `text` spells, or that the .json file `text` holds."""
    if not text.endswith(".json"):
        return Topology.parse(text)
    try:
        return Topology.from_json(json.loads(Path(text).read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError) as error:
        raise TopologyError(f"the topology file {text} cannot be read: {error}") from None


def resolve_device(name: str) -> str:
    """`name`, or the GPU where there is one for "auto". Raises UsageError for a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"the device {name!r} cannot be used: {reason}") from None
    return name


def longest_message(config: TrainConfig, *tasks: Task) -> int:
    """The most tokens that a message of the run may have."""
    longest = max(task.max_message_tokens for task in tasks)
    return longest if config.max_tokens is None else min(longest, config.max_tokens)


def check_split(task: Task) -> None:
    if split_size(task, "train") == 0:
        raise UsageError(
            f"the task {task.id} has no training questions here; give --data a folder that holds them, or divide its "
            "rows with --task-options partition 60-20-20, if it takes that"
            if task.trains_on_data
            else f"the task {task.id} has no training questions; train without --data, or on another task"
        )


def checked(config: TrainConfig, task: Task, algorithm: Algorithm) -> tuple[dict[str, Task], Credit]:
    """The levels of the curriculum and the credit assignment, once all is known to go together.

    Raises UsageError for what does not: a task without training questions, answers that cannot be judged here, an
    algorithm that cannot learn from such batches.
    """
    levels = config.make_levels()
    for each in (task, *levels.values()):
        check_split(each)
        each.check_scoring()
    algorithm.prepare(
        samples=config.samples, epochs=config.epochs, max_tokens=longest_message(config, task, *levels.values())
    )
    return levels, Credit.of(config, algorithm)


def training_splits(task: Task) -> dict[str, str]:
    """The hashes of the splits that a run learns from and is validated on, where these are read from data."""
    if not task.trains_on_data:
        return {}
    return {split: task.split_hash(split) for split in ("train", "validation") if task.size(split)}


def record_of(
    config: TrainConfig,
    task: Task,
    levels: Mapping[str, Task],
    network: Network,
    algorithm: Algorithm,
    credit: Credit,
) -> dict[str, Any]:
    """What config.json holds: resuming asks that `config` and `resolved` are the same.

    `extra_parameters` are those of a critic, say, and no part of the network.
    """
    from .descent import ancestors

    forebears = ancestors(config)
    versions = {}
    for package in ("neuromas", "torch", "transformers", "peft", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "config": config.to_json(),
        "resolved": {
            "task": task.id,
            "splits": training_splits(task),
            "levels": {level: training_splits(task) for level, task in levels.items()},
            "topology": network.topology.to_json(),
            "backbone": network.backbone.weight_hash(),
            "device": network.backbone.model.device.type,
            "algorithm_options": asdict(algorithm.config),
            "credit": asdict(credit),
            **({"parent": forebears[-1]["network"]} if forebears else {}),
        },
        **({"ancestors": forebears} if forebears else {}),
        "trainable_parameters": network.trainable_parameters,
        "extra_parameters": algorithm.extra_parameters,
        "versions": versions,
    }
