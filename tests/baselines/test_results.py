"""Intervals that cover, rows in the agreed schema."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from baselines.results import (
    Outcomes,
    Row,
    accuracy_interval,
    aggregate,
    clustered_interval,
    paired_difference,
    read_results,
    wilson_interval,
    write_results,
)

KEYS = [
    "method", "task", "split", "seed", "questions", "accuracy", "accuracy_low", "accuracy_high", "unparsed", "calls",
    "prompt_tokens", "sampled_tokens", "trainable_parameters", "seconds",
]  # fmt: skip


def row(seed: int | None, correct_Q: np.ndarray, **extra: object) -> Row:
    low, high = wilson_interval(int(correct_Q.sum()), len(correct_Q))
    mean = float(correct_Q.mean())
    return Row("direct", "chain", "test", seed, len(correct_Q), mean, low, high, 0.1, 1.0, 9.0, 3.0, 0, 0.5, extra)


def outcomes(correct_Q: np.ndarray) -> Outcomes:
    return Outcomes(correct_Q, correct_Q, ~correct_Q, ~correct_Q, np.zeros_like(correct_Q))


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),  # the published examples of Newcombe (1998), table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(successes: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(successes, total) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson_interval(total - successes, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_the_aggregate_interval_covers_the_mean_over_seeds_and_questions() -> None:
    """Six seeds of uneven quality answer 150 questions of uneven difficulty: 95 % means about 95 %."""
    rng = np.random.default_rng(7)
    covered, naive = 0, 0
    for _ in range(200):
        quality_S, difficulty_Q = rng.normal(0, 0.08, 6), rng.normal(0, 0.15, 150)
        correct_SQ = rng.random((6, 150)) < np.clip(0.5 + quality_S[:, None] + difficulty_Q, 0, 1)
        low, high = clustered_interval(correct_SQ, resamples=400)
        covered += low <= 0.5 <= high
        low, high = wilson_interval(int(correct_SQ.sum()), correct_SQ.size)
        naive += low <= 0.5 <= high
    assert covered >= 180
    assert naive < 150  # taking all 900 answers as independent would promise far too much


def test_equal_seeds_add_nothing() -> None:
    correct_Q = np.arange(200) % 3 == 0
    assert accuracy_interval(np.stack([correct_Q] * 5)) == wilson_interval(int(correct_Q.sum()), 200)


def test_an_accuracy_of_one_keeps_its_doubt() -> None:
    low, high = accuracy_interval(np.ones((3, 50), bool))
    assert low == pytest.approx(wilson_interval(50, 50)[0])
    assert high == 1.0


def test_a_paired_difference_uses_the_pairing() -> None:
    rng = np.random.default_rng(0)
    first_Q = rng.random(400) < 0.5
    second_Q = first_Q.copy()
    second_Q[np.flatnonzero(first_Q)[:20]] = False
    mean, low, high = paired_difference(first_Q[None], second_Q[None])
    assert mean == pytest.approx(0.05)
    assert 0 < low < mean < high < 0.08  # unpaired, an interval of ±7 points would hide it


def test_rows_have_the_agreed_keys_and_survive_the_file(tmp_path: Path) -> None:
    good_Q, bad_Q = np.arange(100) < 60, np.arange(100) < 40
    rows = [row(0, good_Q, samples=3), row(1, bad_Q, samples=4)]
    rows.append(aggregate(rows, [outcomes(good_Q), outcomes(bad_Q)]))
    write_results(tmp_path / "made" / "results.json", rows)
    data = json.loads((tmp_path / "made" / "results.json").read_text())
    assert list(data) == ["rows"]
    for each in data["rows"]:
        assert list(each)[: len(KEYS)] == KEYS
    last = data["rows"][-1]
    assert (last["seed"], last["questions"], last["accuracy"], last["samples"]) == (None, 100, 0.5, 3.5)
    assert last["accuracy_low"] < 0.4 < 0.6 < last["accuracy_high"]  # the spread between the two seeds shows
    assert read_results(tmp_path / "made" / "results.json") == rows


def test_outcomes_survive_json() -> None:
    before = outcomes(np.array([True, False, True]))
    after = Outcomes.from_json(json.loads(json.dumps(before.to_json())))
    assert after.correct_Q.tolist() == [True, False, True]
    assert after.unparsed_Q.tolist() == [False, True, False]
