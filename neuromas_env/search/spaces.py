"""What can be searched: how an action becomes a topology.

    edges       which edges of a base network are there: one bit an edge. Nodes speak in the order of the base, so every
                mask is acyclic; nodes whose words no longer reach the output are left out, and so make no call
    shape       rounds (hidden layers), width, and fan-in, or these layer by layer
    templates   one of K given topologies

A space turns a whole action into a topology (`build`). Where it can be built a layer at a time, `step_space` holds one
step's actions and `completed` reads them; each of them can end the network, which is then wired to the output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from ..errors import UnknownNameError, UsageError
from ..growth import restrict
from ..topology import Topology


class SearchSpace(ABC):
    """The topologies that a search may choose from. `largest` is one that makes the most calls."""

    name: ClassVar[str]
    action_space: spaces.MultiBinary | spaces.MultiDiscrete | spaces.Discrete
    """A whole topology in one action."""
    step_space: spaces.MultiBinary | spaces.MultiDiscrete | None = None
    """One layer in one action; None where a topology is chosen whole."""
    steps: int = 1
    """The most layers that are chosen."""
    largest: Topology

    @abstractmethod
    def build(self, action: Any) -> Topology:
        """The topology of one whole action."""

    def completed(self, choices: Sequence[np.ndarray]) -> Topology | None:
        """The topology of layers chosen so far, each an action of `step_space`; None where more are to come."""
        raise UsageError(f"the space {self.name!r} is not built layer by layer (accepted: edges, shape)")

    def calls(self, choices: Sequence[np.ndarray]) -> int:
        """The model calls of the layers chosen so far, at most."""
        return 0

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `space_from_json` reads back to an equal space."""


class EdgeSpace(SearchSpace):
    """Sub-networks of `base`. Raises UsageError for a base without edges, or one that goes in rounds."""

    name = "edges"

    def __init__(self, base: str | Topology) -> None:
        self.base = self.largest = Topology.parse(base) if isinstance(base, str) else base
        if self.base.calls != self.base.num_nodes:
            raise UsageError(f"the base {self.base} goes in rounds; its nodes have no fixed order to search edges in")
        if not self.base.edges:
            raise UsageError(f"the space of edges is empty: the base {self.base} has none (accepted: 1-1-1/all, say)")
        self.action_space = spaces.MultiBinary(len(self.base.edges))
        self.steps = len(self.base.layers) - 1
        self._heard = [[edge for edge in self.base.edges if edge[1] in layer] for layer in self.base.layers[1:]]
        self.step_space = spaces.MultiBinary(max(map(len, self._heard)) + 1)

    def build(self, action: Any) -> Topology:
        bits = np.asarray(action).astype(bool)
        return restrict(self.base, [edge for edge, on in zip(self.base.edges, bits, strict=True) if on])

    def completed(self, choices: Sequence[np.ndarray]) -> Topology | None:
        """Each choice says whom the nodes of the next layer hear; its last bit makes that layer the output instead."""
        there: set[str] = set()
        edges = []
        for number, choice in enumerate(choices):
            there.update(self.base.layers[number])
            last = bool(choice[-1]) or number == self.steps - 1
            heard = self._heard[-1 if last else number]
            edges += [edge for edge, on in zip(heard, choice, strict=False) if on and edge[0] in there]
            if last:
                return restrict(self.base, edges)
        return None

    def calls(self, choices: Sequence[np.ndarray]) -> int:
        return sum(map(len, self.base.layers[: len(choices)]))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "base": self.base.to_json()}


class ShapeSpace(SearchSpace):
    """Layered networks of up to `rounds` hidden layers of up to `width` nodes that hear 1 to `width` of the layer
    before. Raises UsageError where either is below 1."""

    name = "shape"

    def __init__(self, width: int = 3, rounds: int = 3) -> None:
        if min(width, rounds) < 1:
            raise UsageError(f"the space of shapes is empty: width {width}, rounds {rounds} (accepted: 1 or more each)")
        self.width, self.rounds = width, rounds
        self.steps = rounds
        self.action_space = spaces.MultiDiscrete([rounds + 1, width, width])
        self.step_space = spaces.MultiDiscrete([width + 1, width])
        self.largest = Topology.layered([width] * rounds + [1])

    def build(self, action: Any) -> Topology:
        """Rounds from 0, width − 1, fan-in − 1."""
        rounds, width, fan_in = (int(choice) for choice in action)
        return self._layered([width + 1] * rounds, [fan_in + 1] * rounds)

    def completed(self, choices: Sequence[np.ndarray]) -> Topology | None:
        """Each choice is the width of the next layer, 0 for none, and its fan-in − 1."""
        widths, fan_ins = list[int](), list[int]()
        for width, fan_in in choices:
            if width == 0 or len(widths) == self.rounds:
                return self._layered(widths, fan_ins)
            widths.append(int(width))
            fan_ins.append(int(fan_in) + 1)
        return self._layered(widths, fan_ins) if len(widths) == self.rounds else None

    def calls(self, choices: Sequence[np.ndarray]) -> int:
        return sum(int(width) for width, _ in choices)

    def _layered(self, widths: Sequence[int], fan_ins: Sequence[int]) -> Topology:
        whole = [*widths, 1]
        before = [1, *widths]
        connects = ["previous" if fan_in >= wide else f"sparse{fan_in}"
                    for fan_in, wide in zip([*fan_ins, before[-1]], before, strict=True)]  # fmt: skip
        if len(set(connects[1:-1])) <= 1:  # every hidden layer alike: a network that a text spells
            return Topology.layered(whole, connects[1] if len(whole) > 2 else "previous")
        made = [Topology.layered(whole, connect) for connect in connects]
        layers = made[0].layers
        edges = [edge for depth, each in enumerate(made) for edge in each.edges if edge[1] in layers[depth]]
        return Topology.from_edges(made[0].nodes, edges, made[0].output)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "width": self.width, "rounds": self.rounds}


class TemplateSpace(SearchSpace):
    """One of `topologies`. Raises UsageError where there is none, or the same one twice."""

    name = "templates"

    def __init__(self, topologies: Sequence[str | Topology]) -> None:
        self.topologies = [Topology.parse(each) if isinstance(each, str) else each for each in topologies]
        if not self.topologies:
            raise UsageError("the space of templates is empty: give it topologies, such as 1,1-1-1,2-2-1")
        for place, topology in enumerate(self.topologies):
            if topology in self.topologies[:place]:
                raise UsageError(f"the template {topology} is given twice")
        self.action_space = spaces.Discrete(len(self.topologies))
        self.largest = max(self.topologies, key=lambda topology: topology.calls)

    def build(self, action: Any) -> Topology:
        return self.topologies[int(action)]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "topologies": [topology.to_json() for topology in self.topologies]}


SPACES = ("edges", "shape", "templates", "growth")


def space_from_json(data: Mapping[str, Any]) -> SearchSpace:
    """The space that `to_json` wrote. Raises UnknownNameError for another name."""
    if data["name"] == EdgeSpace.name:
        return EdgeSpace(Topology.from_json(data["base"]))
    if data["name"] == ShapeSpace.name:
        return ShapeSpace(data["width"], data["rounds"])
    if data["name"] == TemplateSpace.name:
        return TemplateSpace([Topology.from_json(each) for each in data["topologies"]])
    raise UnknownNameError("search space", data["name"], SPACES[:-1])
