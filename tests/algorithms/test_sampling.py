"""Sampling: the distribution, the log-probabilities, the end of a message, and what may not change any of them."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import oracle
import pytest
import torch

from algorithms.sampling import sample
from neuromas_env.errors import BackboneError


def run(network, rows=None, count=6, temperature=1.0, seed=0, **options):
    nodes, prompts, groups = rows or oracle.prompts()
    return sample(network.backbone, network.route, nodes, prompts, groups, count, temperature, seed, **options)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_shared_prefixes_and_chunks_change_nothing(architecture, temperature):
    network = oracle.network(architecture)
    shared = run(network, temperature=temperature)
    for options in ({"share": False}, {"chunk_tokens": 1}, {"share": False, "chunk_tokens": 1}):
        other = run(network, temperature=temperature, **options)
        assert [row.token_ids for row in other] == [row.token_ids for row in shared]
        for a, b in zip(shared, other, strict=True):
            np.testing.assert_allclose(a.logprobs, b.logprobs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_logprobs_equal_a_plain_forward_pass_at_the_temperature(architecture, temperature, tmp_path):
    network = oracle.network(architecture)
    rows = oracle.prompts()
    peft = oracle.peft_model(network, tmp_path)
    for node, prompt, row in zip(rows[0], rows[1], run(network, rows, temperature=temperature), strict=True):
        peft.set_adapter(network.topology.nodes[node])
        with torch.no_grad():
            expected = oracle.plain_logprobs(peft, prompt, list(row.token_ids), temperature)
        np.testing.assert_allclose(row.logprobs, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_are_drawn_from_the_distribution(temperature):
    """First and second tokens of 4,000 samples against exact probabilities: chi-squared, fixed seed."""
    network = oracle.network("llama", "1")
    prompt, count = [9, 10, 11], 4000
    rows = run(network, ([0] * count, [prompt] * count, [0] * count), 2, temperature, seed=1)
    with torch.no_grad():
        network.backbone.router.route = network.route([(0, 0, 3)])
        first = (network.backbone.model(input_ids=torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1)
        best = int(first.argmax())
        network.backbone.router.route = network.route([(0, 0, 4)])
        logits = network.backbone.model(input_ids=torch.tensor([[*prompt, best]])).logits[0, -1]
        network.backbone.router.route = None
    for drawn, probabilities in (
        ([row.token_ids[0] for row in rows], first),
        ([row.token_ids[1] for row in rows if row.token_ids[0] == best], (logits / temperature).softmax(-1)),
    ):
        counts = np.bincount(drawn, minlength=len(probabilities))
        expected = probabilities.double().numpy() * len(drawn)
        often = expected > 5
        observed = np.append(counts[often], counts[~often].sum())
        expected = np.append(expected[often], expected[~often].sum())
        chi2, freedom = float(((observed - expected) ** 2 / expected).sum()), int(often.sum())
        assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5, (chi2, freedom)


def test_the_seed_decides_and_the_global_generators_are_untouched():
    network = oracle.network("llama")
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first, again, other = run(network, seed=1), run(network, seed=1), run(network, seed=2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert first == again
    assert [row.token_ids for row in first] != [row.token_ids for row in other]
    torch.manual_seed(99)
    assert run(network, seed=1) == first


def test_rows_do_not_share_their_randomness():
    network = oracle.network("llama", "1")
    rows = run(network, ([0] * 20, [[9, 10, 11]] * 20, [0] * 20), 5)
    assert len({row.token_ids for row in rows}) > 10


def test_every_end_token_stops_a_message_and_is_kept():
    """The same draws with more end tokens: every message is cut right after the first of any of them."""
    network = oracle.network("llama")
    free = run(network, count=8, seed=3)
    common = [1, *(row.token_ids[2] for row in free[:4])]
    ended = dataclasses.replace(network.backbone, eos_ids=tuple(common))
    nodes, prompts, groups = oracle.prompts()
    rows = sample(ended, network.route, nodes, prompts, groups, 8, 1.0, 3)
    for row, before in zip(rows, free, strict=True):
        ends = [t for t, token in enumerate(before.token_ids) if token in common]
        length = ends[0] + 1 if ends else len(before.token_ids)
        assert row.token_ids == before.token_ids[:length]
        assert len(row.logprobs) == length
        np.testing.assert_allclose(row.logprobs, before.logprobs[:length], rtol=0, atol=1e-5)
        assert row.finish_reason == ("stop" if ends else "length")
    assert {row.finish_reason for row in rows} == {"stop", "length"}
    assert len({row.token_ids[-1] for row in rows if row.finish_reason == "stop"}) > 2


def test_each_row_has_its_own_limit():
    network = oracle.network("llama")
    nodes, prompts, groups = oracle.prompts()
    limits = [1 + i % 5 for i in range(len(nodes))]
    whole = run(network, count=5)
    rows = sample(network.backbone, network.route, nodes, prompts, groups, limits, 1.0, 0)
    for row, long, most in zip(rows, whole, limits, strict=True):
        assert row.token_ids == long.token_ids[:most]


def test_nothing_to_sample_and_too_long_a_prompt():
    network = oracle.network("llama")
    assert sample(network.backbone, network.route, [], [], [], 5) == []
    with pytest.raises(BackboneError, match="holds 512"):
        sample(network.backbone, network.route, [0], [[9] * 510], [0], 5)
