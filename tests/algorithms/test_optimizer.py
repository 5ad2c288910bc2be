"""The stacked optimizer against torch's Adam, one node at a time."""

from __future__ import annotations

import oracle
import pytest
import torch

from algorithms.adapters import StackedAdapters
from algorithms.optimizer import StackedAdam


def adapters_with(gradient_seed: int, nodes: int = 3) -> StackedAdapters:
    adapters = StackedAdapters(oracle.backbone("llama"), nodes, rank=2, seed=3)
    new_gradient(adapters, gradient_seed)
    return adapters


def new_gradient(adapters: StackedAdapters, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    adapters.grad_NP.copy_(torch.randn(adapters.grad_NP.shape, generator=generator))


@pytest.mark.parametrize("max_norm", [None, 1.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_adam_and_clipping_of_torch_for_every_node(max_norm, weight_decay):
    adapters = adapters_with(0)
    adapters.grad_NP[1] *= 1e-4  # a node below the norm must not be scaled up, nor share another's clipping
    optimizer = StackedAdam(adapters, 1e-2, betas=(0.9, 0.95), weight_decay=weight_decay)
    singles = [torch.nn.Parameter(row.clone()) for row in adapters.flat_NP]
    others = [torch.optim.AdamW([p], 1e-2, betas=(0.9, 0.95), weight_decay=weight_decay) for p in singles]
    for step in range(4):
        for node, (single, other) in enumerate(zip(singles, others, strict=True)):
            single.grad = adapters.grad_NP[node].clone()
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_([single], max_norm)
            other.step()
        before = torch.linalg.vector_norm(adapters.grad_NP, dim=1)
        norms_N = optimizer.step(max_norm=max_norm)
        torch.testing.assert_close(norms_N, before)
        torch.testing.assert_close(adapters.flat_NP, torch.stack([p.detach() for p in singles]), rtol=1e-5, atol=1e-7)
        new_gradient(adapters, step + 1)


def test_a_step_for_one_node_leaves_the_bytes_of_all_others_unchanged(tmp_path):
    adapters = adapters_with(0)
    optimizer = StackedAdam(adapters, 1e-2, weight_decay=0.1)
    optimizer.step()
    state = optimizer.state_dict()
    for node in range(3):
        adapters.save_node(node, tmp_path / f"before_{node}")
    before = adapters.flat_NP.clone()
    optimizer.step([False, True, False], max_norm=0.5)
    after = optimizer.state_dict()
    for node in range(3):
        adapters.save_node(node, tmp_path / f"after_{node}")
        files = [tmp_path / f"{when}_{node}" / "adapter_model.safetensors" for when in ("before", "after")]
        assert (files[0].read_bytes() == files[1].read_bytes()) == (node != 1)
        assert torch.equal(adapters.flat_NP[node], before[node]) == (node != 1)
        for name in state:
            assert torch.equal(after[name][node], state[name][node]) == (node != 1), name
    assert after["steps_N"].tolist() == [1, 2, 1]


def test_a_node_that_joins_late_is_corrected_by_its_own_step_count():
    """With a shared count the first step of a late node would be far too large or too small."""
    early, late = adapters_with(0, nodes=1), adapters_with(0, nodes=2)
    one, two = StackedAdam(early, 1e-2), StackedAdam(late, 1e-2)
    for seed in range(5):
        new_gradient(late, 10 + seed)
        two.step([True, False])
    gradient = torch.randn(early.parameters_per_node, generator=torch.Generator().manual_seed(9))
    early.grad_NP[0], late.grad_NP[1] = gradient, gradient
    early.flat_NP[0] = late.flat_NP[1]
    one.step()
    two.step([False, True])
    assert torch.equal(early.flat_NP[0], late.flat_NP[1])


def test_state_round_trip_goes_on_identically():
    first, second = adapters_with(0), adapters_with(0)
    one, two = StackedAdam(first, 1e-2), StackedAdam(second, 1e-2)
    one.step([True, True, False])
    second.flat_NP.copy_(first.flat_NP)
    two.load_state_dict(one.state_dict())
    for optimizer, adapters in ((one, first), (two, second)):
        new_gradient(adapters, 1)
        optimizer.step(max_norm=1.0)
    assert torch.equal(first.flat_NP, second.flat_NP)
    with pytest.raises(ValueError, match="mean_NP"):
        two.load_state_dict({"steps_N": torch.zeros(3, dtype=torch.int64)})


def test_a_gradient_that_is_not_finite_moves_nothing():
    adapters = adapters_with(0)
    optimizer = StackedAdam(adapters, 1e-2)
    adapters.grad_NP[2, 5] = float("nan")
    before, state = adapters.flat_NP.clone(), optimizer.state_dict()
    with pytest.raises(ValueError, match="node 2"):
        optimizer.step()
    assert torch.equal(adapters.flat_NP, before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in optimizer.state_dict().items())
    optimizer.step([True, True, False])  # a node that is not active may hold anything
    assert torch.equal(adapters.flat_NP[2], before[2])
    assert not torch.equal(adapters.flat_NP[0], before[0])
