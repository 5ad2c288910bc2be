"""The model, the work and the two trainers of the engine's benchmark; run as a script it compares them step by step.

The work is that of the yardsticks: a random Qwen3-architecture model of 0.85M parameters, 64 prompts of 48 tokens, 8
samples of 16 tokens each, LoRA of rank 8 on all linear layers, one Adam step. TRL runs at the settings that were found
best for it: completions of a step generated at once, micro-batches of 64, raised malloc thresholds (set by the caller).
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from algorithms.backbone import Backbone
from algorithms.network import Network
from algorithms.optimizer import StackedAdam
from algorithms.packing import TrainSample, pack
from algorithms.sampling import Sampled, sample

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
VOCABULARY, QUESTIONS, SAMPLES, PROMPT, NEW = 512, 64, 8, 48, 16


def tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(3, VOCABULARY))]
    fast = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config)


def prompts(seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(3, VOCABULARY) for _ in range(PROMPT)] for _ in range(QUESTIONS)]


class Engine:
    """One node of our own engine. `sample`, then `learn` from what was sampled, is one step."""

    def __init__(self) -> None:
        self.network = Network.create("1", Backbone.wrap(model(), tokenizer(), "t1"), rank=8)
        assert self.network.adapters is not None
        self.optimizer = StackedAdam(self.network.adapters, 1e-3)
        self.updates = 0

    def sample(self) -> tuple[list[list[int]], list[int], list[Sampled]]:
        rows = [prompt for prompt in prompts(self.updates) for _ in range(SAMPLES)]
        groups = [i // SAMPLES for i in range(len(rows))]
        drawn = sample(self.network.backbone, self.network.route, [0] * len(rows), rows, groups, NEW, 1.0, self.updates)
        return rows, groups, drawn

    def learn(self, rows: list[list[int]], groups: list[int], drawn: list[Sampled]) -> None:
        advantages_M = torch.linspace(-1, 1, len(rows))
        tokens = sum(len(one.token_ids) for one in drawn)
        batch = [TrainSample(0, group, row, one.token_ids) for row, group, one in zip(rows, groups, drawn, strict=True)]
        self.optimizer.zero_grad()
        for part in pack(batch):
            logprobs_MT, mask_MT, order = self.network.logprobs(part)
            loss = -((logprobs_MT * mask_MT).sum(1) * advantages_M[order]).sum() / tokens
            loss.backward()
        self.optimizer.step(max_norm=1.0)
        self.updates += 1

    def step(self) -> None:
        self.learn(*self.sample())


def run_trl(steps: int, between: Callable[[], Any]) -> list[float]:
    """The seconds of each step of TRL's GRPOTrainer; `between` is called after every step, outside of its time."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            seconds.append(time.perf_counter() - self.started)
            between()

    words = tokenizer()
    rows = [{"prompt": words.decode(prompt)} for seed in range(steps) for prompt in prompts(seed)]
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=64,
            gradient_accumulation_steps=QUESTIONS * SAMPLES // 64,
            num_generations=SAMPLES,
            max_completion_length=NEW,
            temperature=1.0,
            beta=0.0,
            learning_rate=1e-3,
            max_steps=steps,
            save_strategy="no",
            report_to=[],
            logging_steps=1000,
            disable_tqdm=True,
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
        )
        trainer = GRPOTrainer(
            model=model(),
            reward_funcs=lambda completions, **_: [float(len(text) % 7) for text in completions],
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=words,
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Clock()],
        )
        trainer.train()
    return seconds


def compare(steps: int = 6) -> dict[str, float]:
    """Alternate steps of both trainers in one process; the first of each is warm-up.

    Medians in samples a second, and the median of the ratios of neighbouring steps.
    """
    engine, ours = Engine(), []

    def our_step() -> None:
        started = time.perf_counter()
        engine.step()
        ours.append(time.perf_counter() - started)

    theirs = run_trl(steps, our_step)
    count = QUESTIONS * SAMPLES
    return {
        "engine": round(count / statistics.median(ours[1:]), 1),
        "trl": round(count / statistics.median(theirs[1:]), 1),
        "ratio": round(statistics.median(b / a for a, b in zip(ours[1:], theirs[1:], strict=True)), 2),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        sys.exit(f"set {' '.join(f'{name}={value}' for name, value in MALLOC.items())} first")
    print(json.dumps(compare()))
