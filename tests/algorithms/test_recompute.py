"""Activation checkpointing: the same loss and gradients, less memory, and nothing changed elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oracle
import pytest
import tiny_models
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import LlamaConfig, LlamaForCausalLM

from algorithms.backbone import Backbone
from algorithms.network import Network
from algorithms.packing import TrainSample, pack
from algorithms.sampling import sample


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_loss_and_gradients_are_the_same(architecture, merge):
    """Over several micro-batches whose backward passes come after all forward passes, each through its own route."""
    network = oracle.network(architecture, dtype=torch.float64, merge=merge)
    results = []
    for on in (False, True, False):
        network.backbone.checkpoint_activations(on)
        network.adapters.zero_grad()
        parts = [network.logprobs_and_entropy(batch) for batch in pack(oracle.train_samples(), max_tokens=150)]
        assert len(parts) > 1
        losses = [logprobs_MT.sum() + entropy_MT.sum() for logprobs_MT, entropy_MT, _, _ in parts]
        for loss in losses:
            loss.backward()
        results.append((torch.stack(losses).detach(), network.adapters.grad_NP.clone()))
    (loss, gradient_NP), *others = results
    assert float(gradient_NP.abs().max()) > 1
    for other_loss, other_gradient_NP in others:
        torch.testing.assert_close(other_loss, loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(other_gradient_NP, gradient_NP, rtol=1e-9, atol=1e-12)


def test_adapters_on_some_layers_only():
    """Below the first adapter nothing requires a gradient; the layers above must be differentiated all the same."""
    gradients = []
    for on in (False, True):
        network = Network.create("1-1", oracle.backbone("llama", torch.float64), targets=("up_proj",), seed=1)
        oracle.shake(network.adapters)
        network.backbone.checkpoint_activations(on)
        for batch in pack([one for one in oracle.train_samples() if one.node < 2]):
            network.logprobs(batch)[0].sum().backward()
        gradients.append(network.adapters.grad_NP)
    assert float(gradients[0].abs().max()) > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-12)


def peak_bytes(run: Callable[[], Any]) -> int:
    """The most that was allocated at once during `run`, over what was there before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


def test_a_layer_more_costs_no_more_than_its_input():
    samples = [TrainSample(node, 0, [9] * 30, [10] * 30) for node in range(2) for _ in range(4)]
    (batch,) = pack(samples)
    input_bytes = len(batch.packed.input_ids_L) * tiny_models.SHAPE["hidden_size"] * 4
    peaks: dict[bool, list[int]] = {False: [], True: []}
    for layers in (4, 8):
        model = LlamaForCausalLM(LlamaConfig(**tiny_models.SHAPE | {"num_hidden_layers": layers}))
        network = Network.create("1-1", Backbone.wrap(model, tiny_models.tokenizer(), "deep"), rank=2)

        def update(network: Network = network) -> None:
            network.logprobs(batch)[0].sum().backward()

        update()  # merged weights are made once
        for on, found in peaks.items():
            network.backbone.checkpoint_activations(on)
            found.append(peak_bytes(update))
    added = {on: (deep - shallow) / 4 for on, (shallow, deep) in peaks.items()}
    assert added[True] <= 1.1 * input_bytes
    assert added[False] > 5 * input_bytes
    assert peaks[True][1] < peaks[False][1] / 2


def test_passes_without_gradients_are_unaffected():
    """Sampling, scoring without gradients, and the plain model: the same numbers, and no layer is run twice."""
    network = oracle.network("gemma3")
    nodes, prompts, groups = oracle.prompts()
    (batch,) = pack(oracle.train_samples())
    runs = [0]
    network.backbone.model.get_decoder().layers[0].mlp.register_forward_hook(
        lambda *_: runs.__setitem__(0, runs[0] + 1)
    )

    def results() -> list[Any]:
        rows = sample(network.backbone, network.route, nodes, prompts, groups, 4, 0.0)
        with torch.no_grad():
            scored = network.logprobs(batch)[0]
        plain = network.backbone.model(input_ids=torch.tensor([prompts[0]])).logits
        return [rows, scored.tolist(), plain.tolist(), runs[0]]

    before = results()
    runs[0] = 0
    network.backbone.checkpoint_activations()
    assert results() == before


def test_a_change_between_forward_and_backward_is_refused():
    network = oracle.network("llama", "1")
    network.backbone.checkpoint_activations()
    (batch,) = pack([TrainSample(0, 0, [9, 10], [11])])
    loss = network.logprobs(batch)[0].sum()
    network.adapters.flat_NP.mul_(2)
    with pytest.raises(RuntimeError, match="changed between"):
        loss.backward()
