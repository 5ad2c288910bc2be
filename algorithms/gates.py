"""Gates: what is new in a grown network starts closed, and opens.

A closed node makes no call: it is silent, or *relays*, word for word, what one of its senders said. A closed edge
carries nothing. Both are part of the network as a policy, so that a network with closed gates says exactly what it said
before it grew, is metered for the calls that it makes, and leaves transcripts that replay.

A gate is open to a degree. While a network trains, it is open for so large a share of the questions, drawn anew for
each update (`drawn`); all samples of a question find it alike. Otherwise it does what it does more often than not: from
one half on it is open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from neuromas_env.errors import CheckpointError
from neuromas_env.node import Message, NodeRequest
from neuromas_env.topology import Edge

from .seeds import derive

Init = Literal["fresh", "clone", "relay"]
Opening = Literal["silent", "immediate", "gradual"]


@dataclass(frozen=True)
class Gate:
    """How far a new node is open, and whose message it passes on while it is closed (None: it is silent)."""

    opening: float = 0.0
    relays: str | None = None


@dataclass(frozen=True)
class Gates:
    """The gates of one network, by node and by edge; what has none is open. `seed` draws what is open (see above)."""

    nodes: Mapping[str, Gate] = field(default_factory=dict)
    edges: Mapping[Edge, float] = field(default_factory=dict)
    seed: int | None = None

    def __bool__(self) -> bool:
        return bool(self.nodes or self.edges)

    def through(
        self, requests: Sequence[NodeRequest], speak: Callable[[Sequence[NodeRequest]], list[Message]]
    ) -> list[Message]:
        """The messages of a step, where `speak` answers for the nodes that are open."""
        if not self:
            return speak(requests)
        said = [self.said(request) for request in requests]
        asked = [self.heard(request) for request, text in zip(requests, said, strict=True) if text is None]
        spoken = iter(speak(asked) if asked else [])
        return [next(spoken) if text is None else Message(text, finish_reason="scripted", calls=0) for text in said]

    def said(self, request: NodeRequest) -> str | None:
        """What a closed node says without a call; None where the node speaks."""
        gate = self.nodes.get(request.agent)
        if gate is None or self._open(gate.opening, request.agent, request.question_id):
            return None
        return next((message.text for message in request.messages if message.sender == gate.relays), "")

    def heard(self, request: NodeRequest) -> NodeRequest:
        """The request without what came over closed edges."""
        closed = {
            sender
            for (sender, receiver), opening in self.edges.items()
            if receiver == request.agent and not self._open(opening, f"{sender} {receiver}", request.question_id)
        }
        if not closed:
            return request
        return replace(request, messages=tuple(each for each in request.messages if each.sender not in closed))

    def _open(self, opening: float, what: str, question_id: str) -> bool:
        if self.seed is None or opening in (0.0, 1.0):
            return opening >= 0.5
        return derive(self.seed, "gate", what, question_id) % (1 << 32) < opening * (1 << 32)

    def opened(self, opening: float) -> Gates:
        """All gates open to this degree; those that are further open stay so."""
        return replace(
            self,
            nodes={node: replace(gate, opening=max(gate.opening, opening)) for node, gate in self.nodes.items()},
            edges={edge: max(before, opening) for edge, before in self.edges.items()},
        )

    def drawn(self, seed: int | None) -> Gates:
        return replace(self, seed=seed)

    def without(self, node: str) -> Gates:
        """Without a node and its edges. Whoever relayed it relays whom it relayed."""
        gone = self.nodes.get(node, Gate())
        nodes = {
            name: replace(gate, relays=gone.relays) if gate.relays == node else gate
            for name, gate in self.nodes.items()
            if name != node
        }
        return replace(
            self, nodes=nodes, edges={edge: opening for edge, opening in self.edges.items() if node not in edge}
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "nodes": {node: {"opening": gate.opening, "relays": gate.relays} for node, gate in self.nodes.items()},
            "edges": [[*edge, opening] for edge, opening in self.edges.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], nodes: Sequence[str]) -> Gates:
        """Undo `to_json`. Raises CheckpointError for what is no gate of a network of these nodes."""
        try:
            gates = cls(
                {node: Gate(float(gate["opening"]), gate["relays"]) for node, gate in data["nodes"].items()},
                {(sender, receiver): float(opening) for sender, receiver, opening in data["edges"]},
            )
            named = {*gates.nodes, *(gate.relays for gate in gates.nodes.values() if gate.relays is not None)}
            named |= {end for edge in gates.edges for end in edge}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"the network's gates cannot be read: {error!r}") from None
        openings = [*(gate.opening for gate in gates.nodes.values()), *gates.edges.values()]
        if not all(math.isfinite(opening) and 0 <= opening <= 1 for opening in openings):
            raise CheckpointError("a gate of the network is not open to a degree from 0 to 1")
        if unknown := sorted(named - set(nodes)):
            raise CheckpointError(f"the network has a gate for {unknown[0]!r}, which is none of its nodes")
        return gates
