"""vLLM without a model, in its two shapes: the module `vllm`, and its server. What it says depends on the prompt, the
seed and the content of the adapter; as vLLM does, it reads an adapter once for each number that it is given, and keeps
what it computed for one under the adapter's name and path."""

from __future__ import annotations

import json
import random
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
NO_ADAPTER = "none"


def say(prompt, content, seed, temperature, max_tokens, stop_token_ids):
    """(token ids, log-probabilities, finish reason): every fifth token, about, is an end token."""
    rng = random.Random(f"{list(prompt)} {content} {temperature} {seed if temperature else 0}")
    token_ids: list[int] = []
    while len(token_ids) < max_tokens and not set(stop_token_ids) & set(token_ids[-1:]):
        token_ids.append(rng.choice(stop_token_ids) if rng.random() < 0.2 else rng.randrange(3, 200))
    ended = token_ids[-1] in stop_token_ids
    return token_ids, [-rng.random() for _ in token_ids], "stop" if ended else "length"


def content_of(path: str | Path) -> str:
    """What stands in an adapter's folder. Raises OSError for what is no adapter."""
    json.loads(Path(path, "adapter_config.json").read_text())
    return str(hash(Path(path, "adapter_model.safetensors").read_bytes()))


class Adapters:
    """What is known of adapters; `known` are the contents by number, `computed` by name and path."""

    def __init__(self):
        self.known: dict[int, str] = {}
        self.computed: dict[tuple[str, str], str] = {}

    def content(self, request) -> str:
        if request is None:
            return NO_ADAPTER
        if request.lora_int_id not in self.known:
            self.known[request.lora_int_id] = content_of(request.lora_path)
        return self.computed.setdefault((request.lora_name, request.lora_path), self.known[request.lora_int_id])


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


@dataclass
class SamplingParams:
    temperature: float
    max_tokens: int
    seed: int
    logprobs: int
    stop_token_ids: list[int]
    detokenize: bool


class LLM:
    """`made` are all of them, the latest last."""

    made: list[LLM]
    broken_off = False

    def __init__(self, model: str, enable_lora=False, max_loras=1, max_lora_rank=16, **options):
        if not Path(model, "config.json").exists():
            raise OSError(f"{model} is no model")
        assert max_lora_rank in RANKS
        self.model, self.options = model, options
        self.max_loras, self.max_lora_rank = max_loras if enable_lora else 0, max_lora_rank
        self.adapters = Adapters()
        self.asked: list[tuple[list[int], SamplingParams, LoRARequest | None]] = []
        self.ended = False
        self.llm_engine = SimpleNamespace(
            remove_lora=lambda number: self.adapters.known.pop(number, None) is not None,
            engine_core=SimpleNamespace(shutdown=self._shutdown),
        )
        assert all(other.ended for other in self.made), "vLLM keeps its state once a process"
        self.made.append(self)

    def _shutdown(self):
        self.ended = True

    def generate(self, prompts, sampling_params, *, use_tqdm, lora_request):
        assert not self.ended
        assert len(prompts) == len(sampling_params) == len(lora_request)
        return [self._one(*row) for row in zip(prompts, sampling_params, lora_request, strict=True)]

    def _one(self, prompt, settings, request):
        ids = prompt["prompt_token_ids"]
        self.asked.append((ids, settings, request))
        token_ids, logprobs, reason = say(
            ids,
            self.adapters.content(request),
            settings.seed,
            settings.temperature,
            settings.max_tokens,
            settings.stop_token_ids,
        )
        told = [{i: SimpleNamespace(logprob=value)} for i, value in zip(token_ids, logprobs, strict=True)]
        said = SimpleNamespace(
            token_ids=token_ids, logprobs=told, finish_reason="abort" if LLM.broken_off else reason, stop_reason=None
        )
        return SimpleNamespace(outputs=[said])


def install(monkeypatch) -> list[LLM]:
    """Have `import vllm` find this. Gives the list that holds each LLM that is made."""
    LLM.made = []
    parts: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": LLM, "SamplingParams": SamplingParams},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
        "vllm.platforms": {"current_platform": SimpleNamespace(is_cpu=lambda: True)},
    }
    for name, members in parts.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return LLM.made


class Server:
    """A vLLM server on this machine that serves the model `name`; `log` are the paths that were asked, with bodies.

    `raw`: it tells log-probabilities before anything is done to them; `forgetful`: its first reply to each new adapter
    is lost; `updating`: it may be told of adapters.
    """

    def __init__(self, name="nano", raw=False, updating=True, forgetful=False):
        self.name, self.raw, self.updating, self.forgetful = name, raw, updating, forgetful
        self.adapters, self.names = Adapters(), dict[str, LoRARequest]()
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                rows = [{"id": server.name, "root": f"/models/{server.name}", "parent": None}]
                rows += [{"id": name, "root": "", "parent": server.name} for name in server.names]
                self.answer(200, {"object": "list", "data": rows})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    server.log.append((self.path, body))
                    self.answer(*server.reply(self.path, body))

            def answer(self, status, found):
                data = found.encode() if isinstance(found, str) else json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def reply(self, path, body):
        if path == "/v1/completions":
            return self.complete(body)
        if not self.updating or path not in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            return 404, {"detail": "Not Found"}
        name = body["lora_name"]
        if path == "/v1/unload_lora_adapter":
            if self.names.pop(name, None) is None:
                return error(404, f"The lora adapter '{name}' cannot be found.")
            return 200, f"Success: LoRA adapter '{name}' removed successfully."
        if name in self.names:
            return error(400, f"The lora adapter '{name}' has already been loaded.")
        request = LoRARequest(name, len(self.adapters.known) + 1, body["lora_path"])
        try:
            self.adapters.content(request)
        except OSError:
            return error(404, f"Loading lora {name} failed: No adapter found for <path>")
        self.names[name] = request
        return (503, "") if self.forgetful else (200, f"Success: LoRA adapter '{name}' added successfully.")

    def complete(self, body):
        if body["model"] != self.name and body["model"] not in self.names:
            return error(404, f"The model `{body['model']}` does not exist.")
        if not 0 <= body["temperature"] <= 2:
            return error(400, f"temperature must be in [0, 2], got {body['temperature']}.")
        stop = body.get("stop_token_ids", [2])
        token_ids, logprobs, reason = say(
            body["prompt"],
            self.adapters.content(self.names.get(body["model"])),
            body.get("seed"),
            body["temperature"],
            body["max_tokens"],
            stop,
        )
        if "allowed_token_ids" in body:
            token_ids, logprobs = body["allowed_token_ids"], [-3.0 if self.raw else 0.0]
        choice = {"index": 0, "text": "", "finish_reason": reason, "logprobs": {"token_logprobs": logprobs}}
        choice |= {"token_ids": token_ids} if body.get("return_token_ids") else {}
        return 200, {"object": "text_completion", "choices": [choice], "usage": {}}


def error(status, message):
    return status, {"error": {"message": message, "type": "Error", "param": None, "code": status}}
