"""What a call costs as networks grow (see network_size.py): that what is compared is the same work.

    pytest tests/benchmarks/test_network_size.py -n 0 --benchmark-enable --benchmark-only      one update, by topology
    python tests/benchmarks/network_size.py                                                  the whole table

Nothing is asserted about time.
"""

from __future__ import annotations

import network_size
import pytest
import torch

QUESTIONS = 1


@pytest.fixture(scope="module")
def loaded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield network_size.load("t1")
    torch.set_num_threads(threads)


@pytest.mark.parametrize("topology", ["1", "1-1-1", "2-2-2-1", "7-7-1/sparse2", "15-15-1/sparse2"])
def test_one_update(benchmark, loaded, topology: str) -> None:
    update = network_size.Update(topology, *loaded, questions=QUESTIONS)
    times = benchmark(update.run)
    assert times.calls == QUESTIONS * network_size.SAMPLES * update.network.topology.num_nodes
    assert times.sampled_tokens > 0
    if benchmark.enabled:
        benchmark.extra_info["calls_per_second"] = round(times.calls / benchmark.stats["median"])


@pytest.mark.parametrize("topology", ["1-1-1", "2-2-1"])
def test_the_one_node_engine_gets_the_same_calls_packed_in_the_same_way(loaded, topology: str) -> None:
    network = network_size.Update(topology, *loaded, questions=QUESTIONS)
    control = network_size.Update(topology, *loaded, questions=QUESTIONS, one_adapter=True)
    theirs, ours = network.sample(), control.sample()
    # Fresh adapters speak like the backbone, whichever node has them.
    assert [sample.prompt_ids for sample in theirs.samples] == [sample.prompt_ids for sample in ours.samples]
    assert [sample.completion_ids for sample in theirs.samples] == [sample.completion_ids for sample in ours.samples]
    assert network_size.tokens_of(theirs) == network_size.tokens_of(ours)
    packed = [network_size.pack(rollout.samples, 512) for rollout in (theirs, ours)]
    assert [part.samples for part in packed[0]] == [part.samples for part in packed[1]]
    assert all(torch.equal(a.packed.input_ids_L, b.packed.input_ids_L) for a, b in zip(*packed, strict=True))
    network.learn(theirs)
    control.learn(ours)
    sums = [update.learner.adapters.grad_NP for update in (network, control)]
    assert sums[0].any(dim=1).all()  # every node has learnt, and the rate of 0 has moved none
    assert sums[1].shape[0] == 1
    fresh = network_size.Network.create(topology, loaded[0]).adapters.flat_NP
    assert torch.equal(network.learner.adapters.flat_NP, fresh)


def test_the_prompts_are_those_of_the_yardstick(loaded) -> None:
    samples = network_size.Update("1", *loaded, questions=QUESTIONS).sample().samples
    assert {len(sample.prompt_ids) for sample in samples} == {network_size.T1.prompt}
    assert max(len(sample.completion_ids) for sample in samples) == network_size.T1.new


def test_a_table_of_times_has_a_row_for_every_topology() -> None:
    rows = network_size.measure("t1", ["1", "1-1-1"], repeats=1, questions=1)
    assert [(row["nodes"], row["calls"]) for row in rows] == [(1, 8), (3, 24)]
    # The topology "1" against itself: equal work, so that its ratios are ratios of two times.
    assert rows[0]["per_call"] == pytest.approx(rows[0]["per_token"])
    assert all(row["same_calls"] > 0 for row in rows)
    assert len(network_size.table(rows).splitlines()) == 4


def test_what_stays_in_memory_grows_with_the_nodes(loaded) -> None:
    kept = {}
    for topology in ("1", "1-1-1"):
        update = network_size.Update(topology, *loaded, questions=1)
        update.run()
        kept[topology] = network_size.tensor_bytes(update)
    for name, size in kept["1"].items():
        assert kept["1-1-1"][name] == 3 * size > 0
