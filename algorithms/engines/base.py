"""What an engine is: it answers the requests of a network, and says what it can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar

from neuromas_env.errors import UsageError
from neuromas_env.node import Message, NodeRequest

from ..seeds import derive

if TYPE_CHECKING:
    from ..network import Network
    from ..sampling import Sampled


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do: speak through each node's adapter, give the log-probability of each sampled token at the
    temperature it was drawn at, and give the ids of prompt and sampled tokens."""

    adapters: bool = False
    logprobs: bool = False
    token_ids: bool = False

    def check(self, engine: str, purpose: str, **needed: bool) -> None:
        """Raise UsageError naming what `purpose` needs and this engine has not."""
        words = {"adapters": "adapters", "logprobs": "log-probabilities", "token_ids": "token ids"}
        missing = [words[each.name] for each in fields(self) if needed.get(each.name) and not getattr(self, each.name)]
        if missing:
            able = "transformers, vllm"
            raise UsageError(f"{purpose} needs {', '.join(missing)}, which the engine {engine!r} has not (use {able})")


@dataclass(frozen=True)
class PromptBatch:
    """Prompts that are sampled together.

    Rows of equal node and group (a question) may share the computation of their common beginning. A part of a larger
    batch (see `part`) draws for its `rows` what the whole of `total` rows would draw for them, so that a batch says
    the same however it is divided; `longest` is the largest of the whole batch's `max_tokens`.
    """

    nodes: Sequence[int]
    prompts: Sequence[list[int]]
    groups: Sequence[Hashable]
    max_tokens: Sequence[int]
    temperature: float
    seed: int
    rows: Sequence[int] | None = None
    total: int = 0
    longest: int = 0

    def __len__(self) -> int:
        return len(self.prompts)

    def part(self, places: Sequence[int]) -> PromptBatch:
        """The prompts at `places` alone."""
        rows = range(len(self)) if self.rows is None else self.rows
        return replace(
            self,
            nodes=[self.nodes[place] for place in places],
            prompts=[self.prompts[place] for place in places],
            groups=[self.groups[place] for place in places],
            max_tokens=[self.max_tokens[place] for place in places],
            rows=[rows[place] for place in places],
            total=self.total or len(self),
            longest=self.longest or max(self.max_tokens),
        )

    @property
    def seeds(self) -> list[int]:
        """A seed for each prompt, the same however the batch is divided."""
        return [derive(self.seed, row) for row in (range(len(self)) if self.rows is None else self.rows)]

    def shares(self, count: int) -> list[list[int]]:
        """The places of the batch divided over `count` workers: whole groups, dealt out in the order they appear."""
        owner = {group: number % count for number, group in enumerate(dict.fromkeys(self.groups))}
        shares: list[list[int]] = [[] for _ in range(count)]
        for place, group in enumerate(self.groups):
            shares[owner[group]].append(place)
        return shares


class Engine(ABC):
    """Answers requests for a network, whose gates have already been passed."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    one_process: ClassVar[bool] = False
    """Whether only one process at a time may use it: a rate limit is kept by one, a GPU's memory is taken by one."""

    @abstractmethod
    def speak(self, network: Network, requests: Sequence[NodeRequest], temperature: float, seed: int) -> list[Message]:
        """One message for every request, in order. The same seed and requests give the same messages where the engine
        gives token ids; a server's word is its own."""

    remote: ClassVar[bool] = False
    """Whether it samples elsewhere, while this process computes something else on the backbone."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Give back what the engine holds elsewhere."""

    def notes(self) -> dict[str, float]:
        """Figures of its use for the timings of a run."""
        return {}

    def summary(self) -> str:
        """What is to be told of its use, in a line; nothing where its messages tell all."""
        return ""

    def check(self, purpose: str, **needed: bool) -> None:
        """Raise UsageError where the engine lacks what `purpose` needs (see `Capabilities`)."""
        self.capabilities.check(self.name, purpose, **needed)


class TokenEngine(Engine):
    """An engine that takes prompts as token ids and gives token ids with their log-probabilities."""

    capabilities = Capabilities(adapters=True, logprobs=True, token_ids=True)

    @abstractmethod
    def sample(self, network: Network, batch: PromptBatch) -> list[Sampled]:
        """One completion for every prompt of `batch`, by the adapters of `network` as they are now."""

    def speak(self, network: Network, requests: Sequence[NodeRequest], temperature: float, seed: int) -> list[Message]:
        backbone = network.backbone
        prompts = backbone.encode_requests(requests)
        # Without adapters all nodes speak alike, so that they share prefixes too.
        nodes = [0 if network.adapters is None else network.topology.index(request.agent) for request in requests]
        batch = PromptBatch(
            nodes,
            prompts,
            [request.question_id for request in requests],
            [request.max_tokens for request in requests],
            temperature,
            seed,
        )
        return [
            Message(
                backbone.decode(row.token_ids[:-1] if row.finish_reason == "stop" else row.token_ids),
                row.token_ids,
                row.logprobs,
                tuple(prompt),
                row.finish_reason,
            )
            for prompt, row in zip(prompts, self.sample(network, batch), strict=True)
        ]
