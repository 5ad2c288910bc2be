"""Which layers carry adapters, and how they are scaled: against plain peft, on disk, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import oracle
import pytest
import tiny_models
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from algorithms.adapters import StackedAdapters
from algorithms.backbone import TARGETS
from algorithms.lora import LoRA
from algorithms.network import Network
from algorithms.packing import pack
from algorithms.sampling import sample
from neuromas_env.errors import CheckpointError, UsageError

OPTIONS = [
    (("q_proj", "v_proj"), "lora"),
    (("v_proj", "k_proj", "down_proj"), "rslora"),
    (("gate_proj", "o_proj"), "lora"),
    ((), "rslora"),
]
NAMES = ["qv", "kv-down-rslora", "gate-o", "all-rslora"]


def network(architecture: str, targets=(), variant="lora", merge=True, dtype=torch.float32, rank=4) -> Network:
    backbone = oracle.backbone(architecture, dtype)
    made = Network.create("2-1", backbone, rank, 8.0, 1, targets, variant)
    oracle.shake(made.adapters)
    made.adapters.merge &= merge
    return made


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
@pytest.mark.parametrize(("targets", "variant"), OPTIONS, ids=NAMES)
@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_every_folder_loads_in_peft_with_equal_logits(architecture, targets, variant, merge, tmp_path):
    made = network(architecture, targets, variant, merge)
    made.save(tmp_path)
    prompt = oracle.prompts()[1][0]
    adapted = []
    for i, node in enumerate(made.topology.nodes):
        folder = tmp_path / "nodes" / node
        config = json.loads((folder / "adapter_config.json").read_text())
        assert set(config["target_modules"]) == set(targets or TARGETS)
        assert config["use_rslora"] == (variant == "rslora")
        peft = PeftModel.from_pretrained(tiny_models.make(architecture), folder)
        with torch.no_grad():
            made.backbone.router.route = made.route([(i, 0, len(prompt))])
            mine = made.backbone.model(input_ids=torch.tensor([prompt])).logits
            made.backbone.router.route = None
            theirs = peft(input_ids=torch.tensor([prompt])).logits
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
        adapted.append(theirs)
    assert float((adapted[0] - adapted[1]).abs().max()) > 1e-2


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "unmerged"])
@pytest.mark.parametrize(("targets", "variant"), OPTIONS, ids=NAMES)
def test_gradients_equal_a_loop_of_peft(targets, variant, merge, tmp_path):
    made = network("gemma3", targets, variant, merge, torch.float64)
    samples = oracle.train_samples()
    for batch in pack(samples, max_tokens=150):
        logprobs_MT, mask_MT, _ = made.logprobs(batch)
        (logprobs_MT * mask_MT).sum().backward()
    peft = oracle.peft_model(made, tmp_path, trainable=True)
    for one in samples:
        peft.set_adapter(made.topology.nodes[one.node])
        oracle.plain_logprobs(peft, one.prompt_ids, one.completion_ids).sum().backward()
    expected = {name: p.grad for name, p in peft.named_parameters() if p.grad is not None}
    count = 0
    for i, node in enumerate(made.topology.nodes):
        for group in made.adapters.groups:
            parts = group.grad_a[i].split(made.adapters.rank)
            for name, grad_a, grad_b in zip(group.names, parts, group.grad_bs, strict=True):
                for letter, grad in (("A", grad_a), ("B", grad_b[i])):
                    want = expected[f"base_model.model.{name}.lora_{letter}.{node}.weight"]
                    assert float(want.abs().max()) > 0
                    assert torch.linalg.vector_norm(grad - want) <= 1e-6 * torch.linalg.vector_norm(want), name
                    count += 1
    assert count == len(expected)


def test_sampling_passes_the_layers_without_adapters(tmp_path):
    made = network("qwen3", ("k_proj", "up_proj"), "rslora")
    nodes, prompts, groups = oracle.prompts()
    rows = sample(made.backbone, made.route, nodes, prompts, groups, 6, temperature=0.0)
    peft = oracle.peft_model(made, tmp_path)
    for node, prompt, row in zip(nodes, prompts, rows, strict=True):
        peft.set_adapter(made.topology.nodes[node])
        assert list(row.token_ids) == oracle.greedy(peft, prompt, made.backbone.eos_ids, 6)


def test_layers_of_one_input_stay_one_product_where_they_are_targeted():
    adapters = network("llama", ("v_proj", "q_proj", "up_proj", "down_proj")).adapters
    groups = [tuple(name.rpartition(".")[2] for name in group.names) for group in adapters.groups]
    assert groups == [("q_proj", "v_proj"), ("up_proj",), ("down_proj",)] * tiny_models.SHAPE["num_hidden_layers"]
    assert len(network("llama").adapters.groups) == 4 * tiny_models.SHAPE["num_hidden_layers"]
    d, inner = tiny_models.SHAPE["hidden_size"], tiny_models.SHAPE["intermediate_size"]
    per_layer = 4 * ((d + 32) + (d + 16) + (d + inner) + (inner + d))
    assert adapters.parameters_per_node == per_layer * tiny_models.SHAPE["num_hidden_layers"]


def test_scaling():
    assert LoRA(rank=16, alpha=8).scaling == 0.5
    assert LoRA(rank=16, alpha=8, variant="rslora").scaling == 2.0
    assert network("llama", variant="rslora", rank=4).adapters.scaling == 4.0


def test_what_is_not_supported_is_one_clear_line():
    backbone = oracle.backbone("llama")
    with pytest.raises(UsageError, match=r"no linear layer 'w_proj'.*has q_proj, k_proj, v_proj, o_proj, gate_proj"):
        Network.create("1", backbone, targets=("q_proj", "w_proj"))
    with pytest.raises(UsageError, match=r"'dora' is not supported: its magnitude.*accepted: lora, rslora\)"):
        Network.create("1", backbone, variant="dora")
    with pytest.raises(UsageError, match=r"variant 'vera' \(accepted: lora, rslora\)"):
        Network.create("1", backbone, variant="vera")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="rank 1 or more, not -2"):
        Network.create("1", backbone, rank=-2)


@pytest.mark.parametrize(("targets", "variant"), OPTIONS, ids=NAMES)
def test_a_saved_network_keeps_its_options(targets, variant, tmp_path):
    made = network("llama", targets, variant)
    made.save(tmp_path)
    again = Network.load(tmp_path, made.backbone)
    assert again.adapters.lora == made.adapters.lora == LoRA(4, 8.0, targets, variant)
    assert torch.equal(again.adapters.flat_NP, made.adapters.flat_NP)
    assert again.adapters.scaling == made.adapters.scaling


def edit(path: Path, drop: tuple[str, ...] = (), **changes: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in (content | changes).items() if name not in drop}))


def test_networks_saved_before_these_options_still_load(tmp_path):
    made = network("llama")
    made.save(tmp_path)
    edit(tmp_path / "network.json", drop=("targets", "variant"), version=1)
    for node in made.topology.nodes:
        edit(tmp_path / "nodes" / node / "adapter_config.json", drop=("use_rslora",))
    again = Network.load(tmp_path, made.backbone)
    assert again.adapters.lora == LoRA(4, 8.0)
    assert torch.equal(again.adapters.flat_NP, made.adapters.flat_NP)


def test_options_that_contradict_the_folders_are_refused(tmp_path):
    made = network("llama", ("q_proj",))
    made.save(tmp_path)
    edit(tmp_path / "network.json", variant="rslora")
    with pytest.raises(CheckpointError, match="use_rslora False; expected variant rslora"):
        Network.load(tmp_path, made.backbone)
    edit(tmp_path / "network.json", variant="lora", targets=["k_proj"])
    with pytest.raises(CheckpointError, match="does not fit this backbone"):
        Network.load(tmp_path, made.backbone)
    edit(tmp_path / "network.json", targets=5)
    with pytest.raises(CheckpointError, match="cannot read the network"):
        Network.load(tmp_path, made.backbone)


def test_folders_written_by_peft_load_unless_they_compute_something_else(tmp_path):
    """With all of peft's defaults in the file; then with each option that changes what the adapter computes."""
    plain = LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    peft = get_peft_model(tiny_models.make("llama"), plain)
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    peft.save_pretrained(tmp_path / "plain")
    backbone = oracle.backbone("llama")
    adapters = StackedAdapters(backbone, 1, 2, 6, targets=("q_proj", "down_proj"))
    adapters.load_node(0, tmp_path / "plain")
    prompt = oracle.prompts()[1][0]
    with torch.no_grad():
        backbone.router.route = adapters.route([(0, 0, len(prompt))])
        mine = backbone.model(input_ids=torch.tensor([prompt])).logits
        backbone.router.route = None
        theirs = peft(input_ids=torch.tensor([prompt])).logits
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)

    config = tmp_path / "plain" / "adapter_config.json"
    whole = config.read_text()
    for option, value in {
        "use_dora": True,
        "bias": "lora_only",
        "lora_bias": True,
        "rank_pattern": {"q_proj": 3},
        "alpha_pattern": {"q_proj": 3},
        "layers_to_transform": 0,
        "modules_to_save": ["lm_head"],
        "use_rslora": True,
    }.items():
        edit(config, **{option: value})
        with pytest.raises(CheckpointError, match=option):
            adapters.load_node(0, tmp_path / "plain")
        config.write_text(whole)
