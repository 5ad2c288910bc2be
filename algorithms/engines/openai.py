"""The engine `openai:URL`: any server that speaks the OpenAI chat interface, for networks without adapters.

    neuromas evaluate debate gsm8k --data test.jsonl --engine openai:http://localhost:8000/v1 --backbone Qwen/Qwen3-0.6B
    neuromas compare … --engine openai:https://host/v1:concurrency=8:per_minute=500:price_in=0.1:price_out=0.4

The key is read from the variable OPENAI_API_KEY and written nowhere. Tokens are those that the server counts.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import UsageError
from neuromas_env.node import Message, NodeRequest

from ..errors import EngineError
from ..seeds import derive
from .base import Capabilities, Engine
from .choose import check_options
from .patience import Patience

if TYPE_CHECKING:
    from ..network import Network

KEY = "OPENAI_API_KEY"
Asked = tuple[str, int, str, str, float, int]


class ChatServer(Engine):
    """Answers by a server. `price_in` and `price_out` are money per million tokens, for `summary`."""

    name = "openai"
    capabilities = Capabilities()
    one_process = True

    def __init__(
        self, url: str, model: str, patience: Patience | None = None, price_in: float = 0.0, price_out: float = 0.0
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"engine 'openai:URL' needs the address of a server, such as http://host/v1, not {url!r}")
        self.url, self.model = url.rstrip("/"), model
        self.patience = patience or Patience()
        self.price_in, self.price_out = price_in, price_out
        self._unheard: defaultdict[Asked, list[Message]] = defaultdict(list)

    def speak(self, network: Network, requests: Sequence[NodeRequest], temperature: float, seed: int) -> list[Message]:
        """Raises EngineError where the server does not answer, RefusedError where it refuses one of the requests.

        The answers to the others are then kept, and given when they are asked for again: they were paid for.
        """
        import httpx

        key = os.environ.get(KEY)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(base_url=self.url, headers=headers) as client:

            def ask(place: int) -> Message:
                request = requests[place]
                unheard = self._unheard[_asked(request, temperature)]
                return unheard.pop() if unheard else self._ask(client, request, temperature, derive(seed, place))

            answers = self.patience.all(ask, range(len(requests)))
        faults = [answer for answer in answers if isinstance(answer, Exception)]
        if faults:
            for request, answer in zip(requests, answers, strict=True):
                if isinstance(answer, Message):
                    self._unheard[_asked(request, temperature)].append(answer)
            raise next((fault for fault in faults if isinstance(fault, EngineError)), faults[0])
        return answers

    def _ask(self, client: Any, request: NodeRequest, temperature: float, seed: int) -> Message:
        body = {
            "model": self.model,
            "messages": request.chat,
            "max_tokens": request.max_tokens,
            "temperature": temperature,
            "seed": seed % 2**31,
        }
        message = self.patience.post(client, "/chat/completions", body, _read)
        self.patience.answered(message.prompt_tokens, message.sampled_tokens)
        return message

    def summary(self) -> str:
        """What the server was asked since this engine was made, in a line."""
        spent = self.patience.spent
        told = (
            f"{self.url}: {spent.requests:,} requests answered, {spent.retries:,} tries failed; "
            f"{spent.prompt_tokens:,} prompt and {spent.sampled_tokens:,} sampled tokens"
        )
        cost = (spent.prompt_tokens * self.price_in + spent.sampled_tokens * self.price_out) / 1e6
        return f"{told}; cost {cost:.4f}" if self.price_in or self.price_out else told


PATIENCE = ("concurrency", "per_minute", "timeout", "tries", "wait")
PRICES = ("price_in", "price_out")


def make(url: str, model: str, options: dict[str, Any]) -> ChatServer:
    check_options("openai", options, *PATIENCE, *PRICES)
    whole = {name: int(value) for name, value in options.items() if name in ("concurrency", "tries")}
    patience = Patience(**{name: value for name, value in options.items() if name in PATIENCE} | whole)
    return ChatServer(url, model, patience, **{name: value for name, value in options.items() if name in PRICES})


def _asked(request: NodeRequest, temperature: float) -> Asked:
    """What makes a request the same again, in whatever batch it stands."""
    return (request.agent, request.step, request.question_id, request.prompt, temperature, request.max_tokens)


def _read(reply: dict[str, Any]) -> Message:
    """The message in a reply. Raises ValueError where something is missing: tokens that are not told, too."""
    try:
        choice, usage = reply["choices"][0], reply["usage"]
        text, tokens = choice["message"]["content"], (usage["prompt_tokens"], usage["completion_tokens"])
        reason = choice["finish_reason"]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from None
    if not isinstance(text, str | None) or not all(isinstance(count, int) and count >= 0 for count in tokens):
        raise ValueError("its content is no text, or its usage no numbers")
    return Message((text or "").strip(), finish_reason="length" if reason == "length" else "stop", counted=tokens)


@dataclass(frozen=True)
class ServedModel:
    """What stands for a backbone whose weights a server holds: its name, and who speaks for it."""

    name: str
    engine: Engine
    url: str
    revision: str = ""

    @property
    def pinned(self) -> str:
        return self.name

    @property
    def tokenizer(self) -> Any:
        """Enough of one to tell that this is a chat model."""
        return SimpleNamespace(chat_template=True, unk_token_id=None)

    def weight_hash(self) -> str:
        """Of its name and place: a server's weights cannot be seen."""
        return hashlib.sha256(f"served {self.name} {self.url}".encode()).hexdigest()
