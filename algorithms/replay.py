"""Playing episodes of a batch again with some messages changed: what would the answer have been?

One rule decides what is said anew: a node that hears what it heard says what it said. So a change costs only the calls
that lie downstream of it and heard of it, and a change that nobody notices costs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from neuromas_env.episodes import run_episodes
from neuromas_env.node import Message, NodeRequest
from neuromas_env.task import Task

from .algorithm import FloatArray
from .rollout import Rollout, SamplingPolicy, calls_of

if TYPE_CHECKING:
    from neuromas_env.budget import Meter


@dataclass(frozen=True)
class Variant:
    """An episode to be played again: the text that replaces what was said, by call. `afresh`: all others speak anew."""

    episode: int
    replaced: Mapping[int, str]
    afresh: bool = False


@dataclass(frozen=True)
class Replay:
    """Plays variants of the episodes of one batch with the network and the settings that the batch was sampled with."""

    task: Task
    policy: SamplingPolicy
    instructions: Mapping[str, str] | None = None
    meter: Meter | None = None

    def rewards(self, rollout: Rollout, variants: Sequence[Variant]) -> FloatArray:
        """The reward [V] of every variant. The calls that are sampled anew are metered."""
        if not variants:
            return np.zeros(0)
        samples = rollout.rewards_QG.shape[1]
        batch = run_episodes(
            self.task,
            rollout.topology,
            _Recorded(self.policy, rollout, variants),
            [rollout.questions[variant.episode // samples] for variant in variants],
            split="train",
            instructions=self.instructions,
            meter=self.meter,
        )
        return np.array([score.value for score in batch.scores], dtype=np.float64)


@dataclass(frozen=True)
class _Recorded:
    """Says what is replaced, then what was said where nothing changed, and asks the network for the rest."""

    policy: SamplingPolicy
    rollout: Rollout
    variants: Sequence[Variant]
    call_of: dict[tuple[int, str], int] = field(init=False)
    inboxes: dict[tuple[int, int], tuple[object, ...]] = field(init=False)

    def __post_init__(self) -> None:
        calls = {call: index for index, call in enumerate(calls_of(self.rollout.topology))}
        object.__setattr__(self, "call_of", calls)
        heard = {
            (turn.request.episode, calls[turn.request.step, turn.request.agent]): turn.request.messages
            for turn in self.rollout.turns
        }
        object.__setattr__(self, "inboxes", heard)

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        texts = [self._known(request) for request in requests]
        asked = [request for request, text in zip(requests, texts, strict=True) if text is None]
        spoken = iter(self.policy.act(asked))
        return [next(spoken) if text is None else Message(text, finish_reason="scripted", calls=0) for text in texts]

    def _known(self, request: NodeRequest) -> str | None:
        variant, call = self.variants[request.episode], self.call_of[request.step, request.agent]
        if call in variant.replaced:
            return variant.replaced[call]
        # A node whose gate was closed made no call then, and makes none now: the network knows what it says.
        if not variant.afresh and self.inboxes.get((variant.episode, call)) == request.messages:
            return self.rollout.heard[variant.episode, call]
        return None
