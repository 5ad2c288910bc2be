"""What this machine could do at best: the matrix products that the work needs and nothing else, and its ceilings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor, nn

from ..products import linear
from .work import Work

Product = Callable[[Tensor, Tensor], Tensor]
"""x [L, d_in] and weight [d_out, d_in] to [L, d_out]."""


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(run: Callable[[], object], device: str = "cpu", repeats: int = 3) -> float:
    """The median time of `run`, after one run that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        run()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times)


def plain(x: Tensor, weight: Tensor) -> Tensor:
    """The product as torch takes it without being asked otherwise (products.py has the faster one)."""
    return x @ weight.t()


class Products:
    """The matrix products of a model's linear layers, with inputs at hand: no attention, no norms, no sampling.

    `layers` are those of all decoder layers, `head` the one over the vocabulary, each [d_out, d_in].
    """

    def __init__(self, work: Work, product: Product = linear) -> None:
        model, self.product = work.model(), product
        linears = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        self.layers = [module.weight.detach() for name, module in linears if name != "lm_head"]
        self.head = next(module.weight.detach() for name, module in linears if name == "lm_head")

    def forward(self, tokens: int, kept: int) -> Callable[[], None]:
        """All products of a pass over `tokens` tokens whose logits are wanted at `kept` places."""
        inputs = {weight.shape[1]: torch.ones(tokens, weight.shape[1]).to(weight) for weight in self.layers}
        ends = torch.ones(kept, self.head.shape[1]).to(self.head)

        def run() -> None:
            for weight in self.layers:
                self.product(inputs[weight.shape[1]], weight)
            self.product(ends, self.head)

        return run

    def backward(self, tokens: int, kept: int) -> Callable[[], None]:
        """Those of the gradient of every input; the weights are frozen, and the adapters' are left out."""
        grads: dict[int, Tensor] = {w.shape[0]: torch.ones(tokens, w.shape[0]).to(w) for w in self.layers}
        ends = torch.ones(kept, self.head.shape[0]).to(self.head)

        def run() -> None:
            self.product(ends, self.head.t())
            for weight in self.layers:
                self.product(grads[weight.shape[0]], weight.t())

        return run


@torch.inference_mode()
def sampling_floor(work: Work, product: Product) -> float:
    """Seconds of the products of sampling, every prompt read once for all of its samples, every message full length."""
    products, rows = Products(work, product), work.questions * work.samples * work.nodes
    prompts = work.questions * work.nodes
    prefill = seconds(products.forward(prompts * work.prompt, prompts), work.device)
    return prefill + (work.new - 1) * seconds(products.forward(rows, rows), work.device)


@torch.inference_mode()
def training_floor(work: Work, product: Product, micro_batch_tokens: int = 16384) -> float:
    """Seconds of the products of one forward and backward pass over prompts, read once, and messages."""
    products, prompts = Products(work, product), work.questions * work.nodes
    tokens = prompts * (work.prompt + work.samples * work.new)
    kept = prompts * work.samples * work.new
    parts = -(-tokens // micro_batch_tokens)
    passes: Sequence[Callable[[], None]] = [
        products.forward(tokens // parts, kept // parts),
        products.backward(tokens // parts, kept // parts),
    ]
    return parts * sum(seconds(each, work.device) for each in passes)


def bandwidth(device: str, size: int = 2**28) -> float:
    """Bytes a second that are read from memory, and as many written, by a copy of `size` bytes."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds(lambda: target.copy_(source), device)


def products_per_second(device: str, dtype: str, size: int = 0) -> float:
    """Floating-point operations a second of one large square matrix product."""
    size = size or (8192 if device.startswith("cuda") else 1024)
    left = torch.ones(size, size, dtype=getattr(torch, dtype), device=device)
    return 2 * size**3 / seconds(lambda: left @ left, device)
