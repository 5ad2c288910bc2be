"""The network as a policy and on disk."""

from __future__ import annotations

import json
import subprocess
import sys

import oracle
import pytest
import tiny_models
import torch

from algorithms.network import Network
from algorithms.packing import pack
from neuromas_env.episodes import run_episodes
from neuromas_env.errors import CheckpointError
from neuromas_env.node import Incoming, NodeRequest, Policy, Position
from neuromas_env.topology import Topology


def requests(nodes=("node_0", "node_1", "node_2"), questions=2, samples=2) -> list[NodeRequest]:
    made = []
    for node in nodes:
        for episode in range(questions * samples):
            question = episode // samples
            heard = () if node == "node_0" else (Incoming(1, "node_0", "abcdefgh"[episode % 8]),)
            made.append(
                NodeRequest(
                    node, episode, 0, f"q{question}", f"1 +{question + 2} *3", heard, Position(1, 1), max_tokens=5
                )
            )
    return made


def test_is_a_policy_and_answers_in_order():
    network = oracle.network("llama")
    assert isinstance(network, Policy)
    asked = requests()
    together = network.act(asked)
    for one, message in zip(asked, together, strict=True):
        (alone,) = network.act([one])
        assert alone.token_ids == message.token_ids
        assert alone.prompt_ids == message.prompt_ids
    backwards = network.act(asked[::-1])[::-1]
    assert [m.token_ids for m in backwards] == [m.token_ids for m in together]
    assert len({m.token_ids for m in together}) > 1


def test_each_node_speaks_with_its_own_adapter():
    """The same request at two nodes: only the adapter differs. A rollout that ignored it would say the same."""
    network = oracle.network("qwen3")
    asked = requests(nodes=("node_1", "node_2"))
    half = len(asked) // 2
    messages = network.act(asked)
    assert [m.prompt_ids for m in messages[:half]] == [m.prompt_ids for m in messages[half:]]
    assert [m.logprobs for m in messages[:half]] != [m.logprobs for m in messages[half:]]
    network.adapters.flat_NP[1] = network.adapters.flat_NP[2]
    messages = network.act(asked)
    assert [m.token_ids for m in messages[:half]] == [m.token_ids for m in messages[half:]]


def test_sampling_is_a_function_of_its_seed():
    network = oracle.network("llama")
    asked = requests()
    assert network.sample(asked, 1.0, seed=4) == network.sample(asked, 1.0, seed=4)
    assert network.sample(asked, 1.0, seed=4) != network.sample(asked, 1.0, seed=5)
    network.temperature = 1.0
    assert network.act(asked) != network.act(asked)


def test_runs_whole_episodes():
    batch = run_episodes(tiny_models.Echo(), "2-1", oracle.network("llama"), [0, 1, 2, 3], split="validation")
    assert len(batch.turns) == 12
    assert all(0 < turn.message.sampled_tokens <= 2 for turn in batch.turns)
    assert {turn.message.prompt_tokens > 0 for turn in batch.turns} == {True}


@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_save_and_load_round_trip(architecture, tmp_path):
    backbone = tiny_models.save(tmp_path / "backbone", architecture)
    network = Network.create(Topology.parse("2-1/all"), backbone, rank=3, alpha=5, seed=2)
    oracle.shake(network.adapters)
    network.save(tmp_path / "network")
    again = Network.load(tmp_path / "network")
    assert again.topology == network.topology
    assert torch.equal(again.adapters.flat_NP, network.adapters.flat_NP)
    assert (again.adapters.rank, again.adapters.alpha) == (3, 5.0)
    assert again.act(requests()) == network.act(requests())
    bare = Network.create("1-1", backbone, rank=0)
    bare.save(tmp_path / "bare")
    again = Network.load(tmp_path / "bare")
    assert again.adapters is None
    assert again.trainable_parameters == 0
    assert again.act(requests(nodes=("node_0",))) == bare.act(requests(nodes=("node_0",)))


