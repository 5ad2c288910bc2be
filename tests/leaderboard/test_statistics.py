"""Statistics of a board: against brute force, other libraries, and what is planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, trim_mean

from leaderboard.statistics import (
    detectable,
    drawn_means,
    interquartile_mean,
    p_of_draws,
    paired,
    question_weights,
    standings,
)


def outcomes(share: float, seeds: int, questions: int, rng: np.random.Generator, luck: float = 0.0) -> np.ndarray:
    """Answers of seeds that are right with chances of `share`, each seed off by its luck."""
    off_S = rng.normal(0, luck, (seeds, 1))
    return (rng.random((seeds, questions)) < np.clip(share + off_S, 0, 1)).astype(float)


@pytest.mark.parametrize("count", range(1, 14))
def test_the_interquartile_mean_is_that_of_scipy(count: int) -> None:
    values = np.random.default_rng(count).random(count)
    assert interquartile_mean(values.tolist()) == pytest.approx(trim_mean(values, 0.25))


def test_one_lucky_seed_does_not_move_the_interquartile_mean() -> None:
    assert interquartile_mean([0.5, 0.5, 0.5, 0.5, 1.0]) == 0.5


def test_a_difference_is_that_of_the_means_whatever_the_seeds() -> None:
    rng = np.random.default_rng(0)
    first, second = outcomes(0.8, 3, 200, rng), outcomes(0.5, 5, 200, rng)
    made = paired(first, second)
    assert made.mean == pytest.approx(first.mean() - second.mean())
    assert made.low < made.mean < made.high
    assert made.low > 0
    assert made.p < 0.001
    back = paired(second, first)
    assert back.mean == pytest.approx(-made.mean)
    assert (back.wins, back.losses) == (made.losses, made.wins)
    with pytest.raises(ValueError, match="not the same ones"):
        paired(first, second[:, :10])


def test_pairing_by_question_narrows_the_interval() -> None:
    rng = np.random.default_rng(0)
    hard_Q = rng.random(400)
    first = (hard_Q < 0.7).astype(float)[None]
    second = np.where(rng.random(400) < 0.02, 1 - first, first)
    shuffled = second[:, rng.permutation(400)]
    narrow, wide = paired(first, second), paired(first, shuffled)
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_p_is_near_that_of_mcnemar_where_there_is_one_seed() -> None:
    rng = np.random.default_rng(0)
    for wins, losses in ((20, 10), (30, 8), (18, 12)):
        values = rng.permutation([1.0] * wins + [-1.0] * losses + [0.0] * (300 - wins - losses))
        made = paired(np.maximum(values, 0)[None], np.maximum(-values, 0)[None])
        assert (made.wins, made.losses) == (wins, losses)
        assert made.p == pytest.approx(2 * norm.sf(abs(wins - losses) / np.sqrt(wins + losses)), abs=0.03)


def test_a_tail_that_no_draw_reached_is_the_normal_one() -> None:
    draws_B = np.random.default_rng(0).normal(5, 1, 2000)
    assert p_of_draws(draws_B) == pytest.approx(2 * norm.sf(5), rel=0.5)
    assert p_of_draws(-draws_B) == p_of_draws(draws_B)
    assert p_of_draws(np.zeros(100)) == 1.0
    assert p_of_draws(np.full(100, 0.1)) < 1e-9


def test_equal_systems_are_rarely_told_apart_though_their_seeds_differ_by_luck() -> None:
    """The share of true nulls that are rejected stays near the level, where a test over questions alone fails."""
    rng = np.random.default_rng(1)
    rejected = naive = 0
    for _ in range(200):
        first, second = outcomes(0.6, 5, 100, rng, luck=0.08), outcomes(0.6, 5, 100, rng, luck=0.08)
        rejected += paired(first, second, 500).p < 0.05
        difference_Q = first.mean(axis=0) - second.mean(axis=0)
        naive += abs(difference_Q.mean()) > 1.96 * difference_Q.std() / 10
    assert rejected < 25  # 10 are expected
    assert naive > 2 * rejected


def test_a_difference_of_the_detectable_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(2)
    least = float(np.mean([paired(outcomes(0.5, 1, 300, rng), outcomes(0.5, 1, 300, rng), 500).detectable
                           for _ in range(20)]))  # fmt: skip
    made = [paired(outcomes(0.5 + least, 1, 300, rng), outcomes(0.5, 1, 300, rng), 500).p < 0.05 for _ in range(200)]
    assert 0.72 < np.mean(made) < 0.88


def test_ranks_are_those_of_a_count_and_their_intervals_hold_them() -> None:
    rng = np.random.default_rng(3)
    scores = [outcomes(share, 3, 150, rng) for share in (0.9, 0.5, 0.52, 0.1)]
    made = standings(scores)
    means = [values.mean() for values in scores]
    assert [each.rank for each in made] == [1 + sum(other > mean for other in means) for mean in means]
    assert all(each.rank_low <= each.rank <= each.rank_high for each in made)
    assert (made[0].rank_low, made[0].rank_high) == (1, 1)
    assert (made[1].rank_low, made[1].rank_high) == (made[2].rank_low, made[2].rank_high) == (2, 3)
    assert made[0].p_behind == 1.0
    assert made[3].p_behind < 1e-6
    assert made[3].behind == pytest.approx(means[0] - means[3])
    twins = standings([scores[0], scores[0].copy()])
    assert [each.rank for each in twins] == [1, 1]


def test_the_best_seed_earns_nothing() -> None:
    """A system with one seed at 100 % and four at 50 % is at 60 %, below one that is steadily at 62 %."""
    lucky = np.zeros((5, 100))
    lucky[0], lucky[1:, :50] = 1, 1
    steady = np.zeros((5, 100))
    steady[:, :62] = 1
    made = standings([lucky, steady])
    assert made[0].accuracy == pytest.approx(0.6)
    assert [each.rank for each in made] == [2, 1]


def test_draws_keep_the_mean_and_widen_with_the_spread_of_seeds() -> None:
    rng = np.random.default_rng(4)
    weights_BQ = question_weights(200)
    assert weights_BQ.sum(axis=1) == pytest.approx(np.ones(len(weights_BQ)))
    same = outcomes(0.6, 1, 200, rng)
    steady, lucky = np.repeat(same, 4, axis=0), outcomes(0.6, 4, 200, rng, luck=0.2)
    assert drawn_means(steady, weights_BQ, 0) == pytest.approx(drawn_means(same, weights_BQ, 1))
    assert drawn_means(lucky, weights_BQ, 0).mean() == pytest.approx(lucky.mean(), abs=0.01)
    assert drawn_means(lucky, weights_BQ, 0).std() > 1.5 * drawn_means(steady, weights_BQ, 0).std()


def test_holm_is_over_the_whole_board() -> None:
    rng = np.random.default_rng(5)
    pair = [outcomes(0.62, 1, 200, rng), outcomes(0.5, 1, 200, rng)]
    alone = standings(pair)[1].p_behind
    crowd = standings([*pair, *(outcomes(0.45, 1, 200, rng) for _ in range(20))])[1].p_behind
    assert alone < crowd


def test_what_can_be_told_apart_needs_two() -> None:
    rng = np.random.default_rng(6)
    assert detectable([]) is None
    assert detectable([outcomes(0.5, 1, 50, rng)]) is None
    few = detectable([outcomes(0.5, 1, 50, rng) for _ in range(4)])
    many = detectable([outcomes(0.5, 1, 5000, rng) for _ in range(4)])
    assert few is not None
    assert many is not None
    assert many < few / 5
