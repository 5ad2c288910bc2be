"""The engine `vllm:URL`: a vLLM server in an environment of its own, told of every adapter as it changes.

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve MODEL --enable-lora --max-loras 3 --max-lora-rank 8 \
        --dtype float32 --logprobs-mode processed_logprobs
    neuromas train chain --backbone MODEL --engine vllm:http://localhost:8000

The server reads adapters from the folders that this process writes where temporary files go (TMPDIR), so both see one
file system. A key is read from the variable OPENAI_API_KEY.
"""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import BackboneError, UsageError

from ..errors import EngineError
from ..sampling import Sampled, check_lengths
from .adapter_versions import AdapterVersions, Version
from .base import PromptBatch, TokenEngine
from .choose import check_options
from .openai import KEY
from .patience import Patience, RefusedError
from .vllm import sampled

if TYPE_CHECKING:
    from ..backbone import Backbone
    from ..network import Network

CONCURRENCY = 64  # the server batches what it is asked at once
PATIENCE = ("concurrency", "timeout", "tries", "wait")
NEEDS = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, --enable-lora, --max-lora-rank as large as the adapters' rank"
WHOLE = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""The whole distribution: what is left out, the server fills in from the model's generation config."""


def make(url: str, model: str, options: dict[str, Any]) -> VLLMServer:
    check_options(VLLMServer.name, options, *PATIENCE)
    whole = {name: int(value) for name, value in options.items() if name in ("concurrency", "tries")}
    return VLLMServer(url, Patience(**{"concurrency": CONCURRENCY, **options, **whole}))


class VLLMServer(TokenEngine):
    """Samples by the vLLM server at `url`."""

    name = "vllm"

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        import httpx

        if not url.startswith(("http://", "https://")):
            raise UsageError(f"engine 'vllm:URL' needs the address of a server, such as http://host:8000, not {url!r}")
        self.url = url.rstrip("/").removesuffix("/v1")
        self.patience = patience or Patience(concurrency=CONCURRENCY)
        key = os.environ.get(KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=self.patience.timeout)
        self._model = ""  # how the server calls the backbone, once it was asked
        self._versions = AdapterVersions(self._load, self._unload)
        atexit.register(self._versions.clear)

    def sample(self, network: Network, batch: PromptBatch) -> list[Sampled]:
        """Raises EngineError where the server does not answer or was not started for this, BackboneError for a prompt
        that it refuses."""
        if not len(batch):
            return []
        backbone = network.backbone
        check_lengths(backbone, batch.prompts, batch.max_tokens)
        model = self._model = self._model or self._checked(backbone)
        versions, seeds = self._versions.of(network, batch.nodes), batch.seeds

        def ask(place: int) -> Sampled:
            version = versions.get(batch.nodes[place])
            return self._complete(
                model if version is None else version.name,
                prompt=batch.prompts[place],
                max_tokens=batch.max_tokens[place],
                temperature=batch.temperature,
                seed=seeds[place],
                stop_token_ids=list(backbone.eos_ids),
            )

        answers = self.patience.all(ask, range(len(batch)))
        faults = [answer for answer in answers if isinstance(answer, Exception)]
        if faults:
            broken = next((fault for fault in faults if isinstance(fault, EngineError)), None)
            raise broken or BackboneError(f"{self.url} refuses a request: {faults[0]}")
        return answers

    def _complete(self, model: str, **asked: Any) -> Sampled:
        body = {"model": model, "logprobs": 0, "return_token_ids": True, **WHOLE, **asked}
        return self.patience.post(self._client, "/v1/completions", body, _read)

    def _checked(self, backbone: Backbone) -> str:
        """The server's name of its model. Raises EngineError where it is another one than the backbone, or tells other
        log-probabilities than those of the distribution it draws from."""
        models = self._models()
        known = {backbone.name, backbone.source}
        name = next((model["id"] for model in models if known & {model["id"], model.get("root")}), None)
        if name is None:
            served = ", ".join(f"{model['id']!r}" for model in models)
            raise EngineError(
                f"the server at {self.url} serves {served}, not the backbone {backbone.name!r}; where it is the same "
                f"model, start it with --served-model-name {backbone.name}"
            )
        # The only token that is allowed is certain, where log-probabilities are of what is drawn from.
        only = [backbone.eos_ids[0]]
        try:
            drawn = self._complete(name, prompt=only, max_tokens=1, temperature=1.0, allowed_token_ids=only)
        except RefusedError as error:
            raise EngineError(f"the server at {self.url} takes no token ids: {error}") from None
        if drawn.logprobs[0] < -1e-3:
            raise EngineError(
                f"the server at {self.url} tells log-probabilities before temperature; start it with "
                "--logprobs-mode processed_logprobs"
            )
        return name

    def _models(self) -> list[dict[str, Any]]:
        """The server's models that are no adapters."""
        import httpx

        try:
            reply = self._client.get("/v1/models")
            return [model for model in reply.raise_for_status().json()["data"] if model.get("parent") is None]
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(f"no vLLM server answers at {self.url}/v1/models: {error}") from None

    def _load(self, version: Version) -> None:
        body = {"lora_name": version.name, "lora_path": str(version.path)}
        try:
            self.patience.tell(self._client, "/v1/load_lora_adapter", body, bytes)
        except (RefusedError, EngineError) as error:
            if "already been loaded" not in str(error):  # by a try whose reply was lost
                raise EngineError(
                    f"{self.url} does not take the adapter in {version.path}, which it must be able to read; it needs "
                    f"{NEEDS}: {error}"
                ) from None

    def _unload(self, version: Version) -> None:
        import httpx

        with suppress(httpx.HTTPError):  # a server that has gone has forgotten it
            self._client.post("/v1/unload_lora_adapter", json={"lora_name": version.name}, timeout=10.0)


def _read(reply: dict[str, Any]) -> Sampled:
    """Raises ValueError where something is missing."""
    try:
        choice = reply["choices"][0]
        reason = choice["finish_reason"]
        pairs = list(zip(choice["token_ids"], choice["logprobs"]["token_logprobs"], strict=True))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"no token ids with their log-probabilities: {error!r}") from None
    return sampled([int(token) for token, _ in pairs], [float(logprob) for _, logprob in pairs], reason)
