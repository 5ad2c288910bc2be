"""What kind of adapter the nodes of a network carry: rank, scaling, and on which linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from neuromas_env.errors import UsageError

Variant = Literal["lora", "rslora", "dora"]
SUPPORTED = ("lora", "rslora")


@dataclass(frozen=True)
class LoRA:
    """A low-rank adapter y = W x + scaling · B A x (Hu et al., arXiv 2106.09685).

    `targets` are the names of the linear layers that carry one, such as q_proj; empty: all that the backbone has.
    Raises UsageError for a rank below 1 and for a variant that is not supported.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    variant: Variant = "lora"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"an adapter has rank 1 or more, not {self.rank}")
        if self.variant == "dora":
            raise UsageError(
                "adapter variant 'dora' is not supported: its magnitude vector normalises each column of the merged "
                f"weight, which stacked adapters do not compute (accepted: {', '.join(SUPPORTED)})"
            )
        if self.variant not in SUPPORTED:
            raise UsageError(f"unknown adapter variant {self.variant!r} (accepted: {', '.join(SUPPORTED)})")

    @property
    def scaling(self) -> float:
        """alpha / rank; with rsLoRA alpha / √rank, which keeps the size of updates at high ranks (2312.03732)."""
        return self.alpha / (self.rank**0.5 if self.variant == "rslora" else self.rank)

    def carriers(self, layers: Sequence[str]) -> list[str]:
        """Those of a backbone's `layers` (module names) that carry an adapter, in their order.

        Raises UsageError for a target that the backbone does not have.
        """
        present = list(dict.fromkeys(layer.rpartition(".")[2] for layer in layers))
        absent = [name for name in self.targets if name not in present]
        if absent:
            raise UsageError(f"no linear layer {absent[0]!r} to adapt; this backbone has {', '.join(present)}")
        return [layer for layer in layers if not self.targets or layer.rpartition(".")[2] in self.targets]
