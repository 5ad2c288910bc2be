"""Submissions made on the spot, without a model: scripted nodes on `chain`, their prompts and tokens real."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

from algorithms import load_backbone
from leaderboard.pack import tokenizer_hash, write_submission
from leaderboard.submission import EpisodeRow
from leaderboard.verify.rebuilding import Tokens
from neuromas_env.registry import make_task
from neuromas_env.task import questions_hash
from neuromas_env.topology import Topology
from neuromas_env.transcripts import prompt_hash
from neuromas_env.vector import VectorTextNetworkEnv

SAID = {
    "authors": [{"name": "Ada"}],
    "licence": "CC-BY-4.0",
    "attempts": 2,
    "contamination": "none known",
    "training_data": "questions of the training split",
}
"""What stands in a card of `neuromas leaderboard pack`."""

QUESTIONS = 8
ANSWERS = tuple(f"= {digit}" for digit in range(10))


def make_submission(
    out: Path,
    name: str = "scripted",
    accuracy: float = 0.5,
    seeds: int = 2,
    questions: int = QUESTIONS,
    topology: str = "1-1",
    difficulty: str = "1",
    **changes: Any,
) -> str:
    """A submission of the method `untrained`, whose last node is right with a chance of `accuracy`; its id.

    It passes T2: what the nodes say is chosen here, and everything else is as it must be. `changes` are of the card.
    """
    backbone = load_backbone("nano")
    task = make_task("chain", difficulty=difficulty)
    asked = [task.question("test", index) for index in range(questions)]
    network, tokens = Topology.parse(topology), Tokens(backbone.tokenizer)
    rows = []
    for seed in range(seeds):
        rng = random.Random(f"{name} {seed}")
        env = VectorTextNetworkEnv(task, network, questions, "test")
        env.reset(questions=asked)
        calls: list[list[dict[str, Any]]] = [[] for _ in asked]
        while not env.done:
            requests = env.requests()
            said = []
            for request, prompt in zip(requests, tokens.encode_requests(requests), strict=True):
                right = request.agent == network.output and rng.random() < accuracy
                digit = asked[request.episode].answer if right else str(rng.randrange(10))
                ids = backbone.tokenizer.encode(f"= {digit}", add_special_tokens=False)
                said.append(tokens.decode(ids))
                calls[request.episode].append(
                    {
                        "step": request.step,
                        "node": request.agent,
                        "parents": [message.sender for message in request.messages],
                        "prompt_sha256": prompt_hash(request),
                        "text": said[-1],
                        "token_ids": ids,
                        "prompt_tokens": len(prompt),
                        "sampled_tokens": len(ids),
                        "finish_reason": "length",
                        "calls": 1,
                        "flags": [],
                    }
                )
            env.step(said)
        for index, (question, answer) in enumerate(zip(asked, env.answers, strict=True)):
            score = task.score(question, answer)
            rows.append(
                EpisodeRow.model_validate(
                    {
                        "seed": seed,
                        "index": index,
                        "question_id": question.id,
                        "question_sha256": questions_hash([question]),
                        "calls": calls[index],
                        "answer": answer,
                        "score": {
                            "value": score.value,
                            "parsed": score.parsed,
                            "status": score.status,
                            "flexible": score.flexible,
                        },
                    }
                )
            )
    all_calls = [call for row in rows for call in row.calls]
    by_seed = {str(s): sum(r.score.value for r in rows if r.seed == s) / questions for s in range(seeds)}
    card = {
        "name": name,
        "authors": [{"name": "Ada"}],
        "licence": "CC-BY-4.0",
        "created": "2026-01-02T03:04:05Z",
        "environment": {"python": "3.11.0", "packages": {"neuromas": "0.1.0"}},
        "task": {
            "name": "chain",
            "version": task.version,
            "difficulty": difficulty,
            "split": "test",
            "questions": questions,
            "sha256": questions_hash(asked),
        },
        "track": "closed-frozen",
        "backbone": {
            "name": "nano",
            "weights_sha256": backbone.weight_hash(),
            "tokenizer_sha256": tokenizer_hash(backbone.tokenizer),
        },
        "system": {
            "method": f"untrained:{topology}",
            "topology": network.to_json(),
            "max_message_tokens": task.max_message_tokens,
        },
        "parameters": {"total": 0},
        "inference": {
            "calls": len(all_calls),
            "prompt_tokens": sum(call.prompt_tokens for call in all_calls),
            "sampled_tokens": sum(call.sampled_tokens for call in all_calls),
        },
        "seeds": list(range(seeds)),
        "attempts": 1,
        "selection": "nothing was chosen",
        "contamination": "none known",
        "claimed": {"accuracy": sum(by_seed.values()) / seeds, "by_seed": by_seed},
    }
    return write_submission(out, {**card, **changes}, rows, {"files": []})


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The card and the lines of a submission."""
    lines = gzip.decompress((folder / "episodes.jsonl.gz").read_bytes()).splitlines()
    return json.loads((folder / "submission.json").read_text()), [json.loads(line) for line in lines]
