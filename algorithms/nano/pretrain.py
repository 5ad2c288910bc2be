"""`neuromas pretrain-nano`: make the embedded backbone from synthetic text.

The model is a small Llama in Hugging Face format. The loss is on replies and marks only. Matrices are trained with
Muon, the rest with AdamW; the learning rate warms up, stays, and falls linearly to zero over the second half, when the
facts that were slow to form settle. The same seed and thread count give the same weights.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from neuromas_env.errors import UsageError

from .batches import Batch, Batcher
from .config import PretrainConfig
from .corpus import Corpus
from .corpus_chain import ChainCorpus
from .corpus_navigate import NavigateCorpus
from .corpus_tree import TreeCorpus
from .vocabulary import build_tokenizer

Decoder = LlamaForCausalLM | Qwen3ForCausalLM


def build_model(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> Decoder:
    torch.manual_seed(config.seed)  # the process exists to make this one model
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.width,
        "intermediate_size": config.feed_forward,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.width // 32,
        "num_key_value_heads": config.width // 32,
        "head_dim": 32,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": config.width**-0.5 / 2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if config.architecture == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**shape))
    return LlamaForCausalLM(LlamaConfig(**shape))


def token_losses(model: Decoder, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss, correctness and kind of each learnt token; only their logits are computed.

    The marks of a question are read off halfway up the model, so that the layers above can look words up by them.
    """
    output = model.model(
        input_ids=batch.ids_DL,
        position_ids=batch.positions_DL,
        attention_mask=batch.mask_D1LL,
        use_cache=False,
        output_hidden_states=True,
    )
    halfway_DLH = model.model.norm(output.hidden_states[len(model.model.layers) // 2])
    hidden_DLH = torch.where(batch.marked_DL[..., None], halfway_DLH, output.last_hidden_state)
    learnt_DL = batch.labels_DL >= 0
    logits_KV = model.lm_head(hidden_DLH[learnt_DL])
    labels_K = batch.labels_DL[learnt_DL]
    losses_K = F.cross_entropy(logits_KV, labels_K, reduction="none")
    return losses_K, logits_KV.argmax(-1) == labels_K, batch.kinds_DL[learnt_DL]


def build_optimizers(model: Decoder, config: PretrainConfig) -> list[torch.optim.Optimizer]:
    if not hasattr(torch.optim, "Muon"):
        raise UsageError(f"pretrain-nano needs the Muon optimizer of torch >= 2.9; this is torch {torch.__version__}")
    blocks = [
        p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name and "lm_head" not in name
    ]
    chosen = {id(p) for p in blocks}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(blocks, lr=config.muon_learning_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=config.adam_learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


@dataclass(frozen=True)
class Stage:
    """`steps` optimizer steps on documents of `corpora` in turn. Learning rate and curriculum run along `horizon`
    steps; a stage that ends before its horizon hands on a learning rate that has not yet fallen to zero."""

    corpora: Sequence[Corpus]
    steps: int
    horizon: int


def stages(config: PretrainConfig) -> list[Stage]:
    """Mostly walks first, whose look-ups take longest to form; then mostly chains, whose facts form fast once drilled.

    The facts did not form beside three times as many walks; after the second stage both skills are there.
    """
    walks: list[Corpus] = [ChainCorpus(), *[NavigateCorpus()] * 3]
    chains: list[Corpus] = [*[ChainCorpus(easy=0.4, drills=True)] * 3, NavigateCorpus(curriculum=False)]
    if config.trees:
        walks.append(TreeCorpus())
        chains += [TreeCorpus(easy=0.4, drills=True)] * 3
    return [
        Stage(walks, config.walk_steps, config.walk_steps * 38 // 28),
        Stage(chains, config.chain_steps, config.chain_steps),
    ]


def rate(progress: float) -> float:
    """The learning rate as a share of its peak: a short warm-up, a plateau, a linear fall over the second half."""
    return min(1.0, progress / 0.01, max(0.0, (1 - progress) / 0.5))


def pretrain(config: PretrainConfig, log: Callable[[str], None] = print) -> Path:
    """Train the backbone and write it to `config.out`. Raises UsageError where that folder cannot be written."""
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        report_file = (config.out / "pretraining.jsonl").open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to {config.out}: {error.strerror}") from error
    torch.set_num_threads(config.threads)
    tokenizer = build_tokenizer(config.trees)
    model = build_model(config, tokenizer)
    log(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} words")
    with report_file:

        def report(step: int, seconds: float, figures: dict[str, float]) -> None:
            report_file.write(json.dumps({"step": step, "seconds": round(seconds, 1), **figures}) + "\n")
            report_file.flush()
            short = "  ".join(f"{kind} {value:.2f}" for kind, value in figures.items())
            log(f"step {step}/{config.walk_steps + config.chain_steps}  {seconds:.0f} s  {short}")
            save(model, tokenizer, config)

        done = 0
        for stage in stages(config):
            run_stage(model, stage, config, done, report)
            done += stage.steps
    return config.out


def run_stage(
    model: Decoder,
    stage: Stage,
    config: PretrainConfig,
    done: int,
    report: Callable[[int, float, dict[str, float]], None],
) -> None:
    """Train `model` through one stage, after `done` steps of earlier ones, with fresh optimizers."""
    batcher = Batcher(stage.corpora, config.documents, config.branches, config.seed)
    optimizers = build_optimizers(model, config)
    peaks = config.muon_learning_rate, config.adam_learning_rate
    started = time.perf_counter()
    for step in range(1, stage.steps + 1):
        progress = step / stage.horizon
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate(progress)
        token_losses(model, batcher.batch(done + step, progress))[0].mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % config.report_every == 0 or step == stage.steps:
            report(done + step, time.perf_counter() - started, evaluate(model, batcher, progress))


@torch.no_grad()
def evaluate(model: Decoder, batcher: Batcher, progress: float) -> dict[str, float]:
    """Mean loss, and the share of reply tokens predicted right under each behaviour, on text not trained on."""
    losses: list[float] = []
    right: Mapping[int, list[float]] = defaultdict(list)
    for step in range(8):
        losses_K, right_K, kinds_K = token_losses(model, batcher.batch(step, progress, stream="validation"))
        losses += losses_K.tolist()
        for kind, correct in zip(kinds_K.tolist(), right_K.tolist(), strict=True):
            right[kind].append(float(correct))
    shares = {kind: sum(right[n]) / len(right[n]) for kind, n in sorted(batcher.kinds.items()) if right[n]}
    return {"loss": sum(losses) / len(losses), **shares}


def save(model: Decoder, tokenizer: PreTrainedTokenizerFast, config: PretrainConfig) -> None:
    """Write model and tokenizer beside `config.out`, then put them in place file by file."""
    partial = config.out.with_name(config.out.name + ".partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    recipe = {key: value for key, value in asdict(config).items() if key not in ("out", "threads", "report_every")}
    (partial / "recipe.json").write_text(json.dumps({**recipe, "torch": torch.__version__}, indent=2) + "\n")
    for file in sorted(partial.iterdir()):
        os.replace(file, config.out / file.name)
    partial.rmdir()
