"""What a search found: one topology, how sure the controller is of its edges, and what it is worth on other questions.

A controller may choose by the question. The one topology that stands for all is what it builds, without chance, for
the mean of their embeddings; the probability of an edge is the share of topologies drawn there that have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from algorithms.seeds import derive
from neuromas_env.growth import renumbered
from neuromas_env.search.env import reward
from neuromas_env.search.evaluation import Evaluation, Evaluator
from neuromas_env.task import Question
from neuromas_env.topology import Edge, Topology

from ..results import wilson_interval
from .controller import Controller
from .problem import TopologyProblem

DRAWS = 200
"""Topologies drawn from a controller to see how sure it is."""


@dataclass(frozen=True)
class Found:
    """The topology found, the probability of every edge that was drawn, and the most frequent other ones."""

    topology: Topology
    probabilities: dict[Edge, float]
    others: list[tuple[Topology, float]]
    """With the share of draws that gave each."""


def found_by(controller: Controller, problem: TopologyProblem, seed: int, most: int = 3) -> Found:
    best = controller.choose(problem, problem.typical_D)
    rng = np.random.default_rng(derive(seed, "draws"))
    drawn = Counter(controller.choose(problem, problem.typical_D, rng) for _ in range(DRAWS))
    edges = Counter(edge for topology, times in drawn.items() for edge in topology.edges for _ in range(times))
    others = [(topology, times / DRAWS) for topology, times in drawn.most_common() if topology != best]
    return Found(best, {edge: times / DRAWS for edge, times in edges.items()}, others[:most])


@dataclass(frozen=True)
class Worth:
    """The mean outcome of a topology on held-out questions: accuracy with its 95 % interval, calls, tokens, reward."""

    accuracy: float
    low: float
    high: float
    calls: float
    tokens: float
    reward: float

    @classmethod
    def of(cls, found: Sequence[Evaluation], price: float, token_budget: int) -> Worth:
        right = sum(each.score >= 1 for each in found)
        return cls(
            right / len(found),
            *wilson_interval(right, len(found)),
            float(np.mean([each.calls for each in found])),
            float(np.mean([each.tokens for each in found])),
            float(np.mean([reward(each, price, token_budget) for each in found])),
        )


def worth(problem: TopologyProblem, evaluator: Evaluator, questions: Sequence[Question], topology: Topology) -> Worth:
    """What a topology is worth on `questions`; no part of the search's budget."""
    found = evaluator(questions, [topology] * len(questions))
    return Worth.of(found, problem.price, problem.token_budget)


def topology_file(topology: Topology) -> dict[str, Any]:
    """A topology as `train`, `grow` and `compare` take it: numbered anew, unless its nodes speak more than once."""
    return (renumbered(topology) if topology.calls == topology.num_nodes else topology).to_json()