def test_networks_share_a_backbone_without_touching_each_other():
    backbone = oracle.backbone("llama")
    networks = [Network.create("2-1", backbone, rank=rank, seed=rank) for rank in (2, 5)] + [
        Network.create("2-1", backbone, rank=0)
    ]
    oracle.shake(networks[0].adapters)
    before = [network.act(requests()) for network in networks]
    oracle.shake(networks[1].adapters)
    after = [network.act(requests()) for network in networks]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_entropy_is_that_of_every_distribution_a_token_was_drawn_from(temperature, tmp_path):
    """Against one full forward pass of plain peft for each sample, and torch's own entropy."""
    network = oracle.network("qwen3", dtype=torch.float64)
    samples = oracle.train_samples()
    peft = oracle.peft_model(network, tmp_path)
    seen = []
    for batch in pack(samples, max_tokens=150):
        logprobs_MT, entropy_MT, mask_MT, order = network.logprobs_and_entropy(batch, temperature)
        plain_MT, plain_mask_MT, plain_order = network.logprobs(batch, temperature)
        assert torch.equal(logprobs_MT, plain_MT)
        assert torch.equal(mask_MT, plain_mask_MT)
        assert order == plain_order
        assert not entropy_MT[mask_MT == 0].any()
        for i, row in zip(order, entropy_MT, strict=True):
            one = samples[i]
            peft.set_adapter(network.topology.nodes[one.node])
            with torch.no_grad():
                logits = peft(input_ids=torch.tensor([[*one.prompt_ids, *one.completion_ids]])).logits
            logits = logits[0, len(one.prompt_ids) - 1 : -1] / temperature
            expected = torch.distributions.Categorical(logits=logits).entropy()
            torch.testing.assert_close(row[: len(expected)].detach(), expected, rtol=1e-6, atol=1e-6)
        seen += order
    assert sorted(seen) == list(range(len(samples)))


def test_the_gradient_of_entropy_is_its_slope():
    """A small step of all adapters along the gradient raises the entropy by the step times its squared length.

    The norms of the model round to float32, which limits the slope to about 1e-5."""
    network = oracle.network("llama", dtype=torch.float64)
    (batch,) = pack(oracle.train_samples())

    def entropy() -> torch.Tensor:
        return network.logprobs_and_entropy(batch)[1].sum()

    entropy().backward()
    gradient_NP, step = network.adapters.grad_NP.clone(), 1e-5
    assert float(gradient_NP.square().sum()) > 1
    with torch.no_grad():
        network.adapters.flat_NP.add_(gradient_NP, alpha=step)
        above = float(entropy())
        network.adapters.flat_NP.add_(gradient_NP, alpha=-2 * step)
        below = float(entropy())
    assert (above - below) / (2 * step) == pytest.approx(float(gradient_NP.square().sum()), rel=1e-3)


@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_the_reference_is_the_plain_model(architecture):
    network = oracle.network(architecture, dtype=torch.float64)
    samples = oracle.train_samples()
    plain = tiny_models.make(architecture).double()
    for batch in pack(samples, max_tokens=150):
        reference_MT = network.reference_logprobs(batch, temperature=0.8)
        logprobs_MT, mask_MT, order = network.logprobs(batch, temperature=0.8)
        assert not reference_MT.requires_grad
        assert not reference_MT[mask_MT == 0].any()
        assert float((logprobs_MT.detach() - reference_MT).abs().max()) > 1e-2
        for i, row in zip(order, reference_MT, strict=True):
            with torch.no_grad():
                expected = oracle.plain_logprobs(plain, samples[i].prompt_ids, samples[i].completion_ids, 0.8)
            torch.testing.assert_close(row[: len(expected)], expected, rtol=1e-6, atol=1e-6)


def edit(folder, **changes):
    description = json.loads((folder / "network.json").read_text())
    (folder / "network.json").write_text(json.dumps(description | changes))


def test_checkpoints_that_do_not_fit_are_refused(tmp_path):
    backbone = oracle.backbone("llama")
    network = Network.create("2-1", backbone, rank=2)
    network.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"node_2.*topology 1-1 has"):
        Network.create("1-1", backbone, rank=2).load_adapters(tmp_path)
    with pytest.raises(CheckpointError, match="does not fit this backbone"):
        Network.load(tmp_path, other_backbone())
    edit(tmp_path, rank=3)
    with pytest.raises(CheckpointError, match="rank 2"):
        Network.load(tmp_path, backbone)
    edit(tmp_path, version=99)
    with pytest.raises(CheckpointError, match="version"):
        Network.load(tmp_path, backbone)
    (tmp_path / "network.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot read the network"):
        Network.load(tmp_path, backbone)
    with pytest.raises(CheckpointError, match="cannot read the network"):
        Network.load(tmp_path / "nowhere", backbone)


def other_backbone():
    from transformers import LlamaConfig, LlamaForCausalLM

    from algorithms.backbone import Backbone

    model = LlamaForCausalLM(LlamaConfig(**tiny_models.SHAPE | {"hidden_size": 48}))
    return Backbone.wrap(model, tiny_models.tokenizer(), "other")


def test_the_package_imports_torch_only_when_something_needs_it():
    code = (
        "import sys, algorithms; assert 'torch' not in sys.modules; algorithms.Network; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
