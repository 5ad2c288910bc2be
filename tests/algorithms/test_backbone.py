"""Backbones from disk: every architecture, with and without a chat template, end tokens, and clear refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import oracle
import pytest
import tiny_models
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel, Lfm2Config, Lfm2ForCausalLM

from algorithms.backbone import Backbone, load_backbone
from algorithms.network import Network
from algorithms.packing import TrainSample, pack
from neuromas_env.errors import BackboneError
from neuromas_env.node import Incoming, NodeRequest, Position


def request(task="1 +2", messages=(), **fields) -> NodeRequest:
    incoming = tuple(Incoming(i + 1, f"node_{i}", text) for i, text in enumerate(messages))
    return NodeRequest("node_0", 0, 0, "q", task, incoming, Position(1, 1), **{"max_tokens": 5} | fields)


@pytest.mark.parametrize("template", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_loads_from_disk_and_speaks(architecture, template, tmp_path):
    tiny_models.make(architecture).save_pretrained(tmp_path)
    tokenizer = tiny_models.tokenizer()
    tokenizer.chat_template = tiny_models.TEMPLATE if template else None
    tokenizer.save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path))
    one = request(messages=("a b",))
    ids = backbone.encode_request(one)
    text = (
        tokenizer.apply_chat_template(one.chat, tokenize=False, add_generation_prompt=True) if template else one.prompt
    )
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert (ids[-1] == tokenizer.convert_tokens_to_ids("<assistant>")) == template
    network = Network.create("1", backbone)
    (message,) = network.act([one])
    assert message.prompt_ids == tuple(ids)
    expected = oracle.greedy(tiny_models.make(architecture), ids, backbone.eos_ids, 5)
    assert list(message.token_ids) == expected
    said = [token for token in expected if token not in backbone.eos_ids]
    assert message.text == tokenizer.decode(said, skip_special_tokens=True).strip()


def test_thinking_is_switched_off_where_the_template_knows_it():
    tokenizer = tiny_models.tokenizer()
    tokenizer.chat_template = tiny_models.TEMPLATE + "{% if enable_thinking is false %} = {% endif %}"
    backbone = Backbone.wrap(tiny_models.make("llama"), tokenizer, "llama")
    assert backbone.encode_request(request())[-1] == tokenizer.convert_tokens_to_ids("=")


def test_a_template_without_system_turns_gets_all_in_the_user_turn():
    tokenizer = tiny_models.tokenizer()
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer.chat_template = refuse + tiny_models.TEMPLATE
    backbone = Backbone.wrap(tiny_models.make("llama"), tokenizer, "llama")
    system, user = (turn["content"] for turn in request(task_instruction="yes no").chat)
    text = f"<user> {system}\n\n{user} <assistant>"
    assert backbone.encode_request(request(task_instruction="yes no")) == tokenizer(text)["input_ids"]


def test_end_tokens_are_those_of_the_generation_config_and_of_the_tokenizer(tmp_path):
    model = tiny_models.make("qwen3")
    model.generation_config.eos_token_id = [9, 11]
    model.save_pretrained(tmp_path)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    assert load_backbone(str(tmp_path)).eos_ids == (9, 11, 1)


def test_text_has_no_special_tokens_and_no_white_space_around():
    backbone = oracle.backbone("llama")
    ids = backbone.tokenizer.convert_tokens_to_ids(["<user>", "a", "b", "<eos>", "<pad>"])
    assert backbone.decode(ids) == "a b"
    assert backbone.decode([]) == ""


def test_the_hash_tells_weights_apart_and_survives_the_disk(tmp_path):
    one = tiny_models.save(tmp_path / "one", seed=1)
    two = tiny_models.save(tmp_path / "two", seed=2)
    assert load_backbone(one).weight_hash() == load_backbone(one).weight_hash() != load_backbone(two).weight_hash()


def test_weights_never_get_a_gradient():
    network = oracle.network("gemma3")
    assert not any(p.requires_grad for p in network.backbone.model.parameters())
    assert network.trainable_parameters == network.adapters.flat_NP.numel() > 0


@pytest.mark.parametrize("adapted", [True, False], ids=["adapted", "bare"])
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_features_are_what_the_head_reads(architecture, adapted):
    """At all nodes of a packed batch; and they carry gradients to the adapters, as logits do."""
    network = oracle.network(architecture, dtype=torch.float64)
    backbone = network.backbone
    (batch,) = pack(oracle.train_samples())
    packed, route = batch.packed, network.route if adapted else lambda segments: None
    arguments = packed.input_ids_L, packed.position_ids_L, batch.keep_K, packed.layout()
    features_Kd = backbone.features(*arguments, route(packed.segments))
    assert features_Kd.shape == (len(batch.keep_K), tiny_models.SHAPE["hidden_size"])
    logits_KV = features_Kd @ backbone.model.get_output_embeddings().weight.t()
    expected_KV = backbone.forward(*arguments, route(packed.segments))
    torch.testing.assert_close(logits_KV, expected_KV, rtol=1e-12, atol=1e-12)
    if not adapted:
        assert not features_Kd.requires_grad
        return
    grads = []
    for logits in (logits_KV, expected_KV):
        network.adapters.zero_grad()
        logits.square().sum().backward()
        grads.append(network.adapters.grad_NP.clone())
    assert float(grads[0].abs().max()) > 0
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)


def broken_config(folder):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "no-such-architecture"}))
    return folder


def no_weights(folder):
    tiny_models.save(folder)
    (folder / "model.safetensors").unlink()
    return folder


def cut_weights(folder):
    tiny_models.save(folder)
    (folder / "model.safetensors").write_bytes(b"\0" * 40)
    return folder


@pytest.mark.parametrize("make", [lambda folder: folder, broken_config, no_weights, cut_weights])
def test_a_folder_that_holds_no_model_is_one_clear_line(make, tmp_path):
    name = str(make(tmp_path / "model"))
    with pytest.raises(BackboneError, match="cannot load backbone") as caught:
        load_backbone(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_hub_id_that_cannot_be_reached_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment at import
    with pytest.raises(BackboneError, match="no-such-owner/no-such-model") as caught:
        load_backbone("no-such-owner/no-such-model")
    assert "\n" not in str(caught.value)


def test_architectures_that_cannot_be_routed_are_refused():
    small = {"vocab_size": oracle.VOCABULARY, "bos_token_id": 1, "eos_token_id": 1}
    shape = tiny_models.SHAPE | {"bos_token_id": 1}
    convolutions = Lfm2ForCausalLM(Lfm2Config(**shape, layer_types=["conv", "full_attention"]))
    soft_capped = Gemma2ForCausalLM(Gemma2Config(**shape))
    for model in (convolutions, soft_capped):
        with pytest.raises(BackboneError, match=r"'odd'.*plain causal attention"):
            Backbone.wrap(model, tiny_models.tokenizer(), "odd")
    gpt2 = GPT2LMHeadModel(GPT2Config(**small, n_embd=16, n_layer=1, n_head=1))
    with pytest.raises(BackboneError, match="none of the linear layers"):
        Backbone.wrap(gpt2, tiny_models.tokenizer(), "odd")
    with pytest.raises(BackboneError, match="dtype"):
        load_backbone("nano", dtype="float33")


def test_half_precision_backbones_speak_and_learn():
    """bfloat16 weights, float32 adapters: the gradient of a fresh adapter reaches B."""
    network = oracle.network("qwen3", "1", dtype=torch.bfloat16)
    assert network.adapters.flat_NP.dtype == torch.float32
    (message,) = network.act([request()])
    (batch,) = pack([TrainSample(0, 0, message.prompt_ids, message.token_ids)])
    logprobs_MT, mask_MT, _ = network.logprobs(batch)
    assert logprobs_MT.dtype == torch.float32
    (logprobs_MT * mask_MT).sum().backward()
    assert float(network.adapters.grad_NP.abs().sum()) > 0
    assert logprobs_MT[0].tolist() == pytest.approx(message.logprobs, abs=0.1)


def test_a_hub_model_is_loaded_at_its_revision(tmp_path):
    """In a process of its own, with two revisions in a cache made on the spot and the hub out of reach."""
    hub = tmp_path / "hub" / "models--some--model"
    for seed, revision in enumerate(("a" * 40, "b" * 40)):
        tiny_models.save(hub / "snapshots" / revision, "qwen3", seed)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("b" * 40)
    program = """
import sys
from algorithms import Network, load_backbone
from neuromas_env.errors import BackboneError
old, new = load_backbone("some/model@" + "a" * 40), load_backbone("some/model")
assert (old.revision, new.revision) == ("a" * 40, "b" * 40), (old.revision, new.revision)
assert old.name == new.name == "some/model"
assert old.weight_hash() != new.weight_hash()
Network.create("1-1", old).save(sys.argv[1])
assert Network.load(sys.argv[1]).backbone.weight_hash() == old.weight_hash()  # not what main is today
try:
    load_backbone("some/model@" + "c" * 40)
except BackboneError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "network")],
        env=os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert f"cannot load backbone 'some/model@{'c' * 40}'" in done.stdout
