"""Who hears whom, and who speaks when: the graph of a network of language models.

A topology is immutable. It has nodes with stable ids, edges, one output node, and a *schedule* that says which nodes
speak at which step. A message travels along an edge in one step. The order of a node's incoming edges numbers them
(slots 1, 2, …), and the slot is the label of the message in the prompt, so edges added later keep the old labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .errors import TopologyError
from .node import Position

Edge = tuple[str, str]
MAX_NODES = 1024
GRAMMAR = "widths such as '2-2-1' that end with 1, with '/all' or '/sparse2' if wanted, or AGENTSxROUNDS such as '3x2'"


@dataclass(frozen=True)
class Topology:
    """A network's graph. `positions` are what each node's prompt says about its place, in the order of `nodes`.

    Raises TopologyError, which names the node, where the graph is no network: doubled or unknown ids, a node that
    never speaks, an edge that never carries a message, a node whose words cannot reach the output.
    """

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    schedule: tuple[tuple[str, ...], ...]
    output: str
    positions: tuple[Position, ...]
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check_names(self)
        _check_schedule(self)
        _check_edges(self)

    # ------------------------------------------------------------------ ways to make one

    @classmethod
    def parse(cls, text: str) -> Topology:
        """The topology that `text` names: "1", "2-2-1", "2-2-1/all", "4-4-1/sparse2", or "3x2" (agents x rounds)."""
        width = "[1-9][0-9]{0,5}"
        if match := re.fullmatch(rf"({width})x({width})", text):
            return cls.rounds(int(match[1]), int(match[2]))
        match = re.fullmatch(rf"({width}(?:-{width})*)(?:/(all|sparse{width}))?", text)
        if match is None:
            raise TopologyError(f"bad topology {text[:100]!r}: {GRAMMAR} is accepted")
        return cls.layered(list(map(int, match[1].split("-"))), connect=match[2] or "previous")

    @classmethod
    def layered(cls, widths: Sequence[int], connect: str = "previous") -> Topology:
        """Layers of the given widths, the last one the output node.

        `connect`: "previous" (every node hears the whole layer before), "all" (all earlier layers), or "sparseK": each
        node hears K neighbours of the layer before, and more only where that layer could not be heard in full.
        """
        widths, name = list(widths), "-".join(map(str, widths)) + ("" if connect == "previous" else f"/{connect}")
        if not widths or widths[-1] != 1:
            raise TopologyError(f"bad topology {name!r}: the last layer must have width 1, the output node")
        if min(widths) < 1 or sum(widths) > MAX_NODES:
            raise TopologyError(f"bad topology {name!r}: widths from 1 and at most {MAX_NODES} nodes are accepted")
        layers, start = [], 0
        for width in widths:
            layers.append([f"node_{start + i}" for i in range(width)])
            start += width
        edges: list[Edge] = []
        for depth in range(1, len(layers)):
            for i, node in enumerate(layers[depth]):
                edges += [(sender, node) for sender in _senders(layers, depth, i, connect)]
        positions = [
            Position(depth + 1, i + 1, is_output=depth + 1 == len(layers))
            for depth, layer in enumerate(layers)
            for i in range(len(layer))
        ]
        nodes = [node for layer in layers for node in layer]
        return cls(tuple(nodes), tuple(edges), tuple(map(tuple, layers)), nodes[-1], tuple(positions), name)

    @classmethod
    def from_edges(cls, nodes: Iterable[str], edges: Iterable[Edge], output: str, name: str = "") -> Topology:
        """Any acyclic graph. A node's layer is the longest path that leads to it; slots follow the order of `edges`."""
        nodes, edges = tuple(nodes), tuple((sender, receiver) for sender, receiver in edges)
        depth = _longest_paths(nodes, edges)
        schedule = [tuple(n for n in nodes if depth[n] == layer) for layer in range(max(depth.values(), default=0) + 1)]
        positions = tuple(Position(depth[n] + 1, schedule[depth[n]].index(n) + 1, n == output) for n in nodes)
        name = name or f"graph of {len(nodes)} nodes and {len(edges)} edges"
        return cls(nodes, edges, tuple(schedule), output, positions, name)

    @classmethod
    def rounds(cls, agents: int, rounds: int) -> Topology:
        """A debate, unrolled: agents speak each round and hear the others' last messages; an output node ends it."""
        if agents < 1 or rounds < 1 or agents >= MAX_NODES or agents * rounds > 100 * MAX_NODES:
            raise TopologyError(f"bad topology '{agents}x{rounds}': from 1 agent and 1 round, below {MAX_NODES} agents")
        speakers, output = tuple(f"node_{i}" for i in range(agents)), f"node_{agents}"
        edges = [(a, b) for b in speakers for a in speakers if a != b and rounds > 1]
        edges += [(a, output) for a in speakers]
        positions = [Position(1, i + 1, kind="round") for i in range(agents)]
        positions.append(Position(rounds + 1, 1, is_output=True, kind="round"))
        schedule = (speakers,) * rounds + ((output,),)
        return cls((*speakers, output), tuple(edges), schedule, output, tuple(positions), f"{agents}x{rounds}")

    # ------------------------------------------------------------------ questions one asks of it

    def __str__(self) -> str:
        return self.name or f"graph of {self.num_nodes} nodes and {len(self.edges)} edges"

    @property
    def num_nodes(self) -> int:
        return len(self.nodes)

    @property
    def horizon(self) -> int:
        """The number of steps of an episode."""
        return len(self.schedule)

    @cached_property
    def calls(self) -> int:
        """The number of messages that count in one episode."""
        return sum(len(speakers) for speakers in self.schedule)

    @cached_property
    def layers(self) -> tuple[tuple[str, ...], ...]:
        """The nodes by the step at which they first speak."""
        seen: set[str] = set()
        layers = []
        for speakers in self.schedule:
            if fresh := tuple(node for node in speakers if node not in seen):
                layers.append(fresh)
                seen.update(fresh)
        return tuple(layers)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {node: i for i, node in enumerate(self.nodes)}

    @cached_property
    def _incoming(self) -> dict[str, tuple[str, ...]]:
        incoming: dict[str, list[str]] = {node: [] for node in self.nodes}
        for sender, receiver in self.edges:
            incoming[receiver].append(sender)
        return {node: tuple(senders) for node, senders in incoming.items()}

    def index(self, node: str) -> int:
        """The place of `node` in `nodes`. Raises TopologyError for an unknown node."""
        try:
            return self._index[node]
        except KeyError:
            raise TopologyError(f"no node {node!r} in topology {self}; it has {_some(self.nodes)}") from None

    def incoming(self, node: str) -> tuple[str, ...]:
        """The senders that `node` hears, by slot (the first has slot 1)."""
        return self._incoming[self.nodes[self.index(node)]]

    def position(self, node: str, step: int) -> Position:
        """What the prompt of `node` says about its place at `step`; in an unrolled graph the round counts up."""
        position = self.positions[self.index(node)]
        if position.kind != "round" or position.is_output:
            return position
        spoken = sum(node in speakers for speakers in self.schedule[:step])
        return Position(position.layer + spoken, position.index, False, "round")

    # ------------------------------------------------------------------ JSON

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` reads back to an equal topology."""
        return {
            "name": self.name,
            "nodes": list(self.nodes),
            "edges": [list(edge) for edge in self.edges],
            "schedule": [list(speakers) for speakers in self.schedule],
            "output": self.output,
            "positions": [
                {"layer": p.layer, "index": p.index, "is_output": p.is_output, "kind": p.kind} for p in self.positions
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Topology:
        """The topology that `to_json` wrote. Raises TopologyError for a missing or malformed field."""
        try:
            positions = [(p["layer"], p["index"], p["is_output"], p["kind"]) for p in data["positions"]]
            if any(tuple(map(type, fields)) != (int, int, bool, str) for fields in positions):
                raise TypeError("a position needs whole numbers 'layer' and 'index', 'is_output' and 'kind'")
            return cls(
                tuple(data["nodes"]),
                tuple((sender, receiver) for sender, receiver in data["edges"]),
                tuple(tuple(speakers) for speakers in data["schedule"]),
                data["output"],
                tuple(Position(*fields) for fields in positions),
                str(data.get("name", "")),
            )
        except KeyError as error:
            raise TopologyError(f"bad topology: the field {error} is missing") from None
        except TopologyError:
            raise
        except (TypeError, ValueError, AttributeError) as error:
            raise TopologyError(f"bad topology: {error}") from None


def _senders(layers: list[list[str]], depth: int, i: int, connect: str) -> list[str]:
    """Whom node `i` of layer `depth` hears."""
    if connect == "all":
        return [node for layer in layers[:depth] for node in layer]
    before = layers[depth - 1]
    if connect == "previous":
        return before
    if not re.fullmatch(r"sparse[1-9][0-9]*", connect):
        raise TopologyError(f"bad connectivity {connect!r}: 'previous', 'all' or 'sparseK' with K from 1 is accepted")
    width = len(layers[depth])
    fan_in = min(len(before), max(int(connect[6:]), -(-len(before) // width)))
    first = i * len(before) // width  # windows are spread evenly, so that together they cover the layer before
    return [before[k] for k in sorted((first + j) % len(before) for j in range(fan_in))]


def _longest_paths(nodes: tuple[str, ...], edges: tuple[Edge, ...]) -> dict[str, int]:
    """The length of the longest path to each node. Raises TopologyError where the graph has a cycle."""
    waiting = dict.fromkeys(nodes, 0)
    receivers: dict[str, list[str]] = {node: [] for node in nodes}
    for sender, receiver in edges:
        for end in (sender, receiver):
            if end not in waiting:
                raise TopologyError(f"edge {sender!r} → {receiver!r}: there is no node {end!r}; known: {_some(nodes)}")
        waiting[receiver] += 1
        receivers[sender].append(receiver)
    depth = {node: 0 for node in nodes if waiting[node] == 0}
    ready = list(depth)
    while ready:
        node = ready.pop()
        for receiver in receivers[node]:
            depth[receiver] = max(depth.get(receiver, 0), depth[node] + 1)
            waiting[receiver] -= 1
            if waiting[receiver] == 0:
                ready.append(receiver)
    if stuck := [node for node in nodes if waiting[node] > 0]:
        raise TopologyError(f"the edges make a cycle through or before {_some(stuck)}; use Topology.rounds for cycles")
    return depth


def _check_names(topology: Topology) -> None:
    nodes = topology.nodes
    if not nodes or len(nodes) > MAX_NODES:
        raise TopologyError(f"a topology has 1 to {MAX_NODES} nodes; this one has {len(nodes)}")
    for node in nodes:
        if not isinstance(node, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", node):
            raise TopologyError(f"bad node id {str(node)[:80]!r}: up to 64 letters, digits, '_', '-', '.' are accepted")
    if len(set(nodes)) < len(nodes):
        raise TopologyError(f"the node id {next(n for n in nodes if nodes.count(n) > 1)!r} is given twice")
    if topology.output not in nodes:
        raise TopologyError(f"the output {topology.output!r} is no node; known: {_some(nodes)}")
    if len(topology.positions) != len(nodes):
        raise TopologyError(f"{len(nodes)} nodes need as many positions, not {len(topology.positions)}")


def _check_schedule(topology: Topology) -> None:
    known = set(topology.nodes)
    spoken: set[str] = set()
    for step, speakers in enumerate(topology.schedule):
        if not speakers or len(set(speakers)) < len(speakers):
            raise TopologyError(f"step {step} of the schedule needs at least one node, and each at most once")
        for node in speakers:
            if node not in known:
                raise TopologyError(f"step {step} of the schedule: there is no node {node!r}")
        spoken.update(speakers)
    for node in topology.nodes:
        if node not in spoken:
            raise TopologyError(f"node {node!r} never speaks: put it into the schedule")
    if topology.schedule[-1] != (topology.output,):
        raise TopologyError(f"the output node {topology.output!r} must speak alone at the last step")


def _check_edges(topology: Topology) -> None:
    known = set(topology.nodes)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step, speakers in enumerate(topology.schedule):
        for node in speakers:
            first.setdefault(node, step)
            last[node] = step
    receivers: dict[str, list[str]] = {node: [] for node in topology.nodes}
    seen = set()
    for edge in topology.edges:
        sender, receiver = edge
        for end in edge:
            if end not in known:
                raise TopologyError(f"edge {sender!r} → {receiver!r}: there is no node {end!r}; known: {_some(known)}")
        if edge in seen or sender == receiver:
            raise TopologyError(f"edge {sender!r} → {receiver!r} is " + ("given twice" if edge in seen else "a loop"))
        if first[sender] >= last[receiver]:
            raise TopologyError(f"edge {sender!r} → {receiver!r} carries nothing: the receiver never speaks later")
        seen.add(edge)
        receivers[sender].append(receiver)
    useful: set[str] = {topology.output}  # nodes some of whose words can still reach the answer, walking back in time
    for speakers in reversed(topology.schedule[:-1]):
        useful |= {node for node in speakers if any(receiver in useful for receiver in receivers[node])}
    for node in topology.nodes:
        if node not in useful:
            raise TopologyError(f"the output {topology.output!r} cannot be reached from node {node!r}")


def _some(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    return ", ".join(map(str, names[:most])) + (", …" if len(names) > most else "")
