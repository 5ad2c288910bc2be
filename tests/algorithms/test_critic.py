"""The critic: its values and gradients against plain peft, its loss by hand, and that it learns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import oracle
import pytest
import tiny_models
import torch
from peft import PeftModel
from torch import Tensor

from algorithms.backbone import Backbone
from algorithms.critic import Critic, Prompt, explained_variance, value_loss
from neuromas_env.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return oracle.backbone("llama")


def some_prompts() -> list[Prompt]:
    _, prompts, questions = oracle.prompts(nodes=2)
    made = [Prompt(question, tuple(ids)) for ids, question in zip(prompts, questions, strict=True)]
    return [*made, made[2], made[0]]  # some twice


def a_critic(architecture: str) -> Critic:
    critic = Critic(oracle.backbone(architecture), rank=3, seed=2)
    oracle.shake_critic(critic)
    return critic


def peft_of(critic: Critic, folder: Path) -> PeftModel:
    critic.adapters.save_node(0, folder)
    model = tiny_models.make(critic.backbone.name)
    return PeftModel.from_pretrained(model, folder, is_trainable=True).eval()


def plain_value(model: PeftModel, critic: Critic, prompt: Prompt, weight: Tensor, bias: Tensor) -> Tensor:
    hidden_Ld = model(input_ids=torch.tensor([prompt.ids]), output_hidden_states=True).hidden_states[-1][0]
    return hidden_Ld[-1] @ weight + bias


@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_values_are_those_of_plain_peft(architecture, tmp_path):
    critic, prompts = a_critic(architecture), some_prompts()
    model = peft_of(critic, tmp_path)
    with torch.no_grad():
        expected = [float(plain_value(model, critic, prompt, critic.weight, critic.bias)) for prompt in prompts]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(critic.values(prompts), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # one prompt, plainly through the route
        packed = torch.tensor(prompts[0].ids)
        critic.backbone.router.route = critic.adapters.route([(0, 0, len(packed))])
        hidden_Ld = critic.backbone.model.get_decoder()(packed[None]).last_hidden_state[0]
        critic.backbone.router.route = None
        value = float(hidden_Ld[-1] @ critic.weight + critic.bias)
    assert value == pytest.approx(expected[0], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("architecture", oracle.ARCHITECTURES)
def test_gradients_are_those_of_plain_peft(architecture, tmp_path):
    critic, prompts = a_critic(architecture), some_prompts()
    rng = np.random.default_rng(3)
    old, targets = critic.values(prompts) + 0.3 * rng.normal(size=len(prompts)), rng.normal(size=len(prompts))
    model = peft_of(critic, tmp_path)
    weight, bias = critic.weight.detach().clone().requires_grad_(), critic.bias.detach().clone().requires_grad_()
    total = torch.zeros(())
    for prompt, before, target in zip(prompts, old, targets, strict=True):
        value = plain_value(model, critic, prompt, weight, bias)
        clipped = before + (value - before).clamp(-0.2, 0.2)
        total = total + 0.5 * torch.max((value - target) ** 2, (clipped - target) ** 2) / len(prompts)
    total.backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    norm = math.sqrt(sum(float(grad.square().sum()) for grad in [*expected.values(), weight.grad, bias.grad]))

    for tokens in (10**6, 1):
        columns = critic.fit(prompts, old, targets, learning_rate=0.0, value_clip=0.2, micro_batch_tokens=tokens)
        assert columns["value_loss"] == pytest.approx(float(total.detach()), rel=1e-4)
        assert columns["critic_gradient_norm"] == pytest.approx(norm, rel=1e-3)
        scale = min(1.0, 1.0 / norm)  # what is left in the buffers was clipped
        torch.testing.assert_close(critic.weight.grad, scale * weight.grad, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(critic.bias.grad, scale * bias.grad, rtol=1e-3, atol=1e-5)
        row = critic.adapters.grad_NP[0]
        for site in critic.adapters.sites.values():
            for part, start, shape in (("A", site.a, (3, site.d_in)), ("B", site.b, (site.d_out, 3))):
                mine = row[start : start + math.prod(shape)].view(shape)
                theirs = expected[f"base_model.model.{site.name}.lora_{part}.default.weight"]
                torch.testing.assert_close(mine, scale * theirs, rtol=1e-3, atol=1e-5)


def test_recomputed_activations_give_the_same_gradient_and_half_precision_nearly():
    prompts, gradients = some_prompts(), []
    targets = np.linspace(0.0, 1.0, len(prompts))
    for dtype, recompute in ((torch.float32, False), (torch.float32, True), (torch.bfloat16, False)):
        critic = Critic(oracle.backbone("llama", dtype), rank=3, seed=2)
        oracle.shake_critic(critic)
        critic.backbone.checkpoint_activations(recompute)
        critic.fit(prompts, critic.values(prompts), targets, learning_rate=0.0)
        gradients.append(torch.cat([critic.adapters.grad_NP[0], critic.weight.grad]))
    torch.testing.assert_close(gradients[1], gradients[0])
    assert gradients[2].dtype == torch.float32
    assert float(torch.cosine_similarity(gradients[2], gradients[0], dim=0)) > 0.98


def test_the_value_loss_and_its_gradient_by_hand():
    cases = [  # value, before, target: within the bound; beyond it towards the target, away from it, past it
        (0.5, 0.4, 1.0), (0.9, 0.4, 1.0), (0.1, 0.5, 1.0), (0.9, 0.4, 0.7), (0.4, 0.4, 0.4),
    ]  # fmt: skip
    values = torch.tensor([case[0] for case in cases], dtype=torch.float64, requires_grad=True)
    old, targets = (torch.tensor([case[i] for case in cases], dtype=torch.float64) for i in (1, 2))
    losses = value_loss(values, old, targets, 0.2)
    expected = [0.5 * 0.25, 0.5 * 0.16, 0.5 * 0.81, 0.5 * 0.04, 0.0]  # the second is at 0.6, and flat
    np.testing.assert_allclose(losses.tolist(), expected, atol=1e-12)
    losses.sum().backward()
    np.testing.assert_allclose(values.grad.tolist(), [-0.5, 0.0, -0.9, 0.2, 0.0], atol=1e-12)
    plain = value_loss(values.detach(), old, targets, 0.0)
    np.testing.assert_allclose(plain.tolist(), [0.5 * (v - y) ** 2 for v, _, y in cases], atol=1e-12)


def test_explained_variance_by_hand():
    targets = np.array([0.0, 1.0, 1.0, 0.0])
    assert explained_variance(targets, targets) == 1.0
    assert explained_variance(np.full(4, 0.5), targets) == 0.0
    assert explained_variance(np.array([0.0, 1.0, 0.0, 0.0]), targets) == pytest.approx(1 - 0.1875 / 0.25)
    assert explained_variance(targets, np.full(4, 0.1)) == 0.0


def test_the_tensors_of_a_critic_are_all_of_it(backbone):
    prompts, targets = some_prompts(), np.arange(14.0)[: len(some_prompts())] / 10
    one, other = Critic(backbone, 2, seed=1), Critic(backbone, 2, seed=9)
    assert set(one.tensors()) == set(other.tensors())
    one.fit(prompts, one.values(prompts), targets, learning_rate=1e-2, epochs=3)
    kept = one.tensors()
    other.load_tensors(kept)
    for critic in (one, other):
        critic.fit(prompts, critic.values(prompts), targets, learning_rate=1e-2)
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in one.tensors().items())
    assert not torch.equal(kept["critic.adapter"], one.tensors()["critic.adapter"])  # they are copies
    with pytest.raises(CheckpointError, match=r"another one: .* first critic\.adapter"):
        Critic(backbone, 3).load_tensors(kept)
    with pytest.raises(CheckpointError, match="another one"):
        one.load_tensors({})


def test_a_prompt_that_the_backbone_cannot_hold_is_refused(backbone):
    with pytest.raises(UsageError, match=r"takes 512 tokens.*holds 512"):
        Critic(backbone, 2).values([Prompt(0, (7,) * 512)])
