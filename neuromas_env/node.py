"""What travels between the environment and whoever speaks at a node: a request, and the message that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .prompts import chat_prompt, plain_prompt


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message on an incoming edge.

    `slot` is the edge's place among the node's incoming edges, from 1. It labels the message in the prompt, so an
    edge keeps its label however many of the others are silent, and edges added by growth take later slots.
    """

    slot: int
    sender: str
    text: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a node stands: `layer` (or round) and `index` within it, both from 1."""

    layer: int
    index: int
    is_output: bool = False
    kind: str = "layer"  # "layer", or "round" in an unrolled cyclic graph


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """Everything a node may condition its next message on. It never holds the reference answer.

    `episode` is the row of the batch (0 in a single environment); requests of the same `question_id` share the task
    text, so a sampler may share its prefix. `max_tokens` is the longest message the policy may sample.
    """

    agent: str
    episode: int
    step: int
    question_id: str
    task: str
    messages: tuple[Incoming, ...]
    position: Position
    task_instruction: str = ""
    node_instruction: str = ""
    max_tokens: int = 200

    @property
    def prompt(self) -> str:
        """The prompt as plain text, for models without a chat template."""
        return plain_prompt(self)

    @property
    def chat(self) -> list[dict[str, str]]:
        """The prompt as chat messages (`role`, `content`), for models with a chat template."""
        return chat_prompt(self)


@dataclass(frozen=True, slots=True)
class Message:
    """What a node says, with what training and metering need to know about how it was said.

    `token_ids` are the sampled ids (the end token included when one was sampled) and `logprobs` their natural
    log-probabilities under the distribution they were drawn from. Scripted speakers leave both empty. A free node
    (a vote, say) has `calls` 0.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    prompt_ids: tuple[int, ...] = ()
    finish_reason: str = "stop"  # "stop": an end token; "length": cut at max_tokens; "scripted"
    calls: int = 1
    counted: tuple[int, int] | None = None
    """Prompt and sampled tokens as a server counts them, where it tells no ids."""

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt_ids) if self.counted is None else self.counted[0]

    @property
    def sampled_tokens(self) -> int:
        return len(self.token_ids) if self.counted is None else self.counted[1]


@runtime_checkable
class Policy(Protocol):
    """Who speaks at the nodes. `act` answers requests in order; a batch holds one step of many episodes."""

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]: ...
