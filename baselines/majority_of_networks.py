"""Majority of networks: independent copies of one network, each sampled, and the majority of their answers decides.

What a network gains over a vote has to be told from what a vote gains over a network, so this is self-consistency with
whole networks in the place of single calls. `majority-of-networks@5:1-1-1` is one topology of 5 copies of `1-1-1` and a
free output node that counts votes: 15 calls. Without `run=FOLDER` every node is the bare backbone, as in `untrained`;
with it the copies are the network of that run, which all share its adapters. Copies differ by their random draws alone:
each stands where the network itself stands, and hears nobody else. There is no original; temperature and ties are those
of self-consistency.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from neuromas_env.node import Message, NodeRequest, Policy, Position
from neuromas_env.topology import Topology

from .base import Context, Method, MethodName, Sampled, System
from .neuromas import TrainedNetwork, UntrainedNetwork, named_topology
from .self_consistency import TEMPERATURE, vote
from .workflow import Node, Reader, workflow

COPIES = 5
VOTE = "vote"


def copy_of(node: str, number: int) -> str:
    return f"{node}.{number}"


def original(copy: str) -> str:
    """The node of the network that `copy` is a copy of."""
    return copy.rpartition(".")[0]


def voting_copies(network: Topology, count: int) -> Topology:
    """`count` copies of `network` side by side, and one more node that hears the output of each."""
    copies = range(1, count + 1)
    nodes = [copy_of(node, number) for number in copies for node in network.nodes]
    edges = [(copy_of(a, number), copy_of(b, number)) for number in copies for a, b in network.edges]
    edges += [(copy_of(network.output, number), VOTE) for number in copies]
    schedule = [tuple(copy_of(node, number) for number in copies for node in step) for step in network.schedule]
    return Topology(
        (*nodes, VOTE),
        tuple(edges),
        (*schedule, (VOTE,)),
        VOTE,
        (*network.positions * count, Position(network.horizon + 1, 1, is_output=True)),
        f"{count} × {network}",
    )


@dataclasses.dataclass(frozen=True)
class AsCopies:
    """A network's nodes speaking for all of their copies, with messages of at most `max_tokens` tokens."""

    policy: Policy
    max_tokens: int | None

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        from algorithms.rollout import limit

        spoken_for = [dataclasses.replace(request, agent=original(request.agent)) for request in requests]
        return self.policy.act(limit(spoken_for, self.max_tokens))


class MajorityOfNetworks(Method):
    name = "majority-of-networks"
    summary = "the majority of independent copies of one network, each sampled"
    argument = "topology"
    counts = True
    options = ("temperature", "run")

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.temperature = self.number("temperature", TEMPERATURE)
        self.copies = spec.count or COPIES
        self.topology: Topology = voting_copies(named_topology(spec), self.copies)
        if run := spec.options.get("run"):
            self.network: Method = TrainedNetwork(MethodName("neuromas", spec.argument, options={"run": run}))
        else:
            self.network = UntrainedNetwork(MethodName("untrained", spec.argument))

    @classmethod
    def example(cls) -> str:
        return "majority-of-networks@5:1-1-1"

    def identity(self, context: Context) -> Mapping[str, Any]:
        return self.network.identity(context)

    def prepare(self, context: Context) -> System:
        return self.system(context)

    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
        from algorithms.validation import GreedyPolicy

        one = self.network.prepare(context)
        network: Any = one.policy
        max_tokens = None
        if isinstance(network, GreedyPolicy):  # the network of a run
            network, max_tokens = network.network, network.max_tokens
        nodes = {copy: Node(one.instructions.get(original(copy), ""), self.temperature) for copy in self.topology.nodes}
        nodes[VOTE] = Node(computed=vote(Reader(context.task, context.questions)))

        def copies(temperature: float) -> Policy:
            return AsCopies(Sampled(network, temperature, context.seed), max_tokens)

        system = workflow(self.topology, nodes, context, speak or copies)
        notes = {**one.notes, "copies": self.copies}
        return dataclasses.replace(system, trainable_parameters=one.trainable_parameters, notes=notes)
