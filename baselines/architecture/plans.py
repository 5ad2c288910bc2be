"""Optimisers of whole plans, which look at no question: random search, ridge regression and REINFORCE.

random      as many plans, drawn uniformly, as each can be tried times: of 400 evaluations 20 plans, 20 times each (once
            each where rewards have no noise). The best mean wins. It is the floor that a search must beat.
ridge       every evaluation is another uniform plan; a linear model of the reward in the plan's indicators is fitted to
            all of them, and each choice takes its best option. Its probabilities are those of being best under the
            model's posterior.
reinforce   GPTSwarm's, with its batch, learning rate and moving baseline (reinforce.py).
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import numpy as np

from algorithms.seeds import derive

from ..gptswarm import BATCH, LEARNING_RATE
from .controller import PlanController
from .problem import Problem

RIDGE = 1.0
"""The penalty on squared coefficients, in units of one evaluation's noise."""

POSTERIOR_DRAWS = 500
BATCHED = 40
"""Plans evaluated at once where the optimiser waits for none of them: enough for full forward passes."""


def random_search(problem: Problem, seed: int) -> PlanController:
    coding = problem.coding
    tries = isqrt(problem.ledger.left // problem.cost) if problem.noisy else 1
    plans_CF, rewards_C = uniform_plans(problem, seed, tries)
    best_F = plans_CF[int(rewards_C.argmax())]
    return PlanController(coding.sizes_F.tolist(), best_F, coding.encode(best_F[None])[0])


def ridge_search(problem: Problem, seed: int) -> PlanController:
    coding = problem.coding
    plans_BF, rewards_B = uniform_plans(problem, seed)
    mean_K, covariance_KK = ridge(coding.encode(plans_BF), rewards_B)
    rng = np.random.default_rng(derive(seed, "posterior"))
    draws_DK = rng.multivariate_normal(mean_K, covariance_KK, size=POSTERIOR_DRAWS, method="cholesky")
    best_DF = np.stack([coding.best(draw_K) for draw_K in draws_DK])
    return PlanController(coding.sizes_F.tolist(), coding.best(mean_K), coding.encode(best_DF).mean(axis=0))


def uniform_plans(problem: Problem, seed: int, tries: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Plans [C, F], drawn uniformly until the budget is spent, and the mean reward of each over `tries` times, [C]."""
    rng, coding, ledger = _rng(seed), problem.coding, problem.ledger
    plans, rewards = list[np.ndarray](), list[np.ndarray]()
    while affordable := ledger.left // (problem.cost * tries):
        drawn_CF = coding.draw(rng, coding.uniform(), min(affordable, max(1, BATCHED // tries)))
        earned_B = problem.evaluate(np.repeat(drawn_CF, tries, axis=0))
        plans.append(drawn_CF)
        rewards.append(earned_B.reshape(-1, tries).mean(axis=1))
    return np.concatenate(plans), np.concatenate(rewards)


def ridge(inputs_BK: np.ndarray, rewards_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients [K] of a ridge regression with a free intercept, and their posterior covariance [K, K]
    (Hoerl and Kennard, 1970; as the posterior under a normal prior, Bishop, 2006, equation 3.53)."""
    centred_BK = inputs_BK - inputs_BK.mean(axis=0)
    precision_KK = centred_BK.T @ centred_BK + RIDGE * np.eye(inputs_BK.shape[1])
    mean_K = np.linalg.solve(precision_KK, centred_BK.T @ (rewards_B - rewards_B.mean()))
    residual_B = rewards_B - rewards_B.mean() - centred_BK @ mean_K
    noise = max(float(residual_B.var()), 1e-12)  # rewards that are all alike still have a posterior
    return mean_K, noise * np.linalg.inv(precision_KK)


def reinforce_search(problem: Problem, seed: int) -> PlanController:
    from .reinforce import ReinforcePolicy

    rng = _rng(seed)
    policy = ReinforcePolicy(problem.coding, LEARNING_RATE)
    while problem.ledger.left >= BATCH * problem.cost:
        plans_BF = policy.draw(rng, BATCH)
        policy.learn(plans_BF, problem.evaluate(plans_BF))
    probabilities_K = policy.probabilities_K
    return PlanController(problem.coding.sizes_F.tolist(), problem.coding.likeliest(probabilities_K), probabilities_K)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, "plans"))


PlanSearch = Callable[[Problem, int], PlanController]
PLAN_SEARCHES: dict[str, PlanSearch] = {"random": random_search, "ridge": ridge_search, "reinforce": reinforce_search}
