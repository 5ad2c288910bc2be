"""What a search leaves: a controller that chooses topologies, saved as plain JSON (and tensors) and loaded again."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from algorithms.files import write_json
from neuromas_env.errors import CheckpointError

from .coding import Coding

if TYPE_CHECKING:
    from neuromas_env.topology import Topology

    from .problem import TopologyProblem

FILE, FORMAT = "controller.json", "neuromas-controller"


class Controller(ABC):
    """Whoever chooses. With a generator it draws as it did in the search; without one it does what it holds best."""

    @abstractmethod
    def choose(
        self, problem: TopologyProblem, question_D: np.ndarray, rng: np.random.Generator | None = None
    ) -> Topology:
        """The topology for a question with this embedding."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write it to a folder that is there."""


class PlanController(Controller):
    """One plan [F] for all questions, and the probabilities [K] with which its choices are drawn."""

    def __init__(self, sizes_F: Sequence[int], plan_F: np.ndarray, probabilities_K: np.ndarray) -> None:
        self.coding = Coding(np.asarray(sizes_F))
        self.plan_F, self.probabilities_K = np.asarray(plan_F, int), np.asarray(probabilities_K, float)

    def choose(
        self, problem: TopologyProblem, question_D: np.ndarray, rng: np.random.Generator | None = None
    ) -> Topology:
        return problem.build(self.plan_F if rng is None else self.coding.draw(rng, self.probabilities_K, 1)[0])

    def save(self, folder: Path) -> None:
        values: dict[str, Any] = {"kind": "plan", "sizes": self.coding.sizes_F.tolist()}
        values |= {"plan": self.plan_F.tolist(), "probabilities": self.probabilities_K.tolist()}
        write_json(folder / FILE, {"format": FORMAT, **values})


def load_controller(folder: Path) -> Controller:
    """The controller saved in `folder`. Raises CheckpointError where there is none that can be read."""
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}, not {FORMAT!r}")
        if data["kind"] == "plan":
            return PlanController(data["sizes"], np.array(data["plan"]), np.array(data["probabilities"]))
        from .sb3 import PolicyController

        return PolicyController.load(folder, data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} holds no controller that can be read: {error}") from None
