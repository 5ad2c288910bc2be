"""The adapters of all nodes of a network, stacked on one frozen backbone, and their folders on disk.

A node is a LoRA adapter on every target linear layer: y = W x + scaling · B A x (`lora.py`). All nodes lie in one
matrix `flat_NP` (a row a node), of which every A and B is a view, and their gradients in `grad_NP`: clipping, optimizer
steps and saving are operations on rows. Linear layers that read the same input (query, key and value; gate and up) form
a group whose A matrices are adjacent, so that one product serves them all.

Dimensions: N nodes, P parameters a node, R rank, k layers of a group, L tokens of a flat batch (sorted by node).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from neuromas_env.errors import CheckpointError

from .backbone import TARGETS, Backbone
from .lora import LoRA, Variant
from .routing import Group, Segment, StackedRoute

MERGE_LIMIT = 256 * 2**20  # bytes of merged weights up to which adapters are merged into copies of the backbone's
# Options of peft that change what an adapter computes in ways that stacked adapters do not.
FOREIGN = (
    *("use_dora", "bias", "lora_bias", "rank_pattern", "alpha_pattern", "layers_to_transform", "layer_replication"),
    *("modules_to_save", "trainable_token_indices", "target_parameters", "fan_in_fan_out", "alora_invocation_tokens"),
    *("use_qalora", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config", "velora_config"),
)


@dataclass(frozen=True)
class Site:
    """One adapted linear layer: its module name, and where its A and B stand in a node's row."""

    name: str
    d_in: int
    d_out: int
    a: int
    b: int


