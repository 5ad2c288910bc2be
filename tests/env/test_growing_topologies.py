"""Growing topologies: the shapes that come out, and that old nodes are asked what they were asked before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.gates import Gate, Gates
from neuromas_env import Message, Meter, NodeRequest, make_task, run_episodes
from neuromas_env.errors import TopologyError
from neuromas_env.growth import Growth, connect, deepen, disconnect, grown, prune, widen
from neuromas_env.topology import Topology

TASK = make_task("chain")
BASES = ["1", "1-1", "1-1-1", "2-2-1", "3-1", "2-2-1/all", "4-4-1/sparse2"]


@dataclass
class Hashing:
    """Nodes whose words depend on everything in their prompt, behind gates."""

    gates: Gates
    prompts: dict[tuple[str, str], str] = field(default_factory=dict)

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return self.gates.through(requests, self.speak)

    def speak(self, requests: Sequence[NodeRequest]) -> list[Message]:
        self.prompts |= {(request.question_id, request.agent): request.prompt for request in requests}
        texts = [hashlib.sha256(f"{r.agent}{r.prompt}".encode()).hexdigest()[:4] for r in requests]
        return [Message(text, (1,), (0.0,), (1,)) for text in texts]


def played(topology: Topology, gates: Gates) -> tuple[list[str], dict[tuple[str, str], str], int]:
    policy, meter = Hashing(gates), Meter()
    answers = run_episodes(TASK, topology, policy, range(3), meter=meter).answers
    return answers, policy.prompts, meter.calls


def gates_of(growth: Growth) -> Gates:
    return Gates({node: Gate(relays=relays) for node, relays in growth.new.items()}, dict.fromkeys(growth.edges, 0.0))


def new_edges(topology: Topology) -> list[tuple[str, str]]:
    """Edges that could still be added: from any earlier node."""
    step = {node: place for place, layer in enumerate(topology.layers) for node in layer}
    pairs = [(a, b) for a in topology.nodes for b in topology.nodes if step[a] < step[b]]
    return [pair for pair in pairs if pair not in topology.edges]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_operators_leave_what_old_nodes_are_asked_and_can_be_taken_back(data: st.DataObject) -> None:
    base = Topology.parse(data.draw(st.sampled_from(BASES)))
    growth = Growth(base)
    for _ in range(data.draw(st.integers(1, 4))):
        topology = growth.topology
        hidden, edges = len(topology.layers) - 1, new_edges(topology)
        kinds = ["deepen", *(["widen"] if hidden else []), *(["connect"] if edges else [])]
        kind = data.draw(st.sampled_from(kinds))
        if kind == "widen":
            step = widen(topology, data.draw(st.integers(1, hidden)))
        elif kind == "deepen":
            least = len(topology.layers[-2]) if hidden else 1
            step = deepen(topology, least + data.draw(st.integers(0, 2)))
        else:
            step = connect(topology, [data.draw(st.sampled_from(edges))])
        growth = growth.then(step)
    gates = gates_of(growth)
    assert played(growth.topology, gates) == played(base, Gates())  # answers, prompts of old nodes, calls
    assert growth.topology.nodes[: base.num_nodes] == base.nodes
    smaller, kept = growth.topology, gates
    for edge in growth.edges:
        smaller = disconnect(smaller, edge)
    for node in reversed(growth.new):
        smaller = prune(smaller, node, kept.nodes[node].relays)
        kept = kept.without(node)
    assert smaller == base
    assert smaller.to_json() == base.to_json()  # the name and every order, too
    assert not kept.nodes


def test_an_open_gate_is_heard() -> None:
    growth = grown(Topology.parse("1-1-1"), "2-2-2-1")
    closed = gates_of(growth)
    answers, _, calls = played(growth.topology, closed)
    for node in growth.new:
        opened = Gates({**closed.nodes, node: Gate(1.0, closed.nodes[node].relays)}, closed.edges)
        told = played(growth.topology, opened)
        assert told[0] != answers or closed.nodes[node].relays is None, node
        assert told[2] == calls + 3
    everything = played(growth.topology, closed.opened(1.0))
    assert everything[2] == 7 * 3
    assert set(everything[0]).isdisjoint(answers)


@pytest.mark.parametrize(
    ("base", "to"),
    [
        ("1-1-1", "2-2-1"),
        ("2-2-1", "2-2-2-1"),
        ("1", "3-1"),
        ("1-1-1", "8-8-8-6-1"),
        ("1-1-1", "1-1-1/all"),
        ("2-2-1", "3-3-3-1/all"),
        ("1-1", "2-1"),
    ],
)
def test_the_grown_network_is_the_one_asked_for(base: str, to: str) -> None:
    growth = grown(Topology.parse(base), to)
    assert growth.topology.name == to
    target = Topology.parse(to)
    places = [
        {node: (depth, i) for depth, layer in enumerate(t.layers) for i, node in enumerate(layer)}
        for t in (growth.topology, target)
    ]
    edges = [{(at[a], at[b]) for a, b in t.edges} for at, t in zip(places, (growth.topology, target), strict=True)]
    assert edges[0] == edges[1]
    positions = [
        {at[node]: position for node, position in zip(t.nodes, t.positions, strict=True)}
        for at, t in zip(places, (growth.topology, target), strict=True)
    ]
    assert positions[0] == positions[1]


def test_a_layer_that_doubles_has_one_clone_of_each() -> None:
    assert list(grown(Topology.parse("2-1"), "4-1").like.values()) == ["node_0", "node_1"]
    chain = grown(Topology.parse("1-1-1"), "1-1-1-1-1")
    assert set(chain.like.values()) == {"node_1"}  # the last hidden node of the old network


@pytest.mark.parametrize(
    ("base", "to", "told"),
    [
        ("2-2-1", "2-1", "2 hidden layers, and that only 1"),
        ("2-2-1", "3-1-1", "layer 2 has 2 nodes, and only 1 there"),
        ("2-2-1", "2-2-1-1", "cannot pass on what 2 nodes say"),
        ("2-2-1/all", "2-2-1", "which has no edge 'node_0' → 'node_4': disconnect it first"),
        ("3x2", "4-4-1", "goes in rounds"),
        ("1-1", "2-2", "last layer must have width 1"),
    ],
)
def test_what_is_no_growth_is_refused(base: str, to: str, told: str) -> None:
    with pytest.raises(TopologyError, match=told):
        grown(Topology.parse(base), to)


def test_operators_refuse_what_is_not_there() -> None:
    topology = Topology.parse("2-2-1")
    for wrong, told in (
        (lambda: widen(topology, 3), "hidden layers 1 to 2, so none 3"),
        (lambda: widen(topology, 0), "so none 0"),
        (lambda: deepen(topology, 1), "2 nodes or more, or a layer that speaks at once"),
        (lambda: deepen(topology, 0), "1 node or more, not 0"),
        (lambda: connect(topology, [("node_4", "node_0")]), "node_4"),
        (lambda: disconnect(topology, ("node_0", "node_4")), "no edge 'node_0' → 'node_4'"),
        (lambda: prune(topology, "node_4"), "is the output"),
        (lambda: prune(topology, "node_9"), "no node 'node_9'"),
        (lambda: prune(Topology.parse("2-1-1"), "node_2"), "cannot be reached from node"),
    ):
        with pytest.raises(TopologyError, match=told):
            wrong()
    assert deepen(topology, 1, relay=False).topology.name == "2-2-1-1"
