"""The product of a linear layer, by the faster of the two libraries that torch has for it on a CPU.

`torch.nn.functional.linear` calls MKL in single precision, which on AMD cores uses half of vectors of 512 bits. oneDNN
uses all: 200 to 240 GFLOP/s against 105 on a Zen 5 core. Both sum in single precision; they differ in rounding. On
other makers' cores, where nothing was measured, torch's own choice stands.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

STEP, WHOLE = 32, 256


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., d_in] through weight [d_out, d_in] and bias [d_out]: [..., d_out]. Gradients flow as with torch's own."""
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) < STEP or not gains(x, weight):
        return F.linear(x, weight, bias)
    parts = list(_parts(rows, weight, bias))
    y = parts[0] if len(parts) == 1 else torch.cat(parts)
    return y.view(*x.shape[:-1], len(weight))


def _parts(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Iterator[Tensor]:
    start = 0
    for size in pieces(len(rows)):
        part = rows[start : start + size]
        padded = F.pad(part, (0, 0, 0, size - len(part))) if len(part) < size else part
        yield torch.ops.mkldnn._linear_pointwise(padded, weight, bias, "none", [], "")[: len(part)]
        start += size


def pieces(rows: int) -> list[int]:
    """In what numbers of rows oneDNN is called for `rows`; the last piece may exceed what is left.

    It keeps code of half a megabyte for each number that it has met. So it meets few: from `WHOLE` on those of two
    leading bits (256, 384, 512, 768 …), and multiples of `STEP` for the rest.
    """
    sizes = []
    while rows > 0:
        low = rows.bit_length() - 2
        sizes.append(rows >> low << low if rows >= WHOLE else -(-rows // STEP) * STEP)
        rows -= sizes[-1]
    return sizes


def linear_into(out: Tensor, x: Tensor, weight: Tensor, add: bool = False) -> None:
    """Put x [L, d_in] through weight [d_out, d_in] into `out` [L, d_out], or `add` it; no gradients."""
    if len(x) < STEP or not gains(x, weight):
        torch.addmm(out, x, weight.t(), beta=float(add), out=out)
        return
    start = 0
    for part in _parts(x, weight):
        into = out[start : start + len(part)]
        into.add_(part) if add else into.copy_(part)
        start += len(part)


def gains(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is taken: without gradients, in single precision, on a CPU where it is faster. Its operator is the
    one that compiled models call."""
    return (
        not torch.is_grad_enabled()
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and half_used_by_mkl()
        and bool(torch.backends.mkldnn.enabled)
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


@cache
def half_used_by_mkl() -> bool:
    """Whether this is an AMD core with vectors of 512 bits, and oneDNN is there."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available():
        return False
    try:
        maker = Path("/proc/cpuinfo").read_text()
    except OSError:
        maker = platform.processor()
    return "AuthenticAMD" in maker


class Linear(nn.Linear):
    """A linear layer by the faster product; where its weights are frozen, with that of the gradient too."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad and not self.weight.requires_grad and self.bias is None:
            y: Tensor = _Frozen.apply(x, self.weight)
            return y
        return linear(x, self.weight, self.bias)


class _Frozen(torch.autograd.Function):
    """`linear` with the gradient of the input only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return linear(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return linear(grad, weight.t()), None
