"""The weights that a submission claims: the backbone by its hash, and adapters from files with the listed hashes.

Adapters are looked for in a folder that the one who checks names; nothing is fetched. Every file is copied first and
hashed then, and only what has its listed hash is read: safetensors and JSON, which run no code.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import NeuromasError
from neuromas_env.topology import Topology

from .. import findings as codes
from ..reading import file_hash, shown, strict_json
from ..submission import Artifact, Artifacts, Submission
from .report import Report

if TYPE_CHECKING:
    from algorithms.backbone import Backbone
    from algorithms.network import Network


@dataclass(frozen=True)
class Weights:
    """The backbone, and who speaks for each seed. A frozen system has one network of one node, for all nodes."""

    backbone: Backbone
    networks: Mapping[int, Network]
    frozen: bool


class NotAtHandError(Exception):
    """Why weights cannot be checked here; no fault of the submission."""


def claimed_weights(
    card: Submission, topology: Topology, artifacts: Artifacts, folder: Path | None, report: Report
) -> Weights | None:
    """The weights, or None, having said why: faults, or in `report.notes["T3"]` that they are not at hand."""
    from algorithms.backbone import load_backbone
    from algorithms.network import Network

    name = card.backbone.name + (f"@{card.backbone.revision}" if card.backbone.revision else "")
    try:
        backbone = load_backbone(name)
        if backbone.weight_hash() != card.backbone.weights_sha256:
            report.fault(codes.WEIGHTS, f"{shown(name)} has other weights than the card says")
            return None
        if not card.parameters.total:
            bare = Network.create("1", backbone=backbone, rank=0)
            return Weights(backbone, dict.fromkeys(card.seeds, bare), frozen=True)
        networks = {seed: _network(seed, topology, artifacts, folder, backbone, report) for seed in card.seeds}
    except (NotAtHandError, NeuromasError) as error:
        report.notes["T3"] = str(error)[:500]
        return None
    for seed, network in networks.items():
        if network is not None and network.trainable_parameters != card.parameters.total:
            told = f"seed {seed}: {network.trainable_parameters:,} trainable parameters, {card.parameters.total:,} told"
            report.fault(codes.PARAMETERS, told)
            return None
    found = {seed: network for seed, network in networks.items() if network is not None}
    return Weights(backbone, found, frozen=False) if len(found) == len(card.seeds) else None


def _network(
    seed: int, topology: Topology, artifacts: Artifacts, folder: Path | None, backbone: Backbone, report: Report
) -> Network | None:
    """The network of one seed: of the runs with this seed the one whose topology is the card's."""
    from algorithms.checkpoint import CheckpointError
    from algorithms.network import Network

    if folder is None:
        raise NotAtHandError("the adapters are not at hand: --artifacts names the folder in which the runs lie")
    runs: dict[str, list[Artifact]] = {}
    for file in artifacts.files:
        runs.setdefault(file.name.partition("/")[0], []).append(file)
    work = Path(tempfile.mkdtemp(prefix="neuromas-weights-"))
    try:
        for run, files in runs.items():
            config = next((file for file in files if file.name == f"{run}/config.json"), None)
            if config is None or _seed(_copied(config, folder, work, report)) != seed:
                continue
            described = next((file for file in files if file.role == "network"), None)
            if described is None or (place := _copied(described, folder, work, report)) is None:
                continue
            if Topology.from_json(strict_json(place.read_bytes())["topology"]).to_json() != topology.to_json():
                continue
            inside = [file for file in files if file.name.startswith(described.name.rpartition("/")[0] + "/")]
            if any(_copied(file, folder, work, report) is None for file in inside):
                return None
            return Network.load(place.parent, backbone)
    except (CheckpointError, ValueError, KeyError, TypeError, OSError) as error:
        report.fault(codes.WEIGHTS, f"the adapters of seed {seed} cannot be read: {shown(str(error))}")
        return None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    raise NotAtHandError(f"artifacts.json lists no run of seed {seed} with the card's topology")


def _copied(file: Artifact, folder: Path, work: Path, report: Report) -> Path | None:
    """A copy of one listed file with its listed hash; None where it has another one."""
    source, target = folder / file.name, work / file.name
    if not source.is_file():
        raise NotAtHandError(f"{file.name} is not in {folder}")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    if file_hash(target) != file.sha256:
        report.fault(codes.WEIGHTS, f"{file.name} has another hash than artifacts.json says")
        return None
    return target


def _seed(path: Path | None) -> Any:
    return None if path is None else strict_json(path.read_bytes())["config"]["seed"]
