"""Mixture of Agents (Wang et al., arXiv 2406.04692) and Self-MoA (Li et al., arXiv 2502.00674).

`moa` has dense layers: the proposers of the first layer answer, those of a later layer each write a better answer from
all answers of the layer before, and the last layer is one aggregator that does so for good. The original mixes up to 6
models in 3 layers, and 4 models in its worked example; here all nodes are one backbone, so that proposers differ by
their place and their random draws. `moa` is that example, 3 layers of 4, 4 and 1, 9 calls;
`moa:layers=2:proposers=6` is the size of the original's smaller variant (7 calls).

`self-moa` is one layer of proposers that are samples of one and the same prompt, and the aggregator; `self-moa@6` takes
6 samples, as many as the mixtures that it was compared with have models, 7 calls. It is self-consistency with a model
in the place of the vote, and so works where answers cannot be counted.

Settings: proposers at temperature 0.7, as the original. Its aggregator samples too; ours takes the likeliest answer,
so that what was put together is not one more draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from neuromas_env.node import Policy
from neuromas_env.topology import Topology

from .base import Context, MethodName, System, Wording
from .direct import DIRECT
from .self_consistency import TEMPERATURE, vote_topology
from .workflow import Node, WorkflowMethod, workflow

LAYERS, PROPOSERS = 3, 4
SAMPLES = 6
COMBINE = (
    "Above are answers to the task. Some may be wrong. Judge them critically and write one answer that is better than "
    "each of them. End with it."
)


class MixtureOfAgents(WorkflowMethod):
    name = "moa"
    summary = "layers of proposers that improve on all answers of the layer before, and one aggregator"
    options: ClassVar[Sequence[str]] = ("layers", "proposers", "temperature")
    wordings = {  # noqa: RUF012 - never written to
        "propose": Wording("Solve the task. End with the answer."),
        "combine": Wording(COMBINE),
        "aggregate": Wording(COMBINE, DIRECT),
    }

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.temperature = self.number("temperature", TEMPERATURE)
        self.topology: Topology = self.network()

    def network(self) -> Topology:
        layers = self.whole("layers", LAYERS, least=2)
        return Topology.layered([self.whole("proposers", PROPOSERS)] * (layers - 1) + [1])

    def system(self, context: Context, speak: Callable[[float], Policy] | None = None) -> System:
        worded = self.worded(context)
        proposers, *later, _ = self.topology.layers
        nodes = dict.fromkeys(proposers, Node(worded["propose"], self.temperature))
        for layer in later:
            nodes |= dict.fromkeys(layer, Node(worded["combine"], self.temperature))
        nodes[self.topology.output] = Node(worded["aggregate"])
        return workflow(self.topology, nodes, context, speak)


class SelfMoA(MixtureOfAgents):
    name = "self-moa"
    summary = "samples of one prompt, and an aggregator that makes one answer of them"
    counts = True
    options = ("temperature",)
    wordings = {  # noqa: RUF012 - never written to
        "propose": MixtureOfAgents.wordings["propose"],
        "aggregate": MixtureOfAgents.wordings["aggregate"],
    }

    @classmethod
    def example(cls) -> str:
        return "self-moa@6"

    def network(self) -> Topology:
        return vote_topology(self.spec.count or SAMPLES)
