"""The demo end to end, shrunk to a tiny random backbone, and the sentences it draws from figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import baselines.commands
from algorithms import Backbone, TrainConfig
from algorithms.nano.vocabulary import build_tokenizer
from baselines.results import Outcomes, Row, aggregate
from leaderboard.demo import NETWORK, demo, findings


def tiny_backbone() -> Backbone:
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=256,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Backbone.wrap(LlamaForCausalLM(config), tokenizer, "tiny")


def test_the_demo_leaves_table_plot_page_and_runs_and_goes_on_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training_config = baselines.commands.training_config

    def small(*args: Any) -> TrainConfig:
        config: TrainConfig = training_config(*args)
        return dataclasses.replace(config, updates=2, questions=2, samples=2, rank=2, validation_questions=4)

    monkeypatch.setattr(baselines.commands, "load", lambda name: tiny_backbone())
    monkeypatch.setattr(baselines.commands, "training_config", small)
    out = tmp_path / "demo"
    demo(out=out, questions=12, jobs=1)
    said = capsys.readouterr()
    for part in ("What was seen", "What to do next", "layer 2 silenced", str(out / "transcripts.html")):
        assert part in said.out
    rows = json.loads((out / "results.json").read_text())["rows"]
    methods = {row["method"] for row in rows}
    assert {"direct", "cot", "self-consistency", "single-rl", "untrained:1-1-1", NETWORK} < methods
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (out / "results.svg").read_text()
    page = (out / "transcripts.html").read_text()
    assert "src=" not in page
    assert all(method in page for method in methods)
    assert len(list((out / "runs").iterdir())) == 2

    monkeypatch.setattr("algorithms.train", None)  # a second demo trains nothing
    demo(out=out, questions=12, jobs=1)
    assert json.loads((out / "results.json").read_text())["rows"] == rows


def contrived(**accuracies: float) -> tuple[list[Row], dict[str, list[Outcomes]]]:
    """Rows and outcomes as a comparison gives them, of methods that answer a share of 1,000 questions rightly."""
    rng = np.random.default_rng(0)
    rows, outcomes = [], {}
    for key, accuracy in accuracies.items():
        name = {"network": NETWORK, "votes": "self-consistency", "single": "single-rl", "untrained": "untrained:1-1-1"}
        silenced = key.startswith("layer")
        method = f"{NETWORK} ({key})" if silenced else name[key]
        correct_Q = rng.permutation(1000) < 1000 * accuracy
        extra: dict[str, Any] = {"samples": 7, "training_sampled_tokens": 1000}
        if silenced:
            extra |= {"silenced_of": NETWORK, "silenced_name": f"{key} silenced"}
        row = Row(method, "chain", "test", 0, 1000, correct_Q.mean(), 0, 1, 0, 3, 9, 9, 100, 1.0, extra)
        outcomes[method] = [Outcomes(correct_Q, correct_Q, ~correct_Q, ~correct_Q, np.zeros(1000, bool))]
        rows += [row, aggregate([row], outcomes[method])]
    return rows, outcomes


def test_findings_follow_the_figures_wherever_they_fall() -> None:
    good = " ".join(findings(*contrived(network=0.95, votes=0.3, single=0.3, untrained=0.0, layer1=0.6)))
    assert "above a majority vote" in good
    assert "carry the gain" in good
    assert "within chance" not in good
    same = " ".join(findings(*contrived(network=0.3, votes=0.3, single=0.3, untrained=0.0, layer1=0.3)))
    assert "cannot be told from a majority vote" in same
    assert "hardly used" in same
    assert "within chance" in same
    bad = " ".join(findings(*contrived(network=0.3, votes=0.6, single=0.6, untrained=0.0, layer1=0.5)))
    assert "below a majority vote" in bad
    assert "not worth its tokens" in bad
    assert "carry the gain" not in bad
