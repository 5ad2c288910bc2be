"""Packed training passes against plain forward passes over one unpadded row each."""

from __future__ import annotations

import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.packing import TrainSample, pack, shared_length


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_logprobs_equal_a_plain_forward_pass(architecture, temperature, tmp_path):
    """Every architecture (Gemma's window of 8 is shorter than its rows), several nodes in one micro-batch."""
    network = oracle.network(architecture)
    samples = oracle.train_samples()
    peft = oracle.peft_model(network, tmp_path)
    seen = []
    for batch in pack(samples, max_tokens=120):
        with torch.no_grad():
            logprobs_MT, mask_MT, order = network.logprobs(batch, temperature)
        for row, index in enumerate(order):
            one = samples[index]
            n = len(one.completion_ids)
            assert mask_MT[row].tolist() == [1.0] * n + [0.0] * (mask_MT.shape[1] - n)
            peft.set_adapter(network.topology.nodes[one.node])
            with torch.no_grad():
                expected = oracle.plain_logprobs(peft, one.prompt_ids, one.completion_ids, temperature)
            torch.testing.assert_close(logprobs_MT[row, :n], expected, rtol=0, atol=1e-5)
            assert not logprobs_MT[row, n:].any()
        seen += order
    assert sorted(seen) == list(range(len(samples)))


@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_shared_prefixes_leave_the_gradients_equal(architecture):
    """One batch with shared prefixes, many batches with shared prefixes, and no sharing at all."""
    network = oracle.network(architecture, dtype=torch.float64)
    samples = oracle.train_samples()
    weights_M = torch.linspace(-1, 1, len(samples), dtype=torch.float64)
    gradients = []
    for max_tokens, share in ((10_000, True), (90, True), (10_000, False), (1, False)):
        network.adapters.zero_grad()
        for batch in pack(samples, max_tokens, share):
            logprobs_MT, mask_MT, order = network.logprobs(batch, temperature=0.8)
            ((logprobs_MT * mask_MT).sum(1) * weights_M[order]).sum().backward()
        gradients.append(network.adapters.grad_NP.clone())
    for other in gradients[:-1]:
        assert torch.linalg.vector_norm(other - gradients[-1]) <= 1e-6 * torch.linalg.vector_norm(gradients[-1])
    assert (gradients[-1].abs().sum(1) > 0).all()


def test_every_completion_token_is_trained_the_last_one_too():
    """The gradient must depend on each token of a completion, and on what stands after it in no way."""
    network = oracle.network("llama", "1", dtype=torch.float64)
    prompt, completion = [8, 9, 10, 11], [12, 13, 1]

    def gradient(samples: list[TrainSample]) -> torch.Tensor:
        network.adapters.zero_grad()
        for batch in pack(samples):
            logprobs_MT, mask_MT, order = network.logprobs(batch)
            (logprobs_MT * mask_MT)[order.index(0)].sum().backward()
        return network.adapters.grad_NP.clone()

    whole = gradient([TrainSample(0, 0, prompt, completion)])
    for cut in range(1, 4):
        assert (torch.linalg.vector_norm(gradient([TrainSample(0, 0, prompt, completion[:cut])]) - whole) > 1e-3) == (
            cut < 3
        )
    beside = gradient([TrainSample(0, 0, prompt, completion), TrainSample(0, 0, prompt, [20] * 9)])
    assert torch.linalg.vector_norm(beside - whole) < 1e-6 * torch.linalg.vector_norm(whole)


def test_sharing_saves_the_tokens_it_promises():
    samples = [TrainSample(0, "q", list(range(10, 30)), [1, 2]) for _ in range(8)]
    assert sum(len(batch.packed.input_ids_L) for batch in pack(samples)) == 19 + 8 * 3
    assert sum(len(batch.packed.input_ids_L) for batch in pack(samples, share=False)) == 8 * 22


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 2),
            st.lists(st.integers(3, 5), min_size=1, max_size=6),
            st.lists(st.integers(3, 9), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 60),
)
@settings(max_examples=60, deadline=None)
def test_every_sample_is_packed_exactly_once_and_reads_its_own_prompt(rows, max_tokens):
    samples = [TrainSample(*row) for row in rows]
    seen = []
    for batch in pack(samples, max_tokens):
        packed = batch.packed
        assert [node for node, _, _ in packed.segments] == sorted({samples[i].node for i in batch.samples})
        for row, index in enumerate(batch.samples):
            one = samples[index]
            places = [int(k) for k in batch.keep_K[batch.rows_K == row]]
            block, branch = next(
                (c, g)
                for c, g in torch.cartesian_prod(*map(torch.arange, packed.branch_CG.shape)).tolist()
                if places[0] in packed.branch_CGS[c, g, : packed.branch_CG[c, g]].tolist()
            )
            tokens = [*packed.prefix_CP[block, : packed.prefix_C[block]].tolist()]
            tokens += packed.branch_CGS[block, branch, : packed.branch_CG[block, branch]].tolist()
            assert packed.input_ids_L[tokens].tolist() == [*one.prompt_ids, *one.completion_ids]
            assert packed.position_ids_L[tokens].tolist() == list(range(len(tokens)))
            assert places == tokens[len(one.prompt_ids) - 1 : -1]
            assert batch.targets_K[batch.rows_K == row].tolist() == list(one.completion_ids)
        if len(batch.samples) > 1:
            assert len(packed.input_ids_L) <= max_tokens
        seen += batch.samples
    assert sorted(seen) == list(range(len(samples)))


def test_the_shared_prefix_never_holds_a_last_prompt_token():
    assert shared_length([[1, 2, 3]]) == 2
    assert shared_length([[1, 2, 3], [1, 2, 3]]) == 2
    assert shared_length([[1, 2, 3], [1, 2]]) == 1
    assert shared_length([[1, 2, 3, 4], [1, 2, 5, 4], [1, 2, 3, 4]]) == 2
    assert shared_length([[1], [1, 2]]) == 0


@pytest.mark.parametrize(("prompt", "completion"), [([], [3]), ([3], [])])
def test_empty_prompts_and_completions_are_refused(prompt, completion):
    with pytest.raises(ValueError, match="sample 1"):
        pack([TrainSample(0, 0, [3], [3]), TrainSample(0, 0, prompt, completion)])
