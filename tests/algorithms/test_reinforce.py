"""REINFORCE against numbers worked out by hand, and its gradient against plain autograd on the textbook formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from algorithms.algorithm import Minibatch, algorithm_names, make_algorithm
from algorithms.reinforce import Reinforce, ReinforceConfig
from algorithms.schedule import learning_rate
from algorithms.seeds import derive, question_indices
from neuromas_env.errors import UnknownNameError, UsageError

REWARDS_QG = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])


def test_batch_baseline_is_the_mean_of_the_batch():
    advantages_QG = Reinforce(ReinforceConfig(normalize=False)).advantages(REWARDS_QG)
    assert advantages_QG.tolist() == [[0.375, -0.625, -0.625, -0.625], [0.375, 0.375, 0.375, 0.375]]
    normalized_QG = Reinforce().advantages(REWARDS_QG)  # the standard deviation of 5 ones and 3 zeros: sqrt(15) / 8
    np.testing.assert_allclose(normalized_QG, advantages_QG * 8 / np.sqrt(15), rtol=1e-12)


def test_group_baseline_is_the_mean_of_the_question_and_leaves_solved_questions_out():
    advantages_QG = Reinforce(ReinforceConfig("group", normalize=False)).advantages(REWARDS_QG)
    assert advantages_QG.tolist() == [[0.75, -0.25, -0.25, -0.25], [0.0, 0.0, 0.0, 0.0]]
    normalized_QG = Reinforce(ReinforceConfig("group")).advantages(REWARDS_QG)
    np.testing.assert_allclose(normalized_QG[0], np.array([3.0, -1.0, -1.0, -1.0]) / np.sqrt(3), rtol=1e-12)
    assert normalized_QG[1].tolist() == [0.0] * 4


def test_running_baseline_uses_only_earlier_batches_and_survives_a_checkpoint():
    algorithm = Reinforce(ReinforceConfig("running", normalize=False, decay=0.75))
    assert algorithm.advantages(REWARDS_QG)[0, 0] == 1.0 - 0.625
    later = Reinforce(ReinforceConfig("running", normalize=False, decay=0.75))
    later.restore(algorithm.state())
    zeros_QG = np.zeros((1, 2))
    assert later.advantages(zeros_QG).tolist() == [[-0.625, -0.625]]  # not 0: the batch itself is not in its baseline
    assert later.advantages(zeros_QG).tolist() == [[-0.625 * 0.75] * 2]


@pytest.mark.parametrize("baseline", ["batch", "group", "running"])
def test_equal_rewards_give_no_advantage_however_they_round(baseline):
    advantages_QG = Reinforce(ReinforceConfig(baseline)).advantages(np.full((3, 7), 0.1))
    assert np.abs(advantages_QG).max() < 1e-12
    if baseline != "running":
        assert not advantages_QG.any()


def test_loss_and_gradient_are_those_of_the_formula():
    logits_MTV = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    tokens_MT = torch.tensor([[1, 2, 3, 4], [0, 1, 0, 0], [2, 2, 0, 0]])
    lengths, advantages, denominators = [4, 2, 1], [0.5, -2.0, 1.5], [4.0, 3.0, 3.0]
    mask_MT = torch.tensor([[float(t < length) for t in range(4)] for length in lengths])
    logprobs_MT = logits_MTV.log_softmax(-1).gather(-1, tokens_MT[..., None])[..., 0]
    loss = Reinforce().loss(
        Minibatch(logprobs_MT, logprobs_MT.detach(), mask_MT, torch.tensor(advantages), torch.tensor(denominators))
    )
    (gradient,) = torch.autograd.grad(loss, logits_MTV)

    # d/dlogits of -A log softmax(logits)[token] is -A (onehot - softmax), on sampled tokens only, the last included.
    expected_MTV = torch.zeros(3, 4, 5)
    value = 0.0
    probabilities_MTV = logits_MTV.detach().softmax(-1)
    for m, length in enumerate(lengths):
        weight = advantages[m] / denominators[m]
        for t in range(length):
            value -= weight * float(probabilities_MTV[m, t, tokens_MT[m, t]].log())
            expected_MTV[m, t] = weight * probabilities_MTV[m, t]
            expected_MTV[m, t, tokens_MT[m, t]] -= weight
    torch.testing.assert_close(gradient, expected_MTV)
    assert loss.item() == pytest.approx(value, rel=1e-6)


def test_options_come_by_name_from_text_and_bad_ones_are_refused():
    assert "reinforce" in algorithm_names()
    algorithm = make_algorithm("reinforce", {"baseline": "group", "normalize": "false", "decay": "0.5"})
    assert algorithm.config == ReinforceConfig("group", False, "tokens", 0.5)
    with pytest.raises(UnknownNameError, match=r"reinforc'.*did you mean reinforce"):
        make_algorithm("reinforc")
    with pytest.raises(UnknownNameError, match=r"baselin'.*did you mean baseline"):
        make_algorithm("reinforce", {"baselin": "group"})
    for options in ({"baseline": "mean"}, {"normalize": "maybe"}, {"decay": "much"}):
        with pytest.raises(UsageError, match="accepted"):
            make_algorithm("reinforce", options)


def test_schedule():
    rates = [learning_rate(u, 10, 1.0, schedule="linear", warmup=2) for u in range(1, 11)]
    np.testing.assert_allclose(rates, [1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert learning_rate(6, 10, 2.0, schedule="cosine", final=0.5) == pytest.approx(1.5)
    assert learning_rate(10, 10, 2.0, schedule="constant") == 2.0


def test_questions_of_a_finite_split_come_once_a_pass_and_those_of_an_endless_one_never_repeat():
    drawn = [index for update in range(1, 8) for index in question_indices(3, update, 3, 7)]
    passes = [drawn[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3
    endless = [index for update in range(1, 8) for index in question_indices(3, update, 3, None)]
    assert len(set(endless)) == 21
    assert not set(endless) & set(question_indices(4, 1, 100, None))
    assert derive(1, "a") != derive("1", "a") != derive("a", 1)
