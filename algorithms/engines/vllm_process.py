"""The one vLLM of this process.

vLLM keeps its state once a process: a second one breaks the first, and the end of the first breaks the second. So all
engines of a process share the one that runs, as long as it has room for what they need; else it is ended, and one with
more room, or for another model, takes its place.
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import EngineError

if TYPE_CHECKING:
    from ..backbone import Backbone
    from ..network import Network

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the largest ranks that vLLM can be made for
SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process, so that it ends with it
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
"""What vLLM reads from the environment when it is imported, where the user has not set it."""


@dataclass(frozen=True)
class Room:
    """What a vLLM serves: a model (by the hash of its weights) at a dtype, keys and values in so many GiB, so many
    adapters at once, and up to which rank (0: none)."""

    model: str
    dtype: str
    cache: float
    adapters: int
    rank: int

    @classmethod
    def of(cls, network: Network, cache: float) -> Room:
        """What `network` needs. Raises EngineError where vLLM has no such room."""
        backbone, adapters = network.backbone, network.adapters
        model, dtype = backbone.weight_hash(), str(backbone.dtype).removeprefix("torch.")
        if adapters is None:
            return cls(model, dtype, cache, 0, 0)
        rank = next((rank for rank in RANKS if rank >= adapters.rank), 0)
        if not rank:
            raise EngineError(f"engine 'vllm' holds adapters up to rank {RANKS[-1]}, not {adapters.rank}")
        return cls(model, dtype, cache, adapters.num_nodes, rank)

    def joined(self, other: Room) -> Room:
        """Room for both, where they are of one model."""
        if (other.model, other.dtype) != (self.model, self.dtype):
            return self
        largest = (max(getattr(self, name), getattr(other, name)) for name in ("cache", "adapters", "rank"))
        return Room(self.model, self.dtype, *largest)


class RunningVLLM:
    """The vLLM of this process, if one runs."""

    def __init__(self) -> None:
        self.room: Room | None = None
        self.llm: Any = None

    def serving(self, backbone: Backbone, needed: Room) -> Any:
        """A `vllm.LLM` of `backbone` with at least the room `needed`. Raises EngineError where vLLM makes none."""
        room = needed if self.room is None else needed.joined(self.room)
        if room != self.room:
            self.stop()
            self.llm = _start(backbone, room)
            self.room = room
        return self.llm

    def forget(self, number: int) -> None:
        """Have the adapter of this number forgotten, where it is known."""
        if self.llm is not None:
            self.llm.llm_engine.remove_lora(number)

    def stop(self) -> None:
        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
            self.room, self.llm = None, None
            gc.collect()  # its memory is needed


RUNNING = RunningVLLM()


def line(error: Exception) -> str:
    """What an error of vLLM says, in a line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _start(backbone: Backbone, room: Room) -> Any:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    adapters = {"enable_lora": True, "max_loras": room.adapters, "max_lora_rank": room.rank} if room.rank else {}
    try:
        from vllm import LLM
        from vllm.platforms import current_platform

        return LLM(
            model=backbone.source,
            revision=backbone.revision or None,
            dtype=room.dtype,
            skip_tokenizer_init=True,
            logprobs_mode="processed_logprobs",  # at the temperature of sampling; greedy, at 1
            kv_cache_memory_bytes=int(room.cache * 2**30),
            max_model_len=-1,  # as much of the model's length as that memory holds
            enable_prefix_caching=True,
            use_tqdm_on_load=False,
            enforce_eager=bool(current_platform.is_cpu()),  # compiling takes minutes there
            **adapters,
        )
    except Exception as error:  # vLLM raises what its libraries raise
        raise EngineError(f"vllm cannot serve backbone {backbone.name!r}: {line(error)}") from error
