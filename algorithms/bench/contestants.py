"""The trainers that are timed, each at its best settings: ours, TRL's, CoMLRL's, and a loop over peft adapters."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from typing import Any

import torch

from ..distributed import Team
from .contest import Contestant, Turns
from .floors import synchronize
from .work import EOS, Engine, Work, lora

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
"""What glibc is told for TRL, which is slower without it; our own engine sets what it needs by itself."""
QUIET = {"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
FOREVER = 10**6


def ours(work: Work, processes: int = 1) -> Contestant:
    return Contestant(_divided("neuromas", processes), _ours, work, processes=processes)


def trl(work: Work, processes: int = 1) -> Contestant:
    """TRL's GRPOTrainer, which trains one model."""
    return Contestant(_divided("TRL GRPOTrainer", processes), _trl, work, MALLOC | QUIET, processes)


def comlrl(work: Work) -> Contestant:
    """CoMLRL's MAGRPO, which trains a whole model an agent."""
    return Contestant("CoMLRL MAGRPO", _comlrl, work, MALLOC | QUIET)


def peft_loop(work: Work) -> Contestant:
    """One peft adapter a node, one after the other: what a user writes first."""
    return Contestant("loop over peft adapters", _peft_loop, work, MALLOC | QUIET)


def _divided(name: str, processes: int) -> str:
    return name if processes == 1 else f"{name}, {processes} processes"


def _ours(work: Work, turns: Turns) -> None:
    team = Team.join(work.device)
    engine = Engine(replace(work, questions=work.questions // team.size), team)
    while turns.next():
        engine.step()
        synchronize(work.device)


def _trl(work: Work, turns: Turns) -> None:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Waiting(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not turns.next():
                raise EndOfTurnsError

    words = work.tokenizer()
    rows = [{"prompt": words.decode(prompt)} for seed in range(40) for prompt in work.prompts(seed)]
    size, cuda = int(os.environ.get("WORLD_SIZE", "1")), work.device.startswith("cuda")
    messages = work.questions * work.samples // size
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=not cuda,
            ddp_backend="gloo" if size > 1 else None,
            bf16=work.dtype == "bfloat16",
            per_device_train_batch_size=min(64, messages),
            gradient_accumulation_steps=max(1, messages // 64),
            num_generations=work.samples,
            max_completion_length=work.new,
            temperature=1.0,
            beta=0.0,
            learning_rate=1e-3,
            max_steps=FOREVER,
            save_strategy="no",
            report_to=[],
            logging_steps=FOREVER,
            disable_tqdm=True,
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
        )
        trainer = GRPOTrainer(
            model=work.model(),
            reward_funcs=lambda completions, **_: [float(len(text) % 7) for text in completions],
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=words,
            peft_config=lora(),
            callbacks=[Waiting()],
        )
        try:
            trainer.train()
        except EndOfTurnsError:
            return


class EndOfTurnsError(Exception):
    """No further step is wanted of a trainer that owns its loop."""


def _comlrl(work: Work, turns: Turns) -> None:
    os.environ["WANDB_SILENT"] = "true"
    from comlrl.trainers.reinforce.magrpo import MAGRPOConfig, MAGRPOTrainer
    from datasets import Dataset

    words = work.tokenizer()
    rows = [{"prompt": words.decode(prompt)} for seed in range(40) for prompt in work.prompts(seed)]

    def reward(*completions: list[str]) -> list[float]:
        return [float(sum(map(len, texts)) % 7) for texts in zip(*completions, strict=True)]

    class Waiting(MAGRPOTrainer):
        """Samples a question at a call, and learns once its buffer holds a step of them."""

        seen = 0

        def _train_step_returns(self, *arguments: Any, **options: Any) -> Any:
            if self.seen % work.questions == 0 and not turns.next():
                raise EndOfTurnsError
            self.seen += 1
            return super()._train_step_returns(*arguments, **options)

    config = MAGRPOConfig(
        num_train_epochs=FOREVER,
        agent_learning_rate=1e-3,
        num_agents=work.nodes,
        num_generations=work.samples,
        max_new_tokens=work.new,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        num_turns=1,
        eval_interval=0,
        rollout_buffer_size=work.questions,
        train_batch_size=work.questions,
        logging_steps=FOREVER,
    )
    trainer = Waiting(
        agents=[work.model() for _ in range(work.nodes)],
        num_agents=work.nodes,
        tokenizer=words,
        train_dataset=Dataset.from_list(rows),
        reward_func=reward,
        formatters=[lambda item: item["prompt"]] * work.nodes,
        args=config,
    )
    try:
        trainer.train()
    except EndOfTurnsError:
        return


def _peft_loop(work: Work, turns: Turns) -> None:
    from peft import get_peft_model

    model: Any = get_peft_model(work.model(), lora(), adapter_name="node_0")
    for node in range(1, work.nodes):
        model.add_adapter(f"node_{node}", lora())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], 1e-3)
    step = 0
    while turns.next():
        prompts = torch.tensor(work.prompts(step), device=work.device).repeat_interleave(work.samples, 0)
        sampled = []
        for node in range(work.nodes):
            model.set_adapter(f"node_{node}")
            with torch.no_grad():
                sampled.append(
                    model.generate(
                        prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=work.new, do_sample=True,
                        temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0, eos_token_id=EOS,
                    )
                )  # fmt: skip
        optimizer.zero_grad()
        for node, ids in enumerate(sampled):
            model.set_adapter(f"node_{node}")
            for part in ids.split(64):
                logits = model(part, attention_mask=(part != 0).long(), logits_to_keep=part.shape[1] - work.prompt + 1)
                logprobs = logits.logits[:, :-1].float().log_softmax(-1)
                chosen = logprobs.gather(2, part[:, work.prompt :, None])[..., 0]
                advantages = torch.linspace(-1, 1, len(part), device=part.device)[:, None]
                loss = -(chosen * advantages * (part[:, work.prompt :] != 0)).sum() / ids[:, work.prompt :].numel()
                loss.backward()
        optimizer.step()
        synchronize(work.device)
        step += 1
