"""Tiny language models with random weights, as folders on disk, and tasks they can learn: for tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from neuromas_env.task import Question, Task

SPECIAL = ["<pad>", "<eos>", "<unk>", "<system>", "<user>", "<assistant>"]
WORDS = [*"abcdefgh", *map(str, range(10)), "=", ".", "yes", "no", "[1]", "[2]", "layer", "output", "node"]
WORDS += [f"{sign}{n}" for sign in "+-*" for n in range(1, 10)]
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "vocab_size": len(SPECIAL) + len(WORDS),
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate(SPECIAL + WORDS)}
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=TEMPLATE,
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every text is known, a token a byte, as to the tokenizers of real chat models."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *letters])}
    fast = Tokenizer(models.BPE(vocabulary, merges=[]))
    fast.pre_tokenizer, fast.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=TEMPLATE,
    )


def save_chat_model(folder: Path, architecture: str = "qwen3", seed: int = 0) -> str:
    """A random model that knows every text, with room for long prompts."""
    make(architecture, seed, vocab_size=len(SPECIAL) + 256, max_position_embeddings=1 << 15).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def make(architecture: str, seed: int = 0, **shape: int) -> Any:
    """A random model of the architecture "llama", "qwen3" or "gemma3" (with a window shorter than its prompts)."""
    shape = {**SHAPE, **shape}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if architecture == "llama":
            return LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True, initializer_range=0.2))
        if architecture == "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**shape, tie_word_embeddings=True, initializer_range=0.2))
        config = Gemma3TextConfig(
            **shape, sliding_window=8, layer_types=["sliding_attention", "full_attention"], initializer_range=0.2
        )
        return Gemma3ForCausalLM(config)


def save(folder: Path, architecture: str = "llama", seed: int = 0) -> str:
    make(architecture, seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


class Echo(Task):
    """Say "yes" to the question `a` and "no" to the question `b`: right by chance half the time at best."""

    name = "echo"
    max_message_tokens = 1

    def size(self, split: str) -> int | None:
        if split not in ("train", "validation", "test"):
            raise ValueError(f"unknown split {split!r}")
        return None if split == "train" else 20

    def question(self, split: str, index: int) -> Question:
        letter = "ab"[index % 2]
        return Question(f"echo/{split}/{index}", " ".join(letter * 30), "yes" if letter == "a" else "no")

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        words = text.split()
        return words[0] if words and words[0] in ("yes", "no") else None


class LongEcho(Echo):
    """Messages of up to 4 tokens, so that lengths differ; any text is an answer, so that rewards differ too."""

    name = "long-echo"
    max_message_tokens = 4

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return "yes" if len(text) % 2 else "no"