class StackedAdapters:
    """N LoRA adapters of one kind (`lora.LoRA`) on one backbone.

    `parameter` is the leaf of the autograd graph: it shares the storage of `flat_NP`, and its gradient is `grad_NP`,
    which backward passes add to directly. Change values in place (`flat_NP`), never by replacing tensors.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_nodes: int,
        rank: int = 8,
        alpha: float = 16.0,
        seed: int = 0,
        targets: Sequence[str] = (),
        variant: Variant = "lora",
    ) -> None:
        if num_nodes < 1:
            raise ValueError(f"adapters need at least one node, not {num_nodes}")
        self.lora = LoRA(rank, float(alpha), tuple(targets), variant)
        self.backbone, self.num_nodes, self.rank, self.alpha = backbone, num_nodes, rank, self.lora.alpha
        self.scaling = self.lora.scaling
        self.sites: dict[str, Site] = {}
        layout: list[list[Site]] = []
        end = 0
        for names in _grouped(self.lora.carriers(list(backbone.targets))):
            group = []
            a, b = end, end + sum(rank * backbone.targets[name].in_features for name in names)
            for name in names:
                linear = backbone.targets[name]
                group.append(Site(name, linear.in_features, linear.out_features, a, b))
                a, b = a + rank * linear.in_features, b + rank * linear.out_features
            end = b
            layout.append(group)
            self.sites.update((site.name, site) for site in group)
        dtype = torch.promote_types(backbone.dtype, torch.float32)  # adapters of a half-precision backbone are not
        self.flat_NP = torch.zeros(num_nodes, end, dtype=dtype, device=backbone.device)
        self.grad_NP = torch.zeros_like(self.flat_NP)
        self.parameter = nn.Parameter(self.flat_NP)
        self.parameter.grad = self.grad_NP
        self.groups: list[Group] = []
        for group in layout:
            linears = tuple(backbone.targets[site.name] for site in group)
            values, grads = self._views(self.flat_NP, group), self._views(self.grad_NP, group)
            self.groups.append(Group(linears, rank, values, grads))
        self._where = {name: (group, i) for group in self.groups for i, name in enumerate(group.names)}
        for node in range(num_nodes):
            self.initialise(node, seed)
        merged = sum(self._weights(group) for group in self.groups) * num_nodes
        self.merge = backbone.dtype == dtype and merged <= MERGE_LIMIT and backbone.lockstep is None
        self._merged_version = -1

    @staticmethod
    def _weights(group: Group) -> int:
        return sum(linear.weight.numel() * linear.weight.element_size() for linear in group.linears)

    def _views(self, flat_NP: Tensor, group: list[Site]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """A [N, k·R, d_in] of a group and B [N, d_out, R] of each of its layers, as views on `flat_NP`."""
        N, R, first = self.num_nodes, self.rank, group[0]
        a = flat_NP[:, first.a : first.a + len(group) * R * first.d_in].view(N, len(group) * R, first.d_in)
        return a, tuple(flat_NP[:, s.b : s.b + s.d_out * R].view(N, s.d_out, R) for s in group)

    @property
    def parameters_per_node(self) -> int:
        return self.flat_NP.shape[1]

    def initialise(self, node: int, seed: int = 0) -> None:
        """Start `node` afresh, as peft does: A uniform (Kaiming), B zero. Seeded by (seed, node)."""
        generator = torch.Generator().manual_seed((seed * 1_000_003 + node * 7919 + 12345) % 2**63)
        row = torch.zeros(self.parameters_per_node, dtype=self.flat_NP.dtype)
        for site in self.sites.values():
            bound = 1 / math.sqrt(site.d_in)  # kaiming_uniform_ with a = sqrt(5)
            count = self.rank * site.d_in
            row[site.a : site.a + count] = (torch.rand(count, generator=generator) * 2 - 1) * bound
        with torch.no_grad():
            self.flat_NP[node] = row.to(self.flat_NP.device)

    def zero_grad(self) -> None:
        """Zero all gradients in place; `grad_NP` stays the buffer that backward passes add to."""
        self.grad_NP.zero_()

    def route(self, segments: Sequence[Segment]) -> StackedRoute:
        """The route of one forward pass over a flat batch whose tokens [start, stop) belong to one node each."""
        if self.merge and self._merged_version != self.flat_NP._version:
            for group in self.groups:
                group.update_merged(self.scaling)
            self._merged_version = self.flat_NP._version
        return StackedRoute(self._where, segments, self.scaling, self.merge, self.parameter)

    def node_state(self, node: int) -> dict[str, Tensor]:
        """The tensors of one node under the names of peft, on the CPU."""
        row, state = self.flat_NP[node].detach().cpu(), {}
        for site in self.sites.values():
            prefix = f"base_model.model.{site.name}"
            a = row[site.a : site.a + self.rank * site.d_in].view(self.rank, site.d_in)
            b = row[site.b : site.b + self.rank * site.d_out].view(site.d_out, self.rank)
            state[f"{prefix}.lora_A.weight"], state[f"{prefix}.lora_B.weight"] = a.clone(), b.clone()
        return state

    def load_node_state(self, node: int, state: dict[str, Tensor], where: str = "the adapter") -> None:
        """Fill one node. Raises CheckpointError when names or shapes are not those of this backbone and rank."""
        expected = self.node_state(node)
        wrong = sorted(set(expected) ^ set(state)) or sorted(
            name for name, tensor in expected.items() if state[name].shape != tensor.shape
        )
        if wrong:
            raise CheckpointError(
                f"{where} does not fit this backbone at rank {self.rank}: {len(wrong)} tensors differ, first {wrong[0]}"
            )
        row = torch.empty(self.parameters_per_node, dtype=self.flat_NP.dtype)
        for site in self.sites.values():
            prefix = f"base_model.model.{site.name}"
            row[site.a : site.a + self.rank * site.d_in] = state[f"{prefix}.lora_A.weight"].reshape(-1)
            row[site.b : site.b + self.rank * site.d_out] = state[f"{prefix}.lora_B.weight"].reshape(-1)
        with torch.no_grad():
            self.flat_NP[node] = row.to(self.flat_NP.device)

    def node_hash(self, node: int) -> str:
        """A hash of what one node computes: equal for equal numbers in adapters of one kind."""
        numbers = self.flat_NP[node].detach().cpu().numpy().tobytes()
        return hashlib.blake2b(repr(self.lora).encode() + numbers, digest_size=16).hexdigest()

    def save_node(self, node: int, folder: str | Path) -> None:
        """Write `folder` as an ordinary PEFT adapter."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.node_state(node), folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(self._peft_config(), indent=2, sort_keys=True) + "\n")

    def load_node(self, node: int, folder: str | Path) -> None:
        """Read one node from a PEFT adapter folder. Raises CheckpointError when it does not fit."""
        path = Path(folder) / "adapter_model.safetensors"
        try:
            config = json.loads((Path(folder) / "adapter_config.json").read_text())
            state = load_file(path)
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(f"cannot read the adapter in {folder}: {error}") from error
        if config.get("r") != self.rank or config.get("lora_alpha") != self.alpha:
            raise CheckpointError(
                f"{folder} holds an adapter of rank {config.get('r')} and alpha {config.get('lora_alpha')}; "
                f"expected rank {self.rank} and alpha {self.alpha:g}"
            )
        rslora = bool(config.get("use_rslora"))
        if rslora != (self.lora.variant == "rslora"):
            raise CheckpointError(
                f"{folder} holds an adapter with use_rslora {rslora}; expected variant {self.lora.variant}"
            )
        for option in FOREIGN:
            value = config.get(option)
            if value is not False and value not in (None, "none", [], {}):
                raise CheckpointError(f"{folder} holds an adapter with {option} {value!r}, which is not supported")
        self.load_node_state(node, state, str(path))

    def _peft_config(self) -> dict[str, Any]:
        present = {name.rsplit(".", 1)[-1] for name in self.sites}
        alpha = int(self.alpha) if self.alpha.is_integer() else self.alpha
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.backbone.name,
            "revision": self.backbone.revision or None,
            "r": self.rank,
            "lora_alpha": alpha,
            "use_rslora": self.lora.variant == "rslora",
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": [name for name in TARGETS if name in present],
            "inference_mode": True,
        }


def _grouped(names: list[str]) -> list[list[str]]:
    """Target layers of one module that read the same input, in the order of the model."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        parent, _, leaf = name.rpartition(".")
        kind = "qkv" if leaf in ("q_proj", "k_proj", "v_proj") else "up" if leaf in ("gate_proj", "up_proj") else leaf
        groups.setdefault((parent, kind), []).append(name)
    return list(groups.values())
