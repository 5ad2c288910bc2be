"""Norms and gated units by hand: the values and gradients of the models' own, and only where they are the same."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
from torch import nn

from algorithms import fused

SIZES = ((2, 3, 4, 16), (5, 16), (1, 16))


def layers(architecture: str) -> Any:
    """A frozen model whose norms are not all ones."""
    model = tiny_models.make(architecture)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.data.add_(0.3 * torch.randn_like(weight))
    return model.requires_grad_(False).eval()


def run(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradient of the embedded input."""
    torch.manual_seed(2)
    x = torch.randn(2, 7, model.config.hidden_size, requires_grad=True)
    logits = model(inputs_embeds=x).logits
    (logits * torch.randn_like(logits)).sum().backward()
    assert x.grad is not None
    return logits.detach(), x.grad


@pytest.mark.parametrize(("architecture", "norms", "units"), [("llama", 5, 2), ("qwen3", 9, 2), ("gemma3", 13, 0)])
def test_a_fused_model_is_the_model(architecture: str, norms: int, units: int) -> None:
    """Gemma's units are gated by another function than silu, and stay as they are."""
    model = layers(architecture)
    logits, grad = run(model)
    names = fused.fuse(model)
    assert (sum("norm" in name for name in names), sum("mlp" in name for name in names)) == (norms, units)
    assert len(names) == norms + units
    for found, expected in zip(run(model), (logits, grad), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    with torch.no_grad():
        ids = torch.arange(6)[None]
        plain = model(ids).logits
    torch.testing.assert_close(model(ids).logits, plain, rtol=0, atol=0)  # with gradients on, the same numbers


@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_those_of_finite_differences(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, up = (torch.randn(size, dtype=torch.float64, requires_grad=True) for _ in range(2))
    scale = torch.randn(size[-1], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: fused.rms_norm(x, scale, 1e-3), (x,))
    assert torch.autograd.gradcheck(fused.swiglu, (x, up))
    (grad,) = torch.autograd.grad(fused.swiglu(x.detach(), up).sum(), up)  # one input alone
    torch.testing.assert_close(grad, nn.functional.silu(x.detach()))


class Norm(nn.Module):
    """One that is almost the usual norm."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.weight, self.eps, self.kind = nn.Parameter(torch.rand(16) + 0.5), 1e-6, kind
        if kind == "with a bias":
            self.bias = nn.Parameter(torch.zeros(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True) if self.kind == "centred" else x
        square = centred.pow(2).mean(-1, keepdim=True)
        root = 1 / (square.sqrt() + self.eps) if self.kind == "eps outside the root" else (square + self.eps).rsqrt()
        return centred * root * (self.weight**2 if self.kind == "weight squared" else self.weight)


class Unit(nn.Module):
    """One that is almost the usual gated unit."""

    def __init__(self, activation: nn.Module, kind: str = "") -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (nn.Linear(16, 16, bias=False) for _ in range(3))
        self.activation, self.kind = activation, kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.activation(self.gate_proj(x)) * self.up_proj(x)
        return self.down_proj(hidden) * (0.5 if self.kind == "halved" else 1.0)


@pytest.mark.parametrize("kind", ["with a bias", "centred", "eps outside the root", "weight squared"])
def test_another_norm_stays_as_it_is(kind: str) -> None:
    assert fused.fuse(Norm(kind).requires_grad_(False)) == []
    assert fused.fuse(Norm("usual").requires_grad_(False)) == [""]


class Clamped(nn.SiLU):
    """The same on small inputs only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).clamp(max=7.0)


@pytest.mark.parametrize(
    ("activation", "kind"),
    [(nn.GELU(), ""), (nn.ReLU(), ""), (nn.Hardswish(), ""), (Clamped(), ""), (nn.SiLU(), "halved")],
)
def test_another_gated_unit_stays_as_it_is(activation: nn.Module, kind: str) -> None:
    assert fused.fuse(Unit(activation, kind).requires_grad_(False)) == []
    assert fused.fuse(Unit(nn.SiLU()).requires_grad_(False)) == [""]


def test_what_is_trained_or_not_in_single_precision_stays_as_it_is() -> None:
    """The weights of a norm that is trained need gradients; in half precision each model rounds in its own order."""
    assert fused.fuse(layers("llama").requires_grad_(True)) == []
    assert fused.fuse(layers("llama").to(torch.bfloat16)) == []


def test_probing_draws_nothing_from_the_global_generator() -> None:
    model = layers("qwen3")
    before = torch.get_rng_state()
    fused.fuse(model)
    assert torch.equal(torch.get_rng_state(), before)
