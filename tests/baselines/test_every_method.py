"""Every method there is, through the command: it runs, its metered calls are those of its definition, it replays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines.base import BUILTIN, MethodName, fitting, make_method
from baselines.commands import compare
from neuromas_env import make_task
from neuromas_env.transcripts import read_transcript, replay
from tests.algorithms import tiny_models

QUESTIONS = 4
TRAIN = ("updates=1", "questions=2", "samples=2", "validation_questions=0")
CALLS = {
    "direct": (1, 1),
    "cot": (1, 1),
    "self-consistency@5": (5, 5),
    "self-refine@3": (2, 7),  # a draft and its feedback at least; three rounds at most
    "self-check@2": (2, 2 + 2 * 3 * 8),  # no step of a solution of 8 tokens takes more than 3 calls
    "debate": (6, 6),
    "moa": (9, 9),
    "self-moa@4": (5, 5),
    "goa": (0, 11),
    "majority-of-networks@2:2-1": (6, 6),
    "planner-solver-critic@2": (3, 6),
    "supervisor@3": (1, 6),
    "gptswarm:iterations=2:batch=2": (1, 11),
    "agentnet": (1, 5),  # 1: the agent has no edge left, so there is nothing to route
    "untrained:2-1": (3, 3),
    "single-rl": (1, 1),
    "sft": (1, 1),
    "malt": (3, 3),
    "magrpo": (2, 2),
    "collm-cc": (2, 2),
    "maporl": (7, 7),
    "neuromas:2-1": (3, 3),
    "grown:1-1+2-1": (2, 3),  # 2 where the best network is one whose new node is still closed
}


def test_no_method_is_left_out() -> None:
    assert sorted(MethodName.parse(name).name for name in CALLS) == sorted(BUILTIN)


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_models.save_chat_model(tmp_path_factory.mktemp("qwen3"))


@pytest.mark.parametrize("model", ["nano-like", "qwen3"])
@pytest.mark.parametrize("task", ["chain", "navigate"])
def test_every_method_runs_is_metered_and_replays(
    task: str, model: str, backbone_folder: Path, chat_model: str, tmp_path: Path
) -> None:
    compare(
        task,
        methods=",".join(CALLS),
        questions=QUESTIONS,
        backbone=str(backbone_folder) if model == "nano-like" else chat_model,
        train=TRAIN,
        jobs=1,
        out=tmp_path / "out",
    )
    rows = {row["method"]: row for row in json.loads((tmp_path / "out" / "results.json").read_text())["rows"]}
    transcripts = {}
    for path in (tmp_path / "out" / "transcripts").glob("*.jsonl"):
        transcript = read_transcript(path)
        transcripts[transcript.header.method] = transcript
    for name, (least, most) in CALLS.items():
        row, transcript = rows[name], transcripts[name]
        assert row["errors"] == 0, name
        replay(transcript, task=make_task(task))
        made = [sum(call.sampled_tokens > 0 for call in episode.calls) for episode in transcript.episodes]
        assert len(made) == QUESTIONS
        assert all(least <= calls <= most for calls in made), (name, made)
        assert row["calls"] == sum(made) / QUESTIONS, name
        tokens = sum(call.sampled_tokens for episode in transcript.episodes for call in episode.calls)
        assert row["sampled_tokens"] == tokens / QUESTIONS, name


def test_a_chat_model_reads_the_instructions_of_chat_models(chat_model: str) -> None:
    from algorithms import load_backbone

    backbone = load_backbone(chat_model)
    for name in CALLS:
        for wording in make_method(name).wordings.values():
            assert fitting(wording, backbone) == wording.chat
