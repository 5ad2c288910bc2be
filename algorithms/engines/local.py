"""The engine `transformers`: the loaded backbone itself, with prefixes shared and all adapters in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuromas_env.errors import UsageError

from ..sampling import Sampled, sample
from .base import PromptBatch, TokenEngine
from .choose import check_options

if TYPE_CHECKING:
    from ..network import Network


def make(argument: str, model: str, options: dict[str, Any]) -> TransformersEngine:
    check_options(TransformersEngine.name, options)
    if argument:
        raise UsageError(f"engine {TransformersEngine.name!r} takes nothing after ':', so not {argument!r}")
    return TransformersEngine()


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
