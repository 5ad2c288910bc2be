"""The engine `transformers`: the loaded backbone itself, with prefixes shared and all adapters in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..sampling import Sampled, sample
from .base import PromptBatch, TokenEngine

if TYPE_CHECKING:
    from ..network import Network


class TransformersEngine(TokenEngine):
    name = "transformers"

    def sample(self, network: Network, batch: PromptBatch) -> list[Sampled]:
        return sample(
            network.backbone,
            network.route,
            batch.nodes,
            batch.prompts,
            batch.groups,
            batch.max_tokens,
            batch.temperature,
            batch.seed,
            rows=batch.rows,
            total=batch.total,
            longest=batch.longest,
        )
