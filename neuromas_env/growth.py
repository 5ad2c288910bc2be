"""Growing a topology, one operator at a time, such that a network on it can go on saying what it said.

    widen     a node more in a layer; it hears and is heard as its neighbours
    deepen    a new last hidden layer, between the old one and the output
    connect   an edge more
    prune, disconnect   take a node or an edge out again
    restrict            keep only some of the edges, and the nodes whose words still reach the output

Old nodes keep their ids, their places in `nodes`, their positions, and the slots of their messages: new edges take
later slots. So nothing in an old node's prompt changes as long as what is new is silent. A new layer takes the place of
the old one before the output: its first node *relays* the first of the old senders, the second the second, so that the
output's prompt stays the same too. A `Growth` says whom each new node relays (None: it starts silent), and which new
edges join old nodes and must start closed. What is closed, and how it opens, is up to the policy (algorithms/gates.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .errors import TopologyError
from .node import Position
from .topology import Edge, Topology


@dataclass(frozen=True)
class Growth:
    """A grown topology, and what is new in it: `new` nodes with whom each relays, and `edges` between old nodes.

    `like` has, for every new node, the old node that it stands beside (or, in a new layer, behind): whom a clone of it
    is a clone of.
    """

    topology: Topology
    new: Mapping[str, str | None] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    like: Mapping[str, str] = field(default_factory=dict)

    def then(self, step: Growth) -> Growth:
        """This growth, and after it `step`, which started from its topology."""
        like = {node: self.like.get(beside, beside) for node, beside in step.like.items()}
        new = {**self.new, **step.new}
        # A new node is closed itself; but one that relays says something, and old nodes must not hear it yet.
        edges = (edge for edge in step.edges if edge[1] not in new and new.get(edge[0], "heard") is not None)
        return Growth(step.topology, new, (*self.edges, *edges), {**self.like, **like})


def widen(topology: Topology, layer: int) -> Growth:
    """One node more in hidden layer `layer` (from 1). Raises TopologyError where there is no such layer.

    The new node hears whoever the layer hears, and is heard by whoever hears the layer.
    """
    layers = _layers(topology)
    if not 1 <= layer < len(layers):
        raise TopologyError(f"topology {topology} has hidden layers 1 to {len(layers) - 1}, so none {layer} to widen")
    beside = layers[layer - 1]
    node = _free_ids(topology, 1)[0]
    heard = _in_order(sender for old in beside for sender in topology.incoming(old))
    hear = _in_order(receiver for old in beside for sender, receiver in topology.edges if sender == old)
    edges = [*topology.edges, *((sender, node) for sender in heard), *((node, receiver) for receiver in hear)]
    schedule = [(*speakers, node) if beside[0] in speakers else speakers for speakers in topology.schedule]
    position = Position(layer, len(beside) + 1)
    like = beside[(len(beside) - 1) // 2]  # a layer that doubles has one clone of each of its nodes
    return Growth(_made(topology, {node: position}, edges, schedule), {node: None}, like={node: like})


def deepen(topology: Topology, width: int = 1, *, relay: bool = True) -> Growth:
    """A new layer of `width` nodes just before the output.

    Each hears whoever the output heard in the last hidden layer; the output hears the new layer in its place, and goes
    on hearing earlier layers where it did. Raises TopologyError for a width without nodes, or one that could not relay
    all that the output hears (with `relay` False that is allowed, and nobody relays).
    """
    layers = _layers(topology)
    output = topology.output
    last = [node for node in topology.incoming(output) if len(layers) > 1 and node in layers[-2]]
    if width < 1:
        raise TopologyError(f"a new layer has 1 node or more, not {width}")
    if relay and width < len(last):
        raise TopologyError(
            f"a layer of {width} cannot pass on what {len(last)} nodes say to the output of {topology} "
            f"(accepted: {len(last)} nodes or more, or a layer that speaks at once)"
        )
    new = _free_ids(topology, width)
    replaced = dict(zip(last, new, strict=False))
    edges: list[Edge] = []
    for sender, receiver in topology.edges:
        if receiver != output or sender not in last:
            edges.append((sender, receiver))
        elif sender in replaced:
            edges.append((replaced[sender], receiver))
    edges += [(sender, node) for node in new for sender in last]
    edges += [(node, output) for node in new[len(replaced) :]]
    depth = len(layers)
    added = {node: Position(depth, place) for place, node in enumerate(new, start=1)}
    schedule = [*topology.schedule[:-1], tuple(new), topology.schedule[-1]]
    like = {node: last[place % len(last)] if last else output for place, node in enumerate(new)}
    relays = {node: last[place] if relay and place < len(last) else None for place, node in enumerate(new)}
    return Growth(_made(topology, added, edges, schedule), relays, like=like)


def connect(topology: Topology, edges: Iterable[Edge]) -> Growth:
    """Edges more, in the slots after those that are there. Raises TopologyError for one that carries nothing."""
    added = tuple(edges)
    return Growth(_made(topology, {}, [*topology.edges, *added], topology.schedule), edges=added)


def disconnect(topology: Topology, edge: Edge) -> Topology:
    """Without one edge. Raises TopologyError where it is not there, or where a node would then be of no use."""
    if edge not in topology.edges:
        raise TopologyError(f"topology {topology} has no edge {edge[0]!r} → {edge[1]!r}")
    return _made(topology, {}, [each for each in topology.edges if each != edge], topology.schedule)


def prune(topology: Topology, node: str, relays: str | None = None) -> Topology:
    """Without one node; where it `relays` another one, that one is heard in its place, in its slot.

    Raises TopologyError for the output, or where another node would then be of no use.
    """
    topology.index(node)
    if node == topology.output:
        raise TopologyError(f"{node!r} is the output of {topology} and cannot be pruned")
    edges: list[Edge] = []
    for sender, receiver in topology.edges:
        if sender == node and relays is not None and (relays, receiver) not in topology.edges:
            edges.append((relays, receiver))
        elif node not in (sender, receiver):
            edges.append((sender, receiver))
    kept = {
        other: position
        for other, position in zip(topology.nodes, topology.positions, strict=True)
        if other != node
    }  # fmt: skip
    schedule = [tuple(speaker for speaker in speakers if speaker != node) for speakers in topology.schedule]
    return _assembled(kept, edges, [speakers for speakers in schedule if speakers], topology.output)


def restrict(topology: Topology, edges: Iterable[Edge]) -> Topology:
    """Only these of its edges, and only the nodes from which the output can still be reached along them.

    Nodes keep ids, order and positions, so that a network on `topology` can speak on the part. Raises TopologyError for
    an edge that is not there.
    """
    kept = list(edges)
    for edge in kept:
        if edge not in topology.edges:
            raise TopologyError(f"topology {topology} has no edge {edge[0]!r} → {edge[1]!r}")
    useful = {topology.output}
    for speakers in reversed(_layers(topology)[:-1]):
        useful |= {sender for sender, receiver in kept if sender in speakers and receiver in useful}
    positions = {
        node: position
        for node, position in zip(topology.nodes, topology.positions, strict=True)
        if node in useful
    }  # fmt: skip
    schedule = [[speaker for speaker in speakers if speaker in useful] for speakers in topology.schedule]
    heard = [edge for edge in topology.edges if edge in set(kept) and edge[1] in useful]
    return _assembled(positions, heard, [speakers for speakers in schedule if speakers], topology.output)


def renumbered(topology: Topology) -> Topology:
    """The same graph as if it had been written down anew: nodes `node_0`, … by layer, each placed by its longest path.

    A graph that a text spells is the topology of that text. Raises TopologyError for a graph that goes in rounds.
    """
    _layers(topology)
    placed = Topology.from_edges(topology.nodes, topology.edges, topology.output)
    names = {node: f"node_{number}" for number, node in enumerate(node for layer in placed.layers for node in layer)}
    edges = sorted(
        ((names[sender], names[receiver]) for sender, receiver in topology.edges),
        key=lambda edge: (int(edge[1][5:]), int(edge[0][5:])),
    )
    plain = Topology.from_edges(names.values(), edges, names[topology.output])
    return replace(plain, name=_spelling(plain) or plain.name)


def grown(topology: Topology, to: str | Topology, *, relay: bool = True) -> Growth:
    """All operators that lead from `topology` to the layers and edges of `to`: deepen first, then widen, then connect.

    In that order every new layer can relay. Raises TopologyError where `to` lacks something that is there.
    """
    target = Topology.parse(to) if isinstance(to, str) else to
    hidden, wanted = _layers(topology)[:-1], _layers(target)[:-1]
    what = f"topology {topology} cannot be grown to {target}"
    if len(wanted) < len(hidden):
        raise TopologyError(f"{what}: it has {len(hidden)} hidden layers, and that only {len(wanted)}")
    for place, (here, there) in enumerate(zip(hidden, wanted, strict=False), start=1):
        if len(there) < len(here):
            raise TopologyError(f"{what}: hidden layer {place} has {len(here)} nodes, and only {len(there)} there")
    growth = Growth(topology)
    width = len(hidden[-1]) if hidden else 1
    for layer in wanted[len(hidden) :]:
        first = width if relay else min(width, len(layer))
        if first > len(layer):
            raise TopologyError(f"{what} by relays: a new layer of {len(layer)} cannot pass on what {width} nodes say")
        growth = growth.then(deepen(growth.topology, first, relay=relay))
        width = first
    for place, layer in enumerate(wanted, start=1):
        for _ in range(len(layer) - len(_layers(growth.topology)[place - 1])):
            growth = growth.then(widen(growth.topology, place))
    at = {
        there: here
        for theirs, ours in zip(_layers(target), _layers(growth.topology), strict=True)
        for there, here in zip(theirs, ours, strict=True)
    }
    edges = [(at[sender], at[receiver]) for sender, receiver in target.edges]
    extra = [edge for edge in growth.topology.edges if edge not in edges]
    if extra:
        raise TopologyError(f"{what}, which has no edge {extra[0][0]!r} → {extra[0][1]!r}: disconnect it first")
    missing = [edge for edge in edges if edge not in growth.topology.edges]
    return growth.then(connect(growth.topology, missing)) if missing else growth


# ---------------------------------------------------------------------- how a topology is put together again


def _layers(topology: Topology) -> tuple[tuple[str, ...], ...]:
    """The layers, the output last. Raises TopologyError for a graph whose nodes speak more than once."""
    if topology.calls != topology.num_nodes:
        raise TopologyError(f"topology {topology} goes in rounds; only networks whose nodes speak once can grow")
    return topology.layers


def _in_order(nodes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(nodes))


def _free_ids(topology: Topology, count: int) -> list[str]:
    """Ids that no node has: `node_N` from the number of nodes on."""
    free, number = list[str](), topology.num_nodes
    while len(free) < count:
        if f"node_{number}" not in topology.nodes:
            free.append(f"node_{number}")
        number += 1
    return free


def _made(
    topology: Topology, added: Mapping[str, Position], edges: Sequence[Edge], schedule: Sequence[Sequence[str]]
) -> Topology:
    """`topology` with nodes more, these edges and this schedule."""
    positions = dict(zip(topology.nodes, topology.positions, strict=True))
    return _assembled({**positions, **added}, edges, schedule, topology.output)


def _assembled(
    positions: Mapping[str, Position], edges: Sequence[Edge], schedule: Sequence[Sequence[str]], output: str
) -> Topology:
    """The topology, with the output at the last layer, and called as one that is written as a text where it is one."""
    placed = {**positions, output: replace(positions[output], layer=len(schedule))}
    speakers = tuple(map(tuple, schedule))
    whole = Topology(tuple(placed), tuple(edges), speakers, output, tuple(placed.values()))
    return replace(whole, name=_spelling(whole))


def _spelling(topology: Topology) -> str:
    """What `Topology.parse` makes a network of the same shape of; empty where nothing does."""
    widths = [len(layer) for layer in topology.layers]
    place = {node: (depth, i) for depth, layer in enumerate(topology.layers) for i, node in enumerate(layer)}
    shape = {(place[sender], place[receiver]) for sender, receiver in topology.edges}
    for connectivity in ("previous", "all", *(f"sparse{fan_in}" for fan_in in range(1, max(widths)))):
        other = Topology.layered(widths, connectivity)
        where = {node: (depth, i) for depth, layer in enumerate(other.layers) for i, node in enumerate(layer)}
        if shape == {(where[sender], where[receiver]) for sender, receiver in other.edges}:
            return other.name
    return ""
