"""A network of language models, after joint training (`neuromas:1-1-1`) and before it (`untrained:1-1-1`).

`neuromas:TOPOLOGY` trains with the options of the comparison; any of them can be set for this method alone, and so can
the options of its algorithm: `neuromas:2-2-1:learning_rate=2e-3:updates=120`. It is judged as the checkpoint that was
best on the validation split, decoded greedily. The untrained network is the frozen backbone at every node: what is
left of a network's gain when nothing is learnt. A run folder stands for the network trained in it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuromas_env.errors import CheckpointError, TopologyError, UsageError
from neuromas_env.topology import Topology

from .base import Context, Method, MethodName, System
from .training import TrainedMethod, trained_system

if TYPE_CHECKING:
    from algorithms import TrainConfig


def read_topology(spec: MethodName) -> Topology:
    """The topology that a method's name holds. Raises UsageError naming the method where it is none."""
    try:
        return Topology.parse(spec.argument or "")
    except TopologyError as error:
        raise UsageError(f"method {str(spec)!r}: {error}") from None


class TrainedNetwork(TrainedMethod):
    name = "neuromas"
    summary = "a network of nodes, each with its own adapter, trained jointly by the reward of the answer"
    argument = "topology"

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.topology = read_topology(spec)

    @classmethod
    def example(cls) -> str:
        return "neuromas:1-1-1"

    def own_config(self, training: TrainConfig, compared: TrainConfig) -> TrainConfig:
        return dataclasses.replace(training, topology=str(self.topology))


class UntrainedNetwork(Method):
    name = "untrained"
    summary = "the same network before any training: the frozen backbone at every node"
    argument = "topology"

    def __init__(self, spec: MethodName) -> None:
        super().__init__(spec)
        self.topology: Topology = read_topology(spec)

    @classmethod
    def example(cls) -> str:
        return "untrained:1-1-1"

    @property
    def deterministic(self) -> bool:
        return True

    def prepare(self, context: Context) -> System:
        from algorithms import Network

        network = Network.create(self.topology, backbone=context.backbone, rank=0)
        return System(network.topology, network)


class RunFolder(Method):
    """The network in a run folder, as `neuromas evaluate RUN` judges it. It is not trained any further."""

    name = "run"
    summary = "the network trained in a run folder"
    trained = True

    def __init__(self, folder: Path) -> None:
        from algorithms.run import Run

        self.run = Run(folder)
        self.checkpoint = self.run.checkpoint("best")
        self.config = self.run.config
        self.topology = self._topology()
        super().__init__(MethodName(folder.as_posix()))  # it is called as it is typed

    @property
    def deterministic(self) -> bool:
        return True

    def identity(self, context: Context) -> Mapping[str, Any]:
        return {"run": str(self.run.folder.resolve()), "checkpoint": self.checkpoint.update}

    def _topology(self) -> Topology:
        """The run's topology. Raises CheckpointError where its checkpoint was made for another one."""
        run = _topology_in(self.run.folder / "topology.json")
        saved = _topology_in(self.checkpoint.path / "network.json")
        if run != saved:
            raise CheckpointError(f"{self.checkpoint.path} is of topology {saved}, but {self.run.folder} trains {run}")
        return run

    def prepare(self, context: Context) -> System:
        return trained_system(self.run, context.backbone)


def _topology_in(path: Path) -> Topology:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Topology.from_json(data.get("topology", data))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a topology: {error}") from None
