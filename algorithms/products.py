"""The product of a linear layer, by the faster of the two libraries that torch has for it on a CPU.

`torch.nn.functional.linear` calls MKL in single precision, which on AMD cores uses half of their vector width. oneDNN
uses all of it: 200 to 240 GFLOP/s against 105 on a Zen 5 core. Both sum in single precision; they differ in rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEP, WHOLE = 32, 256


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., d_in] through weight [d_out, d_in] and bias [d_out]: [..., d_out]. Gradients flow as with torch's own."""
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) < STEP or not gains(x, weight):
        return F.linear(x, weight, bias)
    parts, start = [], 0
    for size in pieces(len(rows)):
        part = rows[start : start + size]
        if len(part) < size:
            part = F.pad(part, (0, 0, 0, size - len(part)))
        parts.append(torch.ops.mkldnn._linear_pointwise(part, weight, bias, "none", [], ""))
        start += size
    y = parts[0] if len(parts) == 1 else torch.cat(parts)
    return y[: len(rows)].view(*x.shape[:-1], len(weight))


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
    elif add:
        out.add_(linear(x, weight))
    else:
        out.copy_(linear(x, weight))


def gains(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is taken: without gradients, in single precision, on a CPU with vectors of 512 bits. Its operator
    is the one that compiled models call."""
    return (
        not torch.is_grad_enabled()
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class Linear(nn.Linear):
    """A linear layer by the faster product."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
