"""A tiny random backbone with the embedded model's tokenizer, and a task that it gets right about half the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from algorithms import Backbone, load_backbone
from algorithms.nano.vocabulary import build_tokenizer
from neuromas_env import Question, Task, make_task, register_task, registry


class Coin(Task):
    """Chains whose answer is heads or tails by the length of what is said: any model is right now and then."""

    name = "coin"
    max_message_tokens = 4

    def __init__(self) -> None:
        self.chain = make_task("chain")

    def size(self, split: str) -> int | None:
        return self.chain.size(split)

    def question(self, split: str, index: int) -> Question:
        asked = self.chain.question(split, index)
        return Question(f"coin/{split}/{index}", asked.prompt, "heads" if int(asked.answer) < 5 else "tails")

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return ("heads" if len(text) % 2 else "tails") if text else None


@pytest.fixture(scope="module", autouse=True)
def coin_is_a_task() -> Iterator[None]:
    """Known to the tests of this folder only: other suites run over all registered tasks."""
    register_task(Coin)
    yield
    registry.TASKS.forget("coin")


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("backbone")
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def backbone(backbone_folder: Path) -> Backbone:
    return load_backbone(str(backbone_folder))
