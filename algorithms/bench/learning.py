"""Whether the fast path learns what TRL's GRPOTrainer learns: the same rewards after the same samples, within seeds.

Both start from the same random model and read the same prompts; the reward is the share of words in a message whose
number is even, which a random model has at one half. The loss is the group-normalised policy gradient with the mean
over all tokens of a step (GRPO, arXiv 2402.03300, normalised as in DAPO, arXiv 2503.14476), Adam with the same
constants.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch

from .contestants import QUIET
from .work import Engine, Work, lora

LEARNING_RATE, BETAS = 1e-2, (0.9, 0.95)


def reward(text: str) -> float:
    """The share of words w2, w4 … among all words of a message; 0 without words."""
    numbers = [int(word[1:]) for word in text.split() if word[1:].isdecimal()]
    return float(np.mean([number % 2 == 0 for number in numbers])) if numbers else 0.0


def learn_ours(work: Work, steps: int, seed: int) -> list[float]:
    """The mean reward of every step's messages."""
    engine = Engine(work)
    curve = []
    engine.adapters.initialise(0, seed)
    engine.optimizer.learning_rate, engine.optimizer.betas = LEARNING_RATE, BETAS
    for step in range(steps):
        engine.updates = step  # the prompts' seed
        nodes, rows, groups, drawn = engine.sample(seed=seed * 10_007 + step)
        texts = [engine.network.backbone.decode(one.token_ids) for one in drawn]
        rewards_QG = np.array([reward(text) for text in texts]).reshape(work.questions, work.samples)
        centred_QG = rewards_QG - rewards_QG.mean(1, keepdims=True)
        advantages_QG = centred_QG / (rewards_QG.std(1, ddof=1, keepdims=True) + 1e-4)
        engine.learn(nodes, rows, groups, drawn, torch.tensor(advantages_QG.reshape(-1), dtype=torch.float32))
        curve.append(float(rewards_QG.mean()))
    return curve


def learn_trl(work: Work, steps: int, seed: int) -> list[float]:
    """The same by TRL."""
    import os

    os.environ.update(QUIET)
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    words, curve = work.tokenizer(), list[float]()
    rows = [{"prompt": words.decode(prompt)} for step in range(steps) for prompt in work.prompts(step)]

    def rewards(completions: Sequence[str], **_: Any) -> list[float]:
        values = [reward(text) for text in completions]
        curve.append(float(np.mean(values)))
        return values

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            seed=seed,
            per_device_train_batch_size=work.questions * work.samples,
            num_generations=work.samples,
            max_completion_length=work.new,
            temperature=1.0,
            beta=0.0,
            loss_type="dapo",
            shuffle_dataset=False,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            max_grad_norm=1.0,
            max_steps=steps,
            save_strategy="no",
            report_to=[],
            logging_steps=10**6,
            disable_tqdm=True,
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
        )
        trainer = GRPOTrainer(
            model=work.model(),
            reward_funcs=rewards,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=words,
            peft_config=lora(),
        )
        with redirect_stdout(StringIO()):  # it prints a summary
            trainer.train()
    return curve[:steps]


def curves(work: Work, steps: int, seeds: int) -> dict[str, Any]:
    """Both, for every seed, by step [seeds, steps]; and the mean over each fifth of the steps."""
    found = {
        "neuromas": [learn_ours(work, steps, seed) for seed in range(seeds)],
        "TRL GRPOTrainer": [learn_trl(work, steps, seed) for seed in range(seeds)],
    }
    fifths = {
        name: [[float(np.mean(part)) for part in np.array_split(np.array(curve), 5)] for curve in values]
        for name, values in found.items()
    }
    return {"samples_a_step": work.messages, "curves": found, "fifths": fifths}
