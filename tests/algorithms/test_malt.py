"""MALT: labels of a tree and both losses, against plain numbers; and that it learns from them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from algorithms.algorithm import Minibatch, make_algorithm
from algorithms.malt import MALT, MALTConfig
from algorithms.packing import TrainSample
from neuromas_env.errors import UsageError


def test_messages_are_labelled_beside_those_that_answered_the_same_prompt():
    values_M = np.array([0.75, 0.25, 0.5, 0.0, 0.1, 0.2, 1.0])
    prompts = [(1,), (1,), (2,), (2,), (3,), (3,), (1,)]
    groups = [0, 0, 0, 0, 0, 0, 1]  # the last is of another question that begins alike
    samples = [TrainSample(0, group, prompt, (5,)) for group, prompt in zip(groups, prompts, strict=True)]
    rollout = SimpleNamespace(samples=samples, by_message=lambda values: values_M, by_call=lambda labels: labels)
    assert MALT().assign(rollout, values_M).tolist() == [1, -1, 1, -1, 0, 0, 1]
    assert MALT(MALTConfig(threshold=0.2)).assign(rollout, values_M).tolist() == [1, 1, 1, -1, -1, 1, 1]
    assert MALT(MALTConfig(threshold=1.0)).assign(rollout, values_M).tolist() == [0, 0, 0, 0, 0, 0, 1]


@pytest.fixture
def batch() -> Minibatch:
    """Two prompts of one node with two good and one bad, one good and two bad; one of another with a good one only."""
    generator = torch.Generator().manual_seed(0)
    lengths_M = torch.tensor([2, 3, 1, 4, 2, 3, 2])
    old_MT = -2.0 * torch.rand(7, 4, generator=generator, dtype=torch.float64)
    moved_MT = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    return Minibatch(
        (old_MT + moved_MT).requires_grad_(),
        old_MT,
        (torch.arange(4) < lengths_M[:, None]).double(),
        torch.tensor([1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0], dtype=torch.float64),
        torch.tensor([9.0] * 6 + [4.0], dtype=torch.float64),
        torch.tensor([0, 0, 0, 1, 1, 1, 2]),
    )


def test_the_loss_is_imitation_and_preference_by_hand(batch):
    config = MALTConfig(sft=0.7, dpo=1.3, beta=0.4)
    lengths = batch.mask_MT.sum(1).int().tolist()
    new, old = batch.logprobs_MT.tolist(), batch.old_logprobs_MT.tolist()
    expected = sum(-0.7 * sum(new[m][: lengths[m]]) / lengths[m] / d for m, d in ((0, 9), (1, 9), (3, 9), (6, 4)))
    gain = [sum(new[m][t] - old[m][t] for t in range(lengths[m])) for m in range(7)]
    for pairs in ([(0, 2), (1, 2)], [(3, 4), (3, 5)]):
        for good, bad in pairs:
            expected += 1.3 / 9 * math.log1p(math.exp(-0.4 * (gain[good] - gain[bad]))) / len(pairs)
    loss = MALT(config).loss(batch)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    (gradient_MT,) = torch.autograd.grad(loss, batch.logprobs_MT)
    assert torch.equal(gradient_MT != 0, batch.mask_MT > 0)  # every sampled token, the last included; no padding
    assert (gradient_MT[batch.advantages_M < 0].sum(1) > 0).all()
    assert (gradient_MT[batch.advantages_M > 0].sum(1) < 0).all()


def test_at_the_sampling_policy_the_preference_is_a_contrast_of_fixed_weight(batch):
    from dataclasses import replace

    here = replace(batch, logprobs_MT=batch.old_logprobs_MT.clone().requires_grad_())
    loss = MALT(MALTConfig(sft=0.0, dpo=1.0, beta=0.4)).loss(here)
    (gradient_MT,) = torch.autograd.grad(loss, here.logprobs_MT)
    pull_M = torch.tensor([-0.5, -0.5, 1.0, -1.0, 0.5, 0.5, 0.0], dtype=torch.float64) * 0.4 / 2 / 9
    torch.testing.assert_close(gradient_MT, pull_M[:, None] * here.mask_MT)


def test_pairs_need_their_prompts_and_options_are_checked(batch):
    from dataclasses import replace

    with pytest.raises(ValueError, match="contexts_M"):
        MALT().loss(replace(batch, contexts_M=None))
    for options in ({"threshold": 0}, {"threshold": 1.5}, {"sft": -1}, {"dpo": -0.1}, {"beta": 0}):
        with pytest.raises(UsageError, match="accepted"):
            make_algorithm("malt", options)
