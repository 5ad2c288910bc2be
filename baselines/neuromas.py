"""A network of language models, after joint training (`neuromas:1-1-1`) and before it (`untrained:1-1-1`).

`neuromas:TOPOLOGY` trains with the options of the comparison; any of them can be set for this method alone, and so can
the options of its algorithm: `neuromas:2-2-1:learning_rate=2e-3:updates=120`. It is judged as the checkpoint that was
best on the validation split, decoded greedily. `neuromas:1-1-1:run=FOLDER` is the network of a run that was trained
before. TOPOLOGY may be a .json file, such as `neuromas search` writes: `neuromas:runs/search/topology.json`. The
untrained network is the frozen backbone at every node: what is left of a network's gain when nothing is
learnt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import TopologyError, UsageError
from neuromas_env.topology import Topology

from .base import Context, Method, MethodName, System
from .training import GRAPH, TrainedMethod, open_run, run_topology

if TYPE_CHECKING:
    from algorithms import TrainConfig


def named_topology(spec: MethodName) -> Topology:
    """The topology that a method's name holds. Raises UsageError naming the method where it is none.

    A run may have been trained on a graph that no name spells, or one that was grown and has other node ids: there the
    run says what it is.
    """
    if "run" in spec.options:
        topology = run_topology(open_run(Path(spec.options["run"])))
        if spec.argument in (GRAPH, topology.name):
            return topology
    from algorithms.resolve import resolve_topology

    try:
        return resolve_topology(spec.argument or "")
    except TopologyError as error:
        raise UsageError(f"method {str(spec)!r}: {error}") from None


class TrainedNetwork(TrainedMethod):
    name = "neuromas"
    summary = "a network of nodes, each with its own adapter, trained jointly by the reward of the answer"
    argument = "topology"

    def graph(self) -> Topology:
        return named_topology(self.spec)

    @classmethod
    def example(cls) -> str:
        return "neuromas:1-1-1"

    def own_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        named = self.spec.argument or ""
        return dataclasses.replace(training, topology=named if named.endswith(".json") else str(self.topology))


class UntrainedNetwork(Method):
    name = "untrained"
    summary = "the same network before any training: the frozen backbone at every node"
    argument = "topology"

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.topology: Topology = named_topology(spec)

    @classmethod
    def example(cls) -> str:
        return "untrained:1-1-1"

    @property
    def deterministic(self) -> bool:
        return True

    def identity(self, context: Context) -> Mapping[str, Any]:
        from_file = (self.spec.argument or "").endswith(".json")
        return {"topology": self.topology.to_json()} if from_file else {}

    def prepare(self, context: Context) -> System:
        from algorithms import Network

        network = Network.create(self.topology, backbone=context.backbone, rank=0)
        return System(network.topology, network)
