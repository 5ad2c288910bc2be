"""How the embedded backbone is made; each field is also an option of `neuromas pretrain-nano`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class PretrainConfig:
    """How the embedded backbone is made."""

    out: Path
    """Folder for the finished model, in Hugging Face format."""
    seed: int = 0
    """Seeds the weights and the text."""
    walk_steps: int = 2800
    """Optimizer steps of the first stage, mostly on walks."""
    chain_steps: int = 1200
    """Optimizer steps of the second stage, mostly on chains."""
    trees: bool = False
    """Learn about trees too, in both stages. The shipped `nano` did not."""
    documents: int = 32
    """Questions a step."""
    branches: int = 8
    """Replies learnt on each question."""
    width: int = 96
    """Size of the residual stream; a multiple of 32, the size of a head."""
    architecture: Literal["llama", "qwen3"] = "llama"
    """The kind of transformer; qwen3 normalises queries and keys. The shipped model is a llama."""
    layers: int = 4
    """Number of transformer blocks."""
    feed_forward: int = 256
    """Width of the feed-forward layers."""
    muon_learning_rate: float = 0.008
    """Peak learning rate of the matrices. At 0.02 the look-up of instructions by number never formed; here it does
    within 300 steps."""
    adam_learning_rate: float = 2e-3
    """Peak learning rate of embeddings and norms."""
    threads: int = 1
    """CPU threads."""
    report_every: int = 250
    """Steps between two reports."""
