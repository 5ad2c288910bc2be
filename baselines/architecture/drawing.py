"""A drawing of the best topologies that a search found, layer by layer, each edge as dark as it is probable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neuromas_env.topology import Edge, Topology

from ..plot import FAINT, INK, NETWORK, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 4
"""How many topologies fit beside each other."""


@dataclass(frozen=True)
class Drawn:
    """One topology, the probability of its edges (1 where none is given), and the words under it."""

    topology: Topology
    caption: str
    probabilities: Mapping[Edge, float]


def draw_topologies(drawn: Sequence[Drawn], path: Path, title: str) -> None:
    """Write the picture of up to `MOST` topologies, the best first."""
    from matplotlib.figure import Figure

    shown = list(drawn[:MOST])
    deepest = max(len(each.topology.layers) for each in shown)
    height = 1.5 + 0.62 * deepest
    figure = Figure(figsize=(2.9 * max(2, len(shown)), height), facecolor="white")
    figure.text(0.03, 1 - 0.3 / height, title, fontsize=13, fontweight="bold", color=INK, va="center")
    note = "darker edges are more probable; the output is at the bottom"
    figure.text(0.03, 1 - 0.58 / height, note, fontsize=9, color=FAINT, va="center")
    share = 1 / max(2, len(shown))
    for place, each in enumerate(shown):
        axes = figure.add_axes((share * place, 0, share, 1 - 0.75 / height))
        _draw(axes, each, deepest)
    save(figure, path)


def _draw(axes: Axes, drawn: Drawn, deepest: int) -> None:
    from matplotlib.patches import FancyArrowPatch

    places = positions(drawn.topology)
    axes.set_axis_off()
    axes.set_xlim(-0.1, 1.1)
    axes.set_ylim(-deepest - 0.3, 0.7)
    for edge in drawn.topology.edges:
        start, end = places[edge[0]], places[edge[1]]
        side = 0.0 if start[1] - end[1] == 1 else 0.3 if int(start[1]) % 2 else -0.3
        axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                connectionstyle=f"arc3,rad={side}",  # an edge past a layer goes around it, by turns left and right
                arrowstyle="-|>",
                mutation_scale=10,
                shrinkA=9,
                shrinkB=10,
                linewidth=1.6,
                color=NETWORK,
                alpha=0.12 + 0.88 * drawn.probabilities.get(edge, 1.0),
            )
        )
    for node, (x, y) in places.items():
        output = node == drawn.topology.output
        axes.scatter([x], [y], s=210, color=NETWORK if output else "white", edgecolor=NETWORK, linewidth=1.6, zorder=3)
        ink = "white" if output else INK
        axes.text(x, y, node.removeprefix("node_"), ha="center", va="center", fontsize=8.5, color=ink, zorder=4)
    axes.text(0.5, -len(drawn.topology.layers) + 0.2, drawn.caption, ha="center", va="center", fontsize=9, color=INK)


def positions(topology: Topology) -> dict[str, tuple[float, float]]:
    """Where nodes stand: layers from the top down, the nodes of each spread over the width."""
    placed = {}
    for depth, layer in enumerate(topology.layers):
        for i, node in enumerate(layer):
            placed[node] = ((i + 1) / (len(layer) + 1), -float(depth))
    return placed
