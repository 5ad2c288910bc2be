"""The optimisers by name, and what each of them can search."""

from __future__ import annotations

from gymnasium.spaces import Discrete

from neuromas_env.errors import UnknownNameError, UsageError

from .controller import Controller
from .plans import PLAN_SEARCHES
from .problem import Problem

STEPWISE = ("ppo", "a2c", "dqn")
"""Those of stable-baselines3, which act step by step and see the question."""
ALGORITHMS = (*STEPWISE, "reinforce", "ridge", "random")

MANY = 1600
"""Evaluations from which REINFORCE finds more than ridge regression: half way between the 800 and the 3,200 at which
both were measured, by ratio."""


def best_known(space: str, budget: int) -> str:
    """The default: what attained most on planted problems with such a space and budget (docs/results/search.md)."""
    return "reinforce" if budget >= MANY else "ridge"


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
