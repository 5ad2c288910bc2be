"""Direct prompting: one call, told to answer at once, decoded greedily."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from neuromas_env.topology import Topology

from .base import Context, Method, System, Wording

DIRECT = "Answer directly."
"""The instruction of a direct answer; the embedded backbone knows it by exactly these words."""


class Prompted(Method):
    """One node of the frozen backbone with an instruction."""

    wordings: ClassVar[Mapping[str, Wording]]

    @property
    def deterministic(self) -> bool:
        return True

    def prepare(self, context: Context) -> System:
        from algorithms import Network

        topology = Topology.parse("1")
        network = Network.create(topology, backbone=context.backbone, rank=0)
        return System(topology, network, {topology.output: self.worded(context)["answer"]})


class Direct(Prompted):
    name = "direct"
    summary = "one call, answering at once"
    wordings = {"answer": Wording(DIRECT, DIRECT)}  # noqa: RUF012 - never written to
