"""A network of language models: a topology, a frozen backbone, and one adapter a node. It is a policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuromas_env.errors import CheckpointError
from neuromas_env.node import Message, NodeRequest
from neuromas_env.topology import Topology

from .adapters import StackedAdapters
from .backbone import Backbone, Route, load_backbone, pinned
from .gates import Gates
from .lora import Variant
from .packing import MicroBatch
from .routing import Segment
from .sampling import log_probabilities

FORMAT, VERSION = "neuromas-network", 3  # 2: targets and variant; 3: gates, where a network has any


class Network:
    """Nodes that share a backbone. With `adapters` None every node is the bare backbone (nothing is trainable).

    `temperature` is that of `act`: 0 is greedy. `gates` close what is new in a grown network (growth.py). `engine`
    samples what it says; without another, that of the backbone (engines/).
    """

    def __init__(self, topology: Topology, backbone: Backbone, adapters: StackedAdapters | None) -> None:
        self.topology, self.backbone, self.adapters = topology, backbone, adapters
        self.gates = Gates()
        self.engine = backbone.engine
        self.temperature = 0.0
        self.seed = 0

    @classmethod
    def create(
        cls,
        topology: str | Topology,
        backbone: str | Backbone = "nano",
        rank: int = 8,
        alpha: float = 16.0,
        seed: int = 0,
        targets: Sequence[str] = (),
        variant: Variant = "lora",
    ) -> Network:
        """A network with fresh adapters, which speaks exactly like the backbone; with rank 0, without adapters.

        `rank`, `alpha`, `targets` and `variant` are those of `lora.LoRA`, which raises UsageError for what it lacks, as
        does an engine that speaks through no adapters.
        """
        topology = Topology.parse(topology) if isinstance(topology, str) else topology
        backbone = load_backbone(backbone) if isinstance(backbone, str) else backbone
        adapters = None
        if rank:
            backbone.engine.check("a network with adapters", adapters=True)
            adapters = StackedAdapters(backbone, topology.num_nodes, rank, alpha, seed, targets, variant)
        return cls(topology, backbone, adapters)

    @property
    def trainable_parameters(self) -> int:
        return 0 if self.adapters is None else self.adapters.flat_NP.numel()

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [] if self.adapters is None else [self.adapters.parameter]

    def route(self, segments: Sequence[Segment]) -> Route | None:
        return None if self.adapters is None else self.adapters.route(segments)

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        """Answer requests at `self.temperature`; with a temperature above 0 each call uses the next seed."""
        messages = self.sample(requests, self.temperature, self.seed)
        self.seed += self.temperature > 0
        return messages

    def sample(self, requests: Sequence[NodeRequest], temperature: float = 1.0, seed: int = 0) -> list[Message]:
        """One message for every request, sampled together; the same seed and requests give the same messages."""
        return self.gates.through(requests, lambda asked: self.engine.speak(self, asked, temperature, seed))

    def logprobs(self, batch: MicroBatch, temperature: float = 1.0) -> tuple[Tensor, Tensor, list[int]]:
        """Log-probabilities [M, T] of a micro-batch's completion tokens (0 on padding), with gradients; their mask
        [M, T] (1 on every sampled token, the last and the end token included); the samples' indices [M]."""
        logprobs_K = _chosen(batch, self.distributions(batch, temperature))
        return _padded(batch, logprobs_K), _padded(batch, torch.ones_like(logprobs_K)), batch.samples

    def logprobs_and_entropy(
        self, batch: MicroBatch, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """As `logprobs`, and second the exact entropy [M, T] in nats (0 on padding), with gradients, of the
        distribution at `temperature` from which each completion token was drawn."""
        logprobs_KV = self.distributions(batch, temperature)
        logprobs_K, entropy_K = _chosen(batch, logprobs_KV), -(logprobs_KV.exp() * logprobs_KV).sum(-1)
        mask_MT = _padded(batch, torch.ones_like(logprobs_K))
        return _padded(batch, logprobs_K), _padded(batch, entropy_K), mask_MT, batch.samples

    @torch.no_grad()
    def reference_logprobs(self, batch: MicroBatch, temperature: float = 1.0) -> Tensor:
        """What the bare backbone, without adapters, gives for `logprobs` [M, T]; no gradients."""
        return _padded(batch, _chosen(batch, self.distributions(batch, temperature, adapted=False)))

    def distributions(self, batch: MicroBatch, temperature: float, adapted: bool = True) -> Tensor:
        """Log-probabilities [K, V] over the vocabulary, at each place that predicts a completion token."""
        device = self.backbone.device
        packed, keep_K = batch.packed.to(device), batch.keep_K.to(device)
        route = self.route(packed.segments) if adapted else None
        logits_KV = self.backbone.forward(packed.input_ids_L, packed.position_ids_L, keep_K, packed.layout(), route)
        return log_probabilities(logits_KV, temperature)

    def save(self, folder: str | Path) -> None:
        """Write network.json and one PEFT folder a node."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        adapters = self.adapters
        description: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION if self.gates else 2,
            "topology": self.topology.to_json(),
            "backbone": self.backbone.name,
            "revision": self.backbone.revision,
            "backbone_hash": self.backbone.weight_hash(),
            "rank": 0 if adapters is None else adapters.rank,
            "alpha": 0.0 if adapters is None else adapters.alpha,
            "targets": [] if adapters is None else list(adapters.lora.targets),
            "variant": "lora" if adapters is None else adapters.lora.variant,
        }
        if self.gates:
            description["gates"] = self.gates.to_json()
        for i, node in enumerate(self.topology.nodes if adapters is not None else ()):
            assert adapters is not None
            adapters.save_node(i, folder / "nodes" / node)
        (folder / "network.json").write_text(json.dumps(description, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path, backbone: str | Backbone | None = None) -> Network:
        """Read a saved network. `backbone` overrides the recorded one. Raises CheckpointError when it does not fit."""
        folder = Path(folder)
        try:
            description = json.loads((folder / "network.json").read_text())
            if description["format"] != FORMAT or description["version"] > VERSION:
                raise CheckpointError(f"{folder} is not a network of version {VERSION} or before")
            topology = Topology.from_json(description["topology"])
            name, rank, alpha = description["backbone"], int(description["rank"]), float(description["alpha"])
            revision = description.get("revision") or ""
            gates = Gates.from_json(description.get("gates", {"nodes": {}, "edges": []}), topology.nodes)
            targets, variant = tuple(description.get("targets", ())), description.get("variant", "lora")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"cannot read the network in {folder}: {error}") from error
        if backbone is None:
            backbone = pinned(name, revision)
        network = cls.create(topology, backbone, rank, alpha, 0, targets, variant)
        network.load_adapters(folder)
        network.gates = gates
        return network

    def load_adapters(self, folder: str | Path) -> None:
        """Take over the adapters of a network saved in `folder`. Raises CheckpointError when it has other nodes."""
        if self.adapters is None:
            return
        saved = {path.name for path in (Path(folder) / "nodes").glob("*") if path.is_dir()}
        if saved != set(self.topology.nodes):
            raise CheckpointError(
                f"{folder} holds the nodes {', '.join(sorted(saved)) or 'none'}; topology {self.topology} has "
                f"{', '.join(self.topology.nodes)}"
            )
        for i, node in enumerate(self.topology.nodes):
            self.adapters.load_node(i, Path(folder) / "nodes" / node)


def _chosen(batch: MicroBatch, logprobs_KV: Tensor) -> Tensor:
    """The log-probability [K] of each completion token among those of the vocabulary."""
    return logprobs_KV.gather(1, batch.targets_K.to(logprobs_KV.device)[:, None])[:, 0]


def _padded(batch: MicroBatch, values_K: Tensor) -> Tensor:
    """Values of completion tokens in the rows and columns of a micro-batch's samples [M, T]; 0 on padding."""
    where_K = batch.rows_K.to(values_K.device), batch.columns_K.to(values_K.device)
    return values_K.new_zeros(len(batch.samples), batch.longest).index_put(where_K, values_K)
