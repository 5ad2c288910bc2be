"""Stacked adapters against a loop of plain peft: gradients, tokens, files."""

from __future__ import annotations

import json

import oracle
import pytest
import tiny_models
import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM

from algorithms.adapters import StackedAdapters
from algorithms.backbone import Backbone
from algorithms.network import Network
from algorithms.packing import TrainSample, pack
from algorithms.sampling import sample
from neuromas_env.errors import CheckpointError


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_gradients_equal_a_loop_of_peft(architecture, merge, tmp_path):
    """One backward pass over all nodes against set_adapter for one sample after the other."""
    network = oracle.network(architecture, dtype=torch.float64, merge=merge)
    samples = oracle.train_samples()
    weights = torch.linspace(-1, 1, len(samples), dtype=torch.float64)
    for batch in pack(samples, max_tokens=150):
        logprobs_MT, mask_MT, order = network.logprobs(batch)
        (logprobs_MT * mask_MT).sum(1).mul(weights[order]).sum().backward()
    peft = oracle.peft_model(network, tmp_path, trainable=True)
    for weight, one in zip(weights, samples, strict=True):
        peft.set_adapter(network.topology.nodes[one.node])
        (oracle.plain_logprobs(peft, one.prompt_ids, one.completion_ids).sum() * weight).backward()
    expected = {name: p.grad for name, p in peft.named_parameters() if p.grad is not None}
    for i, node in enumerate(network.topology.nodes):
        got = node_gradients(network.adapters, i)
        want = {name.replace(f".{node}.", "."): grad for name, grad in expected.items() if f".{node}." in name}
        assert set(got) == set(want)
        assert all(float(grad.abs().max()) > 0 for grad in got.values())
        for name, grad in got.items():
            assert torch.linalg.vector_norm(grad - want[name]) <= 1e-6 * torch.linalg.vector_norm(want[name]), name


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
def test_single_precision_gradients_are_as_exact_as_those_of_peft(merge, tmp_path):
    """In float32 both round; neither may be further than the other from the gradient in float64."""
    samples = oracle.train_samples()
    flat = {}
    for dtype in (torch.float64, torch.float32):
        network = oracle.network("llama", dtype=dtype, merge=merge)
        for batch in pack(samples):
            logprobs_MT, mask_MT, _ = network.logprobs(batch)
            (logprobs_MT * mask_MT).sum().backward()
        flat[dtype] = torch.cat(
            [grad.flatten() for i in range(3) for grad in node_gradients(network.adapters, i).values()]
        )
    peft = oracle.peft_model(network, tmp_path, trainable=True)
    for one in samples:
        peft.set_adapter(network.topology.nodes[one.node])
        oracle.plain_logprobs(peft, one.prompt_ids, one.completion_ids).sum().backward()
    expected = {name: p.grad for name, p in peft.named_parameters() if p.grad is not None}
    looped = torch.cat(
        [
            expected[name.replace(".weight", f".{node}.weight")].flatten()
            for i, node in enumerate(network.topology.nodes)
            for name in node_gradients(network.adapters, i)
        ]
    )
    exact = flat[torch.float64]
    mine, theirs = (
        torch.linalg.vector_norm(g - exact) / torch.linalg.vector_norm(exact) for g in (flat[torch.float32], looped)
    )
    assert mine <= max(2 * theirs, 1e-6)


def node_gradients(adapters: StackedAdapters, node: int) -> dict[str, torch.Tensor]:
    row, named = adapters.grad_NP[node], {}
    for site in adapters.sites.values():
        a, b = adapters.rank * site.d_in, adapters.rank * site.d_out
        name = f"base_model.model.{site.name}"
        named[f"{name}.lora_A.weight"] = row[site.a : site.a + a].view(adapters.rank, site.d_in)
        named[f"{name}.lora_B.weight"] = row[site.b : site.b + b].view(site.d_out, adapters.rank)
    return named


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_greedy_tokens_equal_a_loop_of_peft(architecture, merge, tmp_path):
    """All nodes are decoded together; a rollout that ignored an adapter, or used another's, would show here."""
    network = oracle.network(architecture, merge=merge)
    nodes, prompts, groups = oracle.prompts()
    rows = sample(network.backbone, network.route, nodes, prompts, groups, 6, temperature=0.0)
    peft = oracle.peft_model(network, tmp_path)
    for node, prompt, row in zip(nodes, prompts, rows, strict=True):
        peft.set_adapter(network.topology.nodes[node])
        assert list(row.token_ids) == oracle.greedy(peft, prompt, network.backbone.eos_ids, 6)
    bare = sample(network.backbone, lambda segments: None, nodes, prompts, groups, 6, temperature=0.0)
    assert [row.token_ids for row in bare] != [row.token_ids for row in rows]


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
def test_linear_layers_with_biases(merge):
    """The layers' own biases, two nodes in one pass; and a layer of a group that is given an input of its own."""
    config = LlamaConfig(**tiny_models.SHAPE, attention_bias=True, mlp_bias=True)
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    network = Network.create("1-1", Backbone.wrap(model, tiny_models.tokenizer(), "biased"), rank=3)
    oracle.shake(network.adapters)
    network.adapters.merge &= merge
    route = network.route([(0, 0, 2), (1, 2, 5)])
    inputs = torch.randn(2, 5, tiny_models.SHAPE["hidden_size"])
    for name, x in (("q_proj", inputs[0]), ("k_proj", inputs[0]), ("v_proj", inputs[1])):
        site = f"model.layers.0.self_attn.{name}"
        linear = network.backbone.targets[site]
        expected = []
        for node, part in ((0, x[:2]), (1, x[2:])):
            state = network.adapters.node_state(node)
            a, b = (state[f"base_model.model.{site}.lora_{letter}.weight"] for letter in "AB")
            expected.append(part @ linear.weight.t() + linear.bias + part @ a.t() @ b.t() * network.adapters.scaling)
        with torch.no_grad():
            torch.testing.assert_close(route.linear(site, x), torch.cat(expected), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="does not see every token"):
        route.linear("model.layers.0.self_attn.q_proj", inputs[0][:4])


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_every_folder_loads_in_peft_with_equal_logits(architecture, merge, tmp_path):
    network = oracle.network(architecture, dtype=torch.float64, merge=merge)
    network.save(tmp_path)
    prompt = oracle.prompts()[1][0]
    adapted = []
    for i, node in enumerate(network.topology.nodes):
        base = tiny_models.make(architecture).double()
        peft = PeftModel.from_pretrained(base, tmp_path / "nodes" / node, autocast_adapter_dtype=False)
        with torch.no_grad():
            network.backbone.router.route = network.route([(i, 0, len(prompt))])
            mine = network.backbone.model(input_ids=torch.tensor([prompt])).logits
            network.backbone.router.route = None
            theirs = peft(input_ids=torch.tensor([prompt])).logits
        assert float((mine - theirs).abs().max()) < 1e-6
        adapted.append(theirs)
    assert float((adapted[0] - adapted[1]).abs().max()) > 1e-2


