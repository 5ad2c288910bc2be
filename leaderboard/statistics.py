"""What can be said of the systems on a board: intervals, ranks, paired differences, and what is too small to see.

Every system on a board answered the same Q questions, each with its own S seeds. A hard question is hard for all, and a
badly trained seed is bad on every question, so uncertainty is that of drawing questions anew for all systems at once,
and seeds anew for each (the "pigeonhole" bootstrap, Owen 2007, as in `baselines/results.py`). A system is the mean of
its seeds: never its best one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from baselines.statistics import holm

DRAWS = 2000
LOW, HIGH = 0.025, 0.975
ENOUGH_BEYOND = 10
SMALLEST_P = 1e-12
POWER = 1.959964 + 0.841621
"""Standard errors of a difference that a two-sided test at 5 % finds four times in five."""


@dataclass(frozen=True)
class Difference:
    """One system less another on the same questions, as shares, with its 95 % interval."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided, before any correction."""
    detectable: float
    """The least true difference that would be found four times in five, with these questions and seeds."""
    wins: int
    losses: int
    """Questions on which the first is right more often, and less often."""


@dataclass(frozen=True)
class Standing:
    """One system among the others of a board."""

    accuracy: float
    low: float
    high: float
    rank: int
    """1 for the best; equals share the better rank."""
    rank_low: int
    rank_high: int
    """The 95 % interval of its rank."""
    quartile_mean: float
    """The interquartile mean over seeds (Agarwal et al., 2021)."""
    behind: float
    """How far behind the best one, as a share."""
    p_behind: float
    """Of the difference to the best one, corrected by Holm over the board; 1 for the best itself."""


def interquartile_mean(values: Sequence[float]) -> float:
    """The mean of the middle half: a quarter of the values, rounded down, is left out at either end."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    return float(np.mean(middle))


@lru_cache(maxsize=8)
def question_weights(questions: int, draws: int = DRAWS) -> np.ndarray:
    """How often each question is drawn, as shares, [B, Q]; the same for every system."""
    drawn = np.random.default_rng(0).multinomial(questions, np.full(questions, 1 / questions), size=draws)
    shares: np.ndarray = drawn / questions
    return shares


def drawn_means(values_SQ: np.ndarray, weights_BQ: np.ndarray, seed: int) -> np.ndarray:
    """Bootstrap draws of a system's accuracy, [B]. `seed` makes its draws of seeds its own.

    The spread between S seeds is widened by sqrt(S / (S − 1)), because a resample of S shows too little of it.
    """
    means_BS: np.ndarray = weights_BQ @ values_SQ.T
    S = values_SQ.shape[0]
    if S == 1 or (values_SQ == values_SQ[0]).all():
        return means_BS[:, 0]
    rng = np.random.default_rng([1, seed])
    weights_BS = rng.multinomial(S, np.full(S, 1 / S), size=len(weights_BQ)) / S
    seed_effect_S = values_SQ.mean(axis=1) - values_SQ.mean()
    widen = math.sqrt(S / (S - 1)) - 1
    draws_B: np.ndarray = (weights_BS * means_BS).sum(axis=1) + widen * (weights_BS @ seed_effect_S)
    return draws_B


def p_of_draws(draws_B: np.ndarray) -> float:
    """Two-sided, that zero is the true difference, by inverting the bootstrap.

    Draws cannot show a chance smaller than one of them. Where hardly any lies beyond zero the normal tail of their mean
    and spread is taken, so that Holm's correction over hundreds of systems still has something to multiply.
    """
    fewer = min(int((draws_B <= 0).sum()), int((draws_B >= 0).sum()))
    if fewer >= ENOUGH_BEYOND:
        return min(1.0, 2 * fewer / len(draws_B))
    spread = float(draws_B.std())
    tail = math.erfc(abs(float(draws_B.mean())) / spread / math.sqrt(2)) if spread else float(not draws_B.any())
    return min(1.0, max(tail, SMALLEST_P))


def paired(first_SQ: np.ndarray, second_TQ: np.ndarray, draws: int = DRAWS) -> Difference:
    """The first less the second, whose seeds may be others; paired by question."""
    if first_SQ.shape[1] != second_TQ.shape[1]:
        raise ValueError(f"{first_SQ.shape[1]} and {second_TQ.shape[1]} questions are not the same ones")
    weights_BQ = question_weights(first_SQ.shape[1], draws)
    draws_B = drawn_means(first_SQ, weights_BQ, 0) - drawn_means(second_TQ, weights_BQ, 1)
    low, high = np.quantile(draws_B, [LOW, HIGH])
    difference_Q = first_SQ.mean(axis=0) - second_TQ.mean(axis=0)
    return Difference(
        mean=float(difference_Q.mean()),
        low=float(low),
        high=float(high),
        p=p_of_draws(draws_B),
        detectable=POWER * float(draws_B.std()),
        wins=int((difference_Q > 0).sum()),
        losses=int((difference_Q < 0).sum()),
    )


def standings(scores: Sequence[np.ndarray], own: Sequence[int] = (), draws: int = DRAWS) -> list[Standing]:
    """Every system among all, in the order given. `scores` are [S, Q] each, of the same questions.

    `own` are numbers of the systems that decide their draws of seeds, so that these do not depend on the order.
    """
    if not scores:
        return []
    weights_BQ = question_weights(scores[0].shape[1], draws)
    draws_NB = np.stack(
        [
            drawn_means(values_SQ, weights_BQ, number)
            for number, values_SQ in zip(own or range(len(scores)), scores, strict=True)
        ]
    )
    accuracy_N = np.array([values_SQ.mean() for values_SQ in scores])
    low_N, high_N = np.quantile(draws_NB, [LOW, HIGH], axis=1)
    ranks_NB = _ranks(draws_NB)
    rank_low_N, rank_high_N = np.quantile(ranks_NB, [LOW, HIGH], axis=1, method="nearest")
    best = int(accuracy_N.argmax())
    others = [place for place in range(len(scores)) if place != best]
    adjusted = dict(zip(others, holm([p_of_draws(draws_NB[best] - draws_NB[o]) for o in others]), strict=True))
    return [
        Standing(
            accuracy=float(accuracy_N[place]),
            low=float(low_N[place]),
            high=float(high_N[place]),
            rank=1 + int((accuracy_N > accuracy_N[place]).sum()),
            rank_low=int(rank_low_N[place]),
            rank_high=int(rank_high_N[place]),
            quartile_mean=interquartile_mean(values_SQ.mean(axis=1).tolist()),
            behind=float(accuracy_N[best] - accuracy_N[place]),
            p_behind=adjusted.get(place, 1.0),
        )
        for place, values_SQ in enumerate(scores)
    ]


def _ranks(draws_NB: np.ndarray) -> np.ndarray:
    """The rank of every system in every draw, 1 the best, equals sharing the better rank; [N, B]."""
    falling_NB = -np.sort(-draws_NB, axis=0)
    ranks_NB = np.empty(draws_NB.shape, np.int32)
    for draw in range(draws_NB.shape[1]):
        ranks_NB[:, draw] = np.searchsorted(-falling_NB[:, draw], -draws_NB[:, draw], side="left") + 1
    return ranks_NB


def detectable(scores: Sequence[np.ndarray]) -> float | None:
    """The least true difference between neighbours on a board that would be found four times in five, the median over
    neighbours; None where there are fewer than two."""
    ordered = sorted(scores, key=lambda values_SQ: -values_SQ.mean())[:50]
    pairs = list(pairwise(ordered))
    return float(np.median([paired(a, b, 1000).detectable for a, b in pairs])) if pairs else None
