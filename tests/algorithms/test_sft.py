"""SFT: what is kept, the loss against plain numbers, and where there is nothing to imitate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from algorithms.algorithm import Minibatch, make_algorithm
from neuromas_env.errors import UsageError


def test_only_what_reached_the_threshold_is_imitated() -> None:
    rewards_QG = np.array([[1.0, 0.0, 0.6], [0.1 + 0.2 + 0.7, 0.59, 0.0]])  # the sum falls short of 1 by rounding
    assert make_algorithm("sft").advantages(rewards_QG).tolist() == [[1, 0, 0], [1, 0, 0]]
    lenient = make_algorithm("sft", {"threshold": "0.6"})
    advantages_QG = lenient.advantages(rewards_QG)
    assert advantages_QG.tolist() == [[1, 0, 1], [1, 0, 0]]
    assert lenient.counted(advantages_QG).tolist() == [[True, False, True], [True, False, False]]
    for threshold in (0, 1.5):
        with pytest.raises(UsageError, match="accepted: more than 0, at most 1"):
            make_algorithm("sft", {"threshold": threshold})


def test_the_loss_is_the_mean_over_kept_messages_of_the_mean_over_their_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = [2, 3, 1]
    logprobs_MT = (-torch.rand(3, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    mask_MT = (torch.arange(4) < torch.tensor(lengths)[:, None]).double()
    sft = make_algorithm("sft")
    good_N = sft.denominators(np.array([3.0, 4.0]), np.array([1.0, 0.0]))  # kept messages of each node
    loss = sft.loss(
        Minibatch(
            logprobs_MT,
            logprobs_MT.detach(),
            mask_MT,
            torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64),
            torch.tensor([2.0, 2.0, good_N[0]], dtype=torch.float64),
        )
    )
    values = logprobs_MT.tolist()
    assert loss.item() == pytest.approx(-(sum(values[0][:2]) / 2 / 2 + values[2][0]), rel=1e-12)
    (gradient_MT,) = torch.autograd.grad(loss, logprobs_MT)
    assert torch.equal(gradient_MT[0, :2], torch.full((2,), -0.25, dtype=torch.float64))
    assert (gradient_MT[1] == 0).all()
    assert good_N[1] == 1.0  # a node that has nothing to imitate divides nothing by zero
