"""Each method against the majority vote at equal sampled tokens: paired differences, and p-values that know how many
methods were tried.

All methods answer the same questions with the same seeds, so differences are taken question by question. Where the
seeds add nothing (one seed, or methods that ignore it) the test is the exact sign test on the questions that one of the
two got right and the other wrong (McNemar's). Elsewhere the p-value inverts the very bootstrap that makes the interval,
in which seeds and questions are both drawn: a test that draws or flips questions alone takes the luck of a training
seed for skill, and with five seeds that differ by ten points rejects a true null in a third of all comparisons or more,
where this one keeps to its level. Holm's step-down correction is over all methods of one table.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from .results import Outcomes, Row, clustered_means, paired_difference

VOTES = "self-consistency"
"""The method whose bare name follows the sampled tokens of the network compared with."""

RESAMPLES = 10_000
"""The smallest p-value of the bootstrap is 2 / (RESAMPLES + 1): small enough to stay so when it is multiplied."""

COLUMNS = ("against", "difference", "difference_low", "difference_high", "p", "p_holm")
"""What `with_differences` adds to an aggregate row."""


def sign_test(wins: int, losses: int) -> float:
    """The exact two-sided p-value of `wins` against `losses` under even chances."""
    total, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)


def paired_p(first_SQ: np.ndarray, second_SQ: np.ndarray) -> float:
    """The two-sided p-value that `first` and `second` are equally often right, on the same S seeds and Q questions."""
    difference_SQ = first_SQ.astype(int) - second_SQ.astype(int)
    if (difference_SQ == difference_SQ[0]).all():
        return sign_test(int((difference_SQ[0] > 0).sum()), int((difference_SQ[0] < 0).sum()))
    return bootstrap_p(difference_SQ)


def bootstrap_p(difference_SQ: np.ndarray) -> float:
    """Two-sided, by inverting the bootstrap over seeds and questions that makes the interval of a mean."""
    draws_B = clustered_means(difference_SQ, RESAMPLES)
    fewer = min(int((draws_B <= 0).sum()), int((draws_B >= 0).sum()))
    return min(1.0, 2 * (1 + fewer) / (RESAMPLES + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted by Holm (1979): the smallest times m, the next times m − 1, …, none below the one before.

    Rejecting where an adjusted value is below 0.05 rejects any true null with a chance of at most 0.05, all in all.
    """
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def with_differences(rows: Sequence[Row], outcomes: Mapping[str, Sequence[Outcomes]]) -> list[Row]:
    """`rows` of one task, in which the aggregate rows say how they compare with the votes, where there are votes.

    Networks with a silenced layer are no methods, and are left out.
    """
    correct = {name: np.stack([each.correct_Q for each in seeds]) for name, seeds in outcomes.items()}
    votes = next((row.method for row in rows if row.method.partition(":")[0] == VOTES), None)
    tested = [row.method for row in rows if row.seed is None and not row.extra.get("silenced") and row.method != votes]
    if votes is None:
        return list(rows)
    p_values = [paired_p(correct[name], correct[votes]) for name in tested]
    columns = {
        name: dict(zip(COLUMNS, (votes, *paired_difference(correct[name], correct[votes]), p, p_adjusted), strict=True))
        for name, p, p_adjusted in zip(tested, p_values, holm(p_values), strict=True)
    }
    return [
        dataclasses.replace(row, extra={**row.extra, **columns[row.method]})
        if row.seed is None and row.method in columns
        else row
        for row in rows
    ]
