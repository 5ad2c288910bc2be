"""The optimisers by name, and what each of them can search."""

from __future__ import annotations

from math import log

from gymnasium.spaces import Discrete

from neuromas_env.errors import UnknownNameError, UsageError

from .controller import Controller
from .plans import PLAN_SEARCHES
from .problem import Problem

STEPWISE = ("ppo", "a2c", "dqn")
"""Those of stable-baselines3, which act step by step and see the question."""
ALGORITHMS = (*STEPWISE, "reinforce", "ridge", "random")

BEST = {
    "edges": {400: "ridge", 800: "ridge", 3200: "reinforce"},
    "shape": {400: "reinforce", 800: "reinforce", 3200: "reinforce"},
    "templates": {400: "ridge", 800: "ridge", 3200: "ridge"},
    "growth": {24: "ppo", 48: "ppo", 96: "a2c"},
}
"""What attained most on planted problems, by space and evaluations (docs/results/search.md)."""


def best_known(space: str, budget: int) -> str:
    """The default: what attained most on planted problems, at the budget nearest to this one by ratio."""
    measured = BEST[space]
    return measured[min(measured, key=lambda evaluations: abs(log(evaluations / max(budget, 1))))]


def check_search(algorithm: str, problem: Problem) -> None:
    """Raise UnknownNameError for an unknown algorithm, UsageError for one that cannot take the problem's actions, build
    layer by layer, or learn anything within the budget."""
    if algorithm not in ALGORITHMS:
        raise UnknownNameError("search algorithm", algorithm, ALGORITHMS)
    env = problem.make_env()
    if algorithm == "dqn" and not isinstance(env.action_space, Discrete):
        raise UsageError("dqn makes one choice of a few, not many at once (accepted: the spaces templates and growth)")
    if algorithm not in STEPWISE and getattr(env, "layerwise", False):
        raise UsageError(f"{algorithm} chooses whole topologies, not layer by layer (accepted: ppo, a2c)")
    fewest = least(algorithm, problem)
    if problem.ledger.budget < fewest:
        raise UsageError(
            f"a budget of {problem.ledger.budget} evaluations is impossible for {algorithm} here, which learns nothing "
            f"before {fewest} (accepted: {fewest} or more)"
        )


def least(algorithm: str, problem: Problem) -> int:
    """The evaluations after which an algorithm has learnt something for the first time."""
    if algorithm in STEPWISE:
        from .sb3 import rollout_cost

        return rollout_cost(algorithm, problem.ledger.budget, problem) + problem.cost
    if algorithm == "reinforce":
        from ..gptswarm import BATCH

        return BATCH * problem.cost
    return problem.cost * (2 if algorithm == "ridge" else 1)


def search(algorithm: str, problem: Problem, seed: int) -> Controller:
    """The controller that an algorithm finds within the budget of `problem`. Raises what `check_search` raises."""
    check_search(algorithm, problem)
    if algorithm in PLAN_SEARCHES:
        return PLAN_SEARCHES[algorithm](problem, seed)
    from .sb3 import sb3_search

    return sb3_search(algorithm, problem, seed)
