"""The faster product of linear layers: the same numbers as torch's, for every number of rows, and where it is taken."""

from __future__ import annotations

import oracle
import pytest
import torch
from torch.nn import functional as F

from algorithms import products
from algorithms.sampling import sample

needs_wide = pytest.mark.skipif(
    not products.half_used_by_mkl(), reason="torch's own product is taken on this CPU: no AMD core, or narrow vectors"
)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 250, 256, 257, 384, 700, 1536])
@pytest.mark.parametrize("with_bias", [False, True])
def test_it_is_the_product(rows, with_bias):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(1, rows, 48), torch.randn(40, 48), torch.randn(40) if with_bias else None
    with torch.no_grad():
        found = products.linear(x, weight, bias)
    torch.testing.assert_close(found, F.linear(x, weight, bias), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rows", [31, 32, 250, 700])
def test_it_is_put_into_or_added(rows):
    """The transposed weight is that of the gradient."""
    torch.manual_seed(0)
    x, weight = torch.randn(rows, 48), torch.randn(48, 40)
    into = torch.full((rows, 40), torch.nan)
    with torch.no_grad():
        products.linear_into(into, x, weight.t())
        torch.testing.assert_close(into, x @ weight, rtol=0, atol=1e-4)
        products.linear_into(into, x, weight.t(), add=True)
    torch.testing.assert_close(into, 2 * x @ weight, rtol=0, atol=2e-4)


def test_pieces_are_few_and_cover_the_rows():
    """Each number of rows that oneDNN meets costs memory for good."""
    met = set()
    for rows in range(1, 20_000):
        sizes = products.pieces(rows)
        assert 0 <= sum(sizes) - rows < products.STEP
        assert len(sizes) <= 8
        met.update(sizes)
    assert len(met) <= 24


@needs_wide
def test_it_is_taken_without_gradients_only():
    x, weight = torch.randn(64, 8), torch.randn(8, 8, requires_grad=True)
    assert not products.gains(x, weight)
    products.linear(x, weight).sum().backward()
    assert weight.grad is not None
    with torch.no_grad():
        assert products.gains(x, weight)
        assert not products.gains(x.double(), weight.double())
        assert not products.gains(x.bfloat16(), weight.bfloat16())


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_layer_has_the_gradients_of_a_plain_one(frozen, with_bias):
    torch.manual_seed(0)
    layer, weights = products.Linear(48, 40, bias=with_bias), torch.randn(2, 350, 40)
    layer.requires_grad_(not frozen)
    x = torch.randn(2, 350, 48, requires_grad=True)
    found = torch.autograd.grad((layer(x) * weights).sum(), [x, *(p for p in layer.parameters() if p.requires_grad)])
    plain = F.linear(x, layer.weight, layer.bias)
    expected = torch.autograd.grad((plain * weights).sum(), [x, *(p for p in layer.parameters() if p.requires_grad)])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert (type(layer(x).grad_fn).__name__ == "_FrozenBackward") == (frozen and not with_bias)


@needs_wide
@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
def test_messages_are_those_of_the_plain_product(merge, monkeypatch):
    """Enough rows of each node that nearly every product of sampling goes by it."""
    network = oracle.network("qwen3", merge=merge)
    nodes = [0] * 45 + [2] * 38
    prompts = [[9 + row % 20, 10, 11, 12] for row in range(len(nodes))]

    def messages():
        return sample(network.backbone, network.route, nodes, prompts, range(len(nodes)), 6, 0.0)

    fast = messages()
    monkeypatch.setattr(products, "gains", lambda x, weight: False)
    plain = messages()
    for a, b in zip(fast, plain, strict=True):
        assert a.token_ids == b.token_ids
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)
