"""What a trained network loses when its communication is damaged.

    whole = run_episodes(task, network.topology, GreedyPolicy(network), questions)
    batch = ablate(network, task, questions, "swap")
    batch.accuracy - whole.accuracy

Each kind takes away one thing and keeps the rest:

silence     nobody hears the hidden nodes (or those that are named)
shuffle     the words of every message stand in a random order, which leaves which words they are
swap        in place of each message, its receiver hears what the same sender said to another question of the batch,
            which leaves how a message looks, and takes what it tells about the question
permute     the hidden nodes have each other's adapters, which leaves what the nodes can do, and takes who does it
positions   every prompt gives the position of the first node, that of the output too, so that only the adapters and
            what is heard tell nodes apart. (The line itself stays: no network was trained on prompts without one.)

Nodes speak greedily. What is damaged is what nodes hear: the requests of the batch's turns are still those of the
environment, with every message as it was said. A closed node of a grown network that relays passes on what it heard.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from neuromas_env.episodes import EpisodeBatch, run_episodes
from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.node import Message, NodeRequest, Policy
from neuromas_env.task import Question, Task

from .gates import Gate
from .growth import like
from .network import Network
from .seeds import derive
from .validation import GreedyPolicy

if TYPE_CHECKING:
    from neuromas_env.budget import Meter

Kind = Literal["silence", "shuffle", "swap", "permute", "positions"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def ablate(
    network: Network,
    task: Task,
    questions: Sequence[Question] | Sequence[int],
    kind: Kind,
    *,
    nodes: Collection[str] | None = None,
    seed: int = 0,
    split: str = "test",
    max_tokens: int | None = None,
    instructions: Mapping[str, str] | None = None,
    meter: Meter | None = None,
) -> EpisodeBatch:
    """The greedy answers of `network`, damaged as `kind` says; `network` itself is left alone.

    `nodes` are those to silence, all hidden ones by default. `seed` draws orders and pairings; equal arguments give
    equal batches. Raises UsageError for an unknown kind or node, and where there is nothing to exchange: fewer than
    two hidden nodes that speak (permute), or one question that is most of the batch (swap).
    """
    if kind not in KINDS:
        raise UnknownNameError("ablation", kind, KINDS)
    if nodes is not None and kind != "silence":
        raise UsageError(f"the ablation {kind} damages all nodes: only silence takes nodes")
    if kind == "permute":
        network = permuted(network, seed)
    policy: Policy = GreedyPolicy(network, max_tokens)
    if kind == "shuffle":
        policy = Shuffled(policy, seed)
    elif kind == "swap":
        policy = Swapped(policy, seed)
    elif kind == "positions":
        policy = WithoutPositions(policy)
    hidden = [node for node in network.topology.nodes if node != network.topology.output]
    return run_episodes(
        task,
        network.topology,
        policy,
        questions,
        split=split,
        instructions=instructions,
        meter=meter,
        silence=(hidden if nodes is None else nodes) if kind == "silence" else (),
    )


@dataclass(frozen=True)
class Shuffled:
    """The words of every message in a random order, drawn by question, sender and step; the spaces stay."""

    policy: Policy
    seed: int = 0

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return self.policy.act([self._heard(request) for request in requests])

    def _heard(self, request: NodeRequest) -> NodeRequest:
        messages = [
            replace(message, text=self._shuffled(message.text, request.question_id, message.sender, request.step))
            for message in request.messages
        ]
        return replace(request, messages=tuple(messages))

    def _shuffled(self, text: str, question_id: str, sender: str, step: int) -> str:
        words = re.findall(r"\S+", text)
        rng = np.random.default_rng(derive(self.seed, "shuffle", question_id, sender, step))
        order = iter(rng.permutation(len(words)))
        return re.sub(r"\S+", lambda _: words[next(order)], text)


@dataclass(frozen=True)
class Swapped:
    """Every message is the one that the same sender said, at the same step, to another question of the batch.

    The pairing is drawn anew for each sender and step. A receiver's messages may so come from different questions.
    """

    policy: Policy
    seed: int = 0

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        texts = {(r.episode, message.sender): message.text for r in requests for message in r.messages}
        question_of = {request.episode: request.question_id for request in requests}
        senders = sorted({sender for _, sender in texts})
        step = requests[0].step if requests else 0
        other = {sender: others(question_of, derive(self.seed, "swap", sender, step)) for sender in senders}
        return self.policy.act(
            [
                replace(
                    request,
                    messages=tuple(
                        replace(message, text=texts[other[message.sender][request.episode], message.sender])
                        for message in request.messages
                    ),
                )
                for request in requests
            ]
        )


@dataclass(frozen=True)
class WithoutPositions:
    """Every node is told that it is the first: `layer 1 node 1:`, or `round 1 node 1:` in an unrolled graph."""

    policy: Policy

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return self.policy.act(
            [
                replace(request, position=replace(request.position, layer=1, index=1, is_output=False))
                for request in requests
            ]
        )


def permuted(network: Network, seed: int = 0) -> Network:
    """A network whose hidden nodes have each other's adapters; none keeps its own. Gates stay where they are.

    Nodes whose gates are closed have learnt nothing yet, and are left out. Raises UsageError for fewer than two nodes.
    """
    topology, gates = network.topology, network.gates.nodes
    hidden = [node for node in topology.nodes if node != topology.output and gates.get(node, Gate(1.0)).opening >= 0.5]
    if network.adapters is None or len(hidden) < 2:
        has = "no adapters" if network.adapters is None else f"only {len(hidden)} that speak"
        raise UsageError(f"permute exchanges the adapters of at least two hidden nodes; this {topology} has {has}")
    exchanged = like(network, topology)
    assert exchanged.adapters is not None
    other = others({topology.index(node): node for node in hidden}, derive(seed, "permute"))
    rows = [other.get(row, row) for row in range(topology.num_nodes)]
    with torch.no_grad():
        exchanged.adapters.flat_NP.copy_(network.adapters.flat_NP[rows])
    exchanged.gates = network.gates
    return exchanged


def others(question_of: Mapping[int, Hashable], seed: int) -> dict[int, int]:
    """For every episode one of another question, drawn by `seed`; each episode is the other one of one.

    Episodes stand in a circle, those of a question side by side and the questions in random order. Each is given the
    one that is as far on as the most frequent question has episodes. Raises UsageError where that question has more
    than half of them: there is no such pairing.
    """
    episodes_of: dict[Hashable, list[int]] = {}
    for episode, question in question_of.items():
        episodes_of.setdefault(question, []).append(episode)
    order = np.random.default_rng(seed).permutation(len(episodes_of))
    groups = list(episodes_of.values())
    circle = [episode for index in order for episode in groups[index]]
    most = max(map(len, groups), default=0)
    if 2 * most > len(circle):
        raise UsageError(
            "messages are exchanged between questions: no question may be more than half of the batch, "
            f"and one is {most} of {len(circle)}"
        )
    return {episode: circle[(place + most) % len(circle)] for place, episode in enumerate(circle)}