def test_merged_weights_follow_every_change_of_the_adapters():
    """Whoever comes first after a change, sampling or training; only what belongs to the changed node changes."""
    network = oracle.network("llama", "1-1")
    nodes, prompts, groups = oracle.prompts(nodes=2)

    def sampled() -> list[float]:
        rows = sample(network.backbone, network.route, nodes, prompts, groups, 1, 0.0)
        return [row.logprobs[0] for row in rows]

    def trained() -> list[float]:
        samples = [TrainSample(*row, [9]) for row in zip(nodes, groups, prompts, strict=True)]
        (batch,) = pack(samples)
        logprobs_MT, _, order = network.logprobs(batch)
        logprobs_MT.sum().backward()
        return logprobs_MT[torch.argsort(torch.tensor(order)), 0].tolist()

    for first in (sampled, trained, sampled, trained):
        before = {f: f() for f in (sampled, trained)}
        network.adapters.flat_NP[1].mul_(1.1)
        order = (first, trained if first is sampled else sampled)
        for after in {f: f() for f in order}.items():
            for node, old, new in zip(nodes, before[after[0]], after[1], strict=True):
                assert (old == pytest.approx(new, abs=1e-6)) == (node == 0)


def test_a_change_between_forward_and_backward_is_refused():
    network = oracle.network("llama", "1")
    (batch,) = pack([TrainSample(0, 0, [9, 10], [11])])
    loss = network.logprobs(batch)[0].sum()
    network.adapters.flat_NP.mul_(2)
    with pytest.raises(RuntimeError, match="changed between"):
        loss.backward()


def test_a_fresh_network_speaks_like_the_backbone_and_leaves_it_unchanged():
    backbone = oracle.backbone("qwen3")
    nodes, prompts, groups = oracle.prompts()
    digest, plain = backbone.weight_hash(), backbone.model(input_ids=torch.tensor([prompts[0]])).logits
    fresh, bare = Network.create("2-1", backbone), Network.create("2-1", backbone, rank=0)
    rows = [sample(backbone, n.route, nodes, prompts, groups, 5, temperature=0.0) for n in (fresh, bare)]
    assert [row.token_ids for row in rows[0]] == [row.token_ids for row in rows[1]]
    oracle.shake(fresh.adapters)
    assert backbone.weight_hash() == digest
    assert torch.equal(backbone.model(input_ids=torch.tensor([prompts[0]])).logits, plain)


def test_initial_adapters_come_from_the_seed_alone():
    backbone = oracle.backbone("llama")
    state = torch.get_rng_state()
    one, two = StackedAdapters(backbone, 3, seed=5), StackedAdapters(backbone, 4, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.flat_NP, two.flat_NP[:3])
    assert not torch.equal(one.flat_NP[0], one.flat_NP[1])
    assert not torch.equal(one.flat_NP, StackedAdapters(backbone, 3, seed=6).flat_NP)
    weights = one.node_state(0)
    for name, tensor in weights.items():  # as peft: B is zero, A uniform within 1 / sqrt(d_in)
        bound = tensor.shape[1] ** -0.5
        assert float(tensor.abs().max()) == 0 if "lora_B" in name else 0.9 * bound < float(tensor.abs().max()) <= bound


def test_adapters_that_do_not_fit_are_refused(tmp_path):
    backbone = oracle.backbone("llama")
    StackedAdapters(backbone, 1, rank=4).save_node(0, tmp_path)
    with pytest.raises(CheckpointError, match=r"rank 4 .* expected rank 8"):
        StackedAdapters(backbone, 1, rank=8).load_node(0, tmp_path)
    state = StackedAdapters(backbone, 1, rank=4).node_state(0)
    state["base_model.model.extra.lora_A.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match="does not fit this backbone"):
        StackedAdapters(backbone, 1, rank=4).load_node_state(0, state)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="cannot read the adapter"):
        StackedAdapters(backbone, 1, rank=4, alpha=16).load_node(0, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "LORA"
