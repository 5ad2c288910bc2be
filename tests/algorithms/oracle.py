"""What the engine is held against: plain transformers and a loop of plain peft, one sample at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny_models
import torch
from peft import PeftModel
from torch import Tensor

from algorithms.adapters import StackedAdapters
from algorithms.backbone import Backbone
from algorithms.critic import Critic
from algorithms.network import Network
from algorithms.packing import TrainSample

ARCHITECTURES = ("llama", "qwen3", "gemma3")
VOCABULARY = tiny_models.SHAPE["vocab_size"]


def backbone(architecture: str, dtype: torch.dtype = torch.float32) -> Backbone:
    return Backbone.wrap(tiny_models.make(architecture).to(dtype), tiny_models.tokenizer(), architecture)


def network(
    architecture: str, topology: str = "2-1", dtype: torch.dtype = torch.float32, merge: bool = True
) -> Network:
    """A network whose adapters all do something: B is random too."""
    made = Network.create(topology, backbone(architecture, dtype), rank=4, alpha=8.0, seed=1)
    assert made.adapters is not None
    shake(made.adapters)
    made.adapters.merge &= merge
    return made


def shake(adapters: StackedAdapters, scale: float = 0.1, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    adapters.flat_NP.add_(torch.randn(adapters.flat_NP.shape, generator=generator).mul_(scale))


def shake_critic(critic: Critic) -> None:
    """Let the critic say something: another value for every prompt."""
    shake(critic.adapters, seed=5)
    with torch.no_grad():
        critic.weight.copy_(0.3 * torch.randn(critic.weight.shape, generator=torch.Generator().manual_seed(6)))
        critic.bias.fill_(0.2)


def prompts(nodes: int = 3, questions: int = 2, samples: int = 3, seed: int = 0) -> tuple[list, list, list]:
    """(nodes, prompts, groups): 12-15 common tokens a question; node 0 hears nothing, later nodes hear messages."""
    rng = random.Random(seed)
    rows = []
    for node in range(nodes):
        for question in range(questions):
            common = [rng.randrange(6, VOCABULARY) for _ in range(12 + 3 * question)]
            for _ in range(samples):
                message = [rng.randrange(6, VOCABULARY) for _ in range(rng.randint(1, 4) if node else 0)]
                rows.append((node, [*common, *message, 7], question))
    rng.shuffle(rows)
    return tuple(map(list, zip(*rows, strict=True)))  # type: ignore[return-value]


def train_samples(seed: int = 0) -> list[TrainSample]:
    rng = random.Random(seed)
    rows = zip(*prompts(seed=seed), strict=True)
    return [
        TrainSample(node, group, prompt, [rng.randrange(3, VOCABULARY) for _ in range(rng.randint(1, 5))])
        for node, prompt, group in rows
    ]


def peft_model(network: Network, folder: Path, trainable: bool = False) -> PeftModel:
    """A fresh copy of the backbone with every node as a named peft adapter, loaded from the network's own folders."""
    network.save(folder)
    model = tiny_models.make(network.backbone.name).to(network.backbone.dtype)
    first, *rest = network.topology.nodes
    peft = PeftModel.from_pretrained(model, folder / "nodes" / first, adapter_name=first, is_trainable=trainable)
    for node in rest:
        peft.load_adapter(folder / "nodes" / node, adapter_name=node, is_trainable=trainable)
    return peft.eval()


def plain_logprobs(model: Any, prompt: Sequence[int], completion: Sequence[int], temperature: float = 1.0) -> Tensor:
    """Log-probabilities of a completion by one full forward pass over one unpadded row."""
    logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0]


def greedy(model: Any, prompt: Sequence[int], eos: Sequence[int], count: int) -> list[int]:
    tokens: list[int] = []
    while len(tokens) < count and not (tokens and tokens[-1] in eos):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, -1]
        tokens.append(int(logits.argmax()))
    return tokens
