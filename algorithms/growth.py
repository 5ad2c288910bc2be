"""Growing a trained network: the adapters of old nodes are carried over, what is new starts closed and opens.

    larger = grow(network, "2-2-1")                                   # says what `network` says, and can learn more
    longer = grow(network, "1-1-1-1", init="clone", opening="immediate")     # more of what its last hidden node does

Operators and what they keep stand in `neuromas_env/growth.py`; gates in `gates.py`. Any sequence of them may be
applied, and `prune` and `disconnect` take back what was grown: growing and pruning gives the same network, byte for
byte.

What is new: its adapter is *fresh* (it speaks like the backbone) or a *clone* of the node beside it, in a new layer of
the node before it. It starts closed (`opening` silent, gradual), so that the network's function is preserved, or open
(immediate). In training, `gradual` opens it over the first updates. Progressive growth is from arXiv 2605.16757, which
keeps old adapters and gives new nodes new ones; closed gates and relays are ours, after function-preserving growth of
weights (Net2Net, arXiv 1511.05641).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from neuromas_env.errors import UsageError
from neuromas_env.growth import Growth, grown
from neuromas_env.growth import disconnect as without_edge
from neuromas_env.growth import prune as without_node
from neuromas_env.topology import Edge, Topology

from .gates import Gate, Gates, Init, Opening
from .network import Network

if TYPE_CHECKING:
    from torch import Tensor


def grow(
    network: Network, to: str | Topology, *, init: Init = "fresh", opening: Opening = "gradual", seed: int = 0
) -> Network:
    """`network` grown to the topology `to`, on the same backbone; `network` itself is left alone.

    `init` is the adapter of new nodes: "fresh" or "clone"; "relay" is "fresh" for those who want to say that a new
    layer relays, as it does unless `opening` is "immediate". `seed` draws fresh adapters. Raises TopologyError where
    `to` lacks something that the network has, UsageError for what does not go together.
    """
    check(init, opening)
    closed = opening != "immediate"
    larger = extended(network, grown(network.topology, to, relay=closed), init=init, closed=closed, seed=seed)
    if not closed:
        larger.gates = larger.gates.opened(1.0)  # those of an earlier growth too
    return larger


def check(init: str, opening: str) -> None:
    """Raise UsageError where new nodes cannot start so."""
    if init == "relay" and opening == "immediate":
        raise UsageError("a new layer that opens at once relays nothing: init relay needs opening silent or gradual")


def extended(network: Network, growth: Growth, *, init: Init = "fresh", closed: bool = True, seed: int = 0) -> Network:
    """`network` after one or more operators; what is new starts closed, or speaks at once."""
    larger = like(network, growth.topology, seed)
    if network.adapters is not None and larger.adapters is not None:
        with torch.no_grad():
            larger.adapters.flat_NP[: network.topology.num_nodes] = network.adapters.flat_NP
            for node, original in growth.like.items() if init == "clone" else ():
                row_P = network.adapters.flat_NP[network.topology.index(original)]
                larger.adapters.flat_NP[growth.topology.index(node)] = row_P
    new = Gates(
        {node: Gate(relays=relays) for node, relays in growth.new.items()}, dict.fromkeys(growth.edges, 0.0)
    )  # fmt: skip
    added = new if closed else Gates()
    old = network.gates
    larger.gates = replace(old, nodes={**old.nodes, **added.nodes}, edges={**old.edges, **added.edges})
    return larger


def prune(network: Network, node: str) -> Network:
    """`network` without a node. What a relay was placed before is heard directly again.

    Raises TopologyError for the output, or where another node would then be of no use.
    """
    gate = network.gates.nodes.get(node, Gate())
    return _kept(network, without_node(network.topology, node, gate.relays), network.gates.without(node))


def disconnect(network: Network, edge: Edge) -> Network:
    """`network` without an edge. Raises TopologyError where it is not there, or where a node would be of no use."""
    edges = {other: opening for other, opening in network.gates.edges.items() if other != edge}
    return _kept(network, without_edge(network.topology, edge), replace(network.gates, edges=edges))


def _kept(network: Network, topology: Topology, gates: Gates) -> Network:
    smaller = like(network, topology)
    if network.adapters is not None and smaller.adapters is not None:
        rows = [network.topology.index(node) for node in topology.nodes]
        with torch.no_grad():
            smaller.adapters.flat_NP.copy_(network.adapters.flat_NP[rows])
    smaller.gates = gates
    return smaller


def like(network: Network, topology: Topology, seed: int = 0) -> Network:
    """A network of other nodes with adapters of the same kind, all of them fresh."""
    adapters = network.adapters
    if adapters is None:
        return Network(topology, network.backbone, None)
    lora = adapters.lora
    return Network.create(topology, network.backbone, lora.rank, lora.alpha, seed, lora.targets, lora.variant)


def carried(state: Mapping[str, Tensor], nodes: int) -> dict[str, Tensor]:
    """The optimizer state of a network grown to `nodes` nodes: that of old nodes, and that of a first step for new."""
    grown_state = {}
    for name, tensor in state.items():
        grown_state[name] = tensor.new_zeros(nodes, *tensor.shape[1:])
        grown_state[name][: len(tensor)] = tensor
    return grown_state
