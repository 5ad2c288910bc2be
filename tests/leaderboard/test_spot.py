"""Tier 3: messages held against the weights. What passes T2 by careful forging is caught here."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydantic")

from made import SAID, make_submission, read

from algorithms import Network
from baselines.commands import compare
from leaderboard.commands import pack
from leaderboard.findings import CODES
from leaderboard.reading import file_hash, read_card
from leaderboard.verify import Report, hidden, verify
from leaderboard.verify import spot as module
from neuromas_env.registry import make_task
from neuromas_env.topology import Topology
from neuromas_env.transcripts import prompt_hash
from neuromas_env.vector import VectorTextNetworkEnv

METHODS = (
    "neuromas:1-1-1",
    "untrained:1-1",
    "self-consistency@2",
    "debate",
    "cot",
    "self-refine",
    "planner-solver-critic",
)
TINY = ("updates=14", "questions=8", "samples=8", "validation_questions=20", "rank=8", "learning_rate=0.006")
QUESTIONS = 30


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison") / "all"
    compare(
        "chain",
        difficulty="2-3",
        methods=",".join(METHODS),
        questions=QUESTIONS,
        seeds=2,
        train=TINY,
        jobs=1,
        out=folder,
    )
    (folder.parent / "card.json").write_text(json.dumps(SAID))
    for method in METHODS:
        pack(folder, card=folder.parent / "card.json", out=packed(folder, method), method=method)
    return folder


def packed(compared: Path, method: str) -> Path:
    return compared.parent / method.replace(":", "-")


def spot(folder: Path, compared: Path) -> Report:
    return verify(folder, "T3", artifacts=compared / "runs", secret="of the one who checks")


@pytest.mark.parametrize("method", METHODS)
def test_what_was_packed_is_what_the_weights_say(compared: Path, method: str) -> None:
    report = spot(packed(compared, method), compared)
    assert (report.tier, report.findings) == ("T3", [])
    told = report.notes["T3"]
    assert ("greedy" in told) == (method not in ("self-consistency@2", "debate"))
    assert "messages are the same" in told


def test_without_the_adapters_it_is_not_checked(compared: Path, tmp_path: Path) -> None:
    folder = packed(compared, "neuromas:1-1-1")
    assert verify(folder, "T3").tier == "T2"
    assert "--artifacts" in verify(folder, "T3").notes["T3"]
    report = verify(folder, "T3", artifacts=tmp_path)
    assert (report.tier, report.findings) == ("T2", [])
    assert "is not in" in report.notes["T3"]


def test_changed_adapters_are_not_loaded(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared / "runs", tmp_path / "runs")
    changed = 0
    for path in (tmp_path / "runs").rglob("adapter_model.safetensors"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        changed += 1
    assert changed
    report = verify(packed(compared, "neuromas:1-1-1"), "T3", artifacts=tmp_path / "runs")
    assert set(report.counts) == {"NM-E301"}
    assert report.reached["T3"] == "failed"


# ---------------------------------------------------------------------- forged with care: T0 to T2 pass

Change = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def forge(source: Path, out: Path, change: Change) -> Path:
    """A changed submission whose claims are worked out again, so that it agrees with itself."""
    card, rows = read(source)
    change(card, rows)
    task = make_task("chain", difficulty="2-3")
    for row in rows:
        score = task.score(task.question("test", row["index"]), row["answer"])
        row["score"] = {name: getattr(score, name) for name in ("value", "parsed", "status", "flexible")}
    calls = [call for row in rows for call in row["calls"]]
    for name in ("calls", "prompt_tokens", "sampled_tokens"):
        card["inference"][name] = sum(call[name] for call in calls)
    by_seed = {str(s): [r["score"]["value"] for r in rows if r["seed"] == s] for s in card["seeds"]}
    means = {seed: sum(values) / len(values) for seed, values in by_seed.items()}
    card["claimed"] = {"accuracy": sum(means.values()) / len(means), "by_seed": means}
    shutil.copytree(source, out)
    (out / "submission.json").write_text(json.dumps(card))
    (out / "episodes.jsonl.gz").write_bytes(gzip.compress(b"".join(json.dumps(r).encode() + b"\n" for r in rows)))
    assert verify(out).tier == "T2"
    return out


def best_of_two(card: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Of each question the better seed, told as one."""
    by_index = [[row for row in rows if row["index"] == index] for index in range(QUESTIONS)]
    rows[:] = [{**max(both, key=lambda row: row["score"]["value"]), "seed": 0} for both in by_index]
    card["seeds"] = [0]


def swapped_seeds(card: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["seed"] = 1 - row["seed"]


@pytest.mark.parametrize("change", [best_of_two, swapped_seeds])
@pytest.mark.parametrize("method", ["self-consistency@2", "debate"])
def test_messages_of_other_seeds_are_not_what_the_seed_says(
    compared: Path, tmp_path: Path, method: str, change: Change
) -> None:
    report = spot(forge(packed(compared, method), tmp_path / "forged", change), compared)
    assert set(report.counts) == {"NM-E303"}
    assert report.reached["T2"] == "passed"
    assert report.tier == "T2"


def test_a_network_of_another_seed_is_told_from_the_claimed_one(compared: Path, tmp_path: Path) -> None:
    report = spot(forge(packed(compared, "neuromas:1-1-1"), tmp_path / "forged", swapped_seeds), compared)
    assert "NM-E302" in report.counts
    assert all(finding.row is not None for finding in report.findings if finding.code is CODES["NM-E302"])


def test_messages_that_the_weights_did_not_say_are_not_the_likeliest(compared: Path, tmp_path: Path) -> None:
    """The frozen backbone's card, and messages that were made up, with everything else in order."""
    make_submission(tmp_path / "made", "made up", accuracy=0.9, questions=20)
    report = spot(tmp_path / "made", compared)
    assert report.reached["T2"] == "passed"
    assert {"NM-E302", "NM-E303"} <= set(report.counts)


def test_greedy_messages_told_as_sampled_are_too_probable(compared: Path, tmp_path: Path) -> None:
    """A vote over the likeliest message of all: every sample says it."""
    card, _ = read(packed(compared, "self-consistency@2"))
    network, task = Network.create("1", "nano", rank=0), make_task("chain", difficulty="2-3")
    env = VectorTextNetworkEnv(
        task,
        Topology.from_json(card["system"]["topology"]),
        QUESTIONS,
        "test",
        instructions=card["system"]["instructions"],
    )
    env.reset(questions=[task.question("test", index) for index in range(QUESTIONS)])
    requests = [r for r in env.requests() if r.agent == "node_0"]
    greedy = network.sample(requests, temperature=0.0)

    def change(card: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        for row in rows:
            message = greedy[row["index"]]
            for call in row["calls"]:
                call["text"] = message.text
                if call["calls"]:
                    call["token_ids"] = list(message.token_ids)
                    call["sampled_tokens"] = len(message.token_ids)
                    call["finish_reason"] = message.finish_reason
            row["answer"] = message.text
            prompts_of_votes(row)

    def prompts_of_votes(row: dict[str, Any]) -> None:
        """The free node's prompt holds the new messages."""
        again = VectorTextNetworkEnv(task, env.topology, 1, "test", instructions=card["system"]["instructions"])
        again.reset(questions=[task.question("test", row["index"])])
        again.step([greedy[row["index"]].text] * len(again.requests()))
        (request,) = again.requests()
        row["calls"][-1]["prompt_sha256"] = prompt_hash(request)

    report = spot(forge(packed(compared, "self-consistency@2"), tmp_path / "forged", change), compared)
    (told,) = [finding.message for finding in report.findings if finding.code is CODES["NM-E302"]]
    assert "more probable" in told


def test_fewer_parameters_than_the_adapters_have_are_told(compared: Path, tmp_path: Path) -> None:
    def change(card: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        card["parameters"] = {"total": 100, "per_node": {}, "critic": 0}

    report = spot(forge(packed(compared, "neuromas:1-1-1"), tmp_path / "forged", change), compared)
    assert set(report.counts) == {"NM-E304"}


def test_another_backbones_weights_are_told(compared: Path, tmp_path: Path) -> None:
    def change(card: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        card["backbone"]["weights_sha256"] = "0" * 64

    report = spot(forge(packed(compared, "debate"), tmp_path / "forged", change), compared)
    assert set(report.counts) == {"NM-E301"}


def test_which_messages_are_looked_at_is_decided_by_the_secret(compared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[tuple[int, int]]] = []
    monkeypatch.setattr(module.Spot, "check", lambda self, rows: seen.append(self.looked_at))
    monkeypatch.setattr(module, "EPISODES", 10)
    for secret in ("a", "b", "a"):
        verify(packed(compared, "cot"), "T3", secret=secret)
    assert seen[0] == seen[2] != seen[1]
    assert len(seen[0]) == 10


def test_hashes_of_artifacts_are_those_of_the_runs(compared: Path) -> None:
    files = json.loads((packed(compared, "neuromas:1-1-1") / "artifacts.json").read_text())["files"]
    assert all(file_hash(compared / "runs" / file["name"]) == file["sha256"] for file in files)


# ---------------------------------------------------------------------- T4: hidden questions


@pytest.mark.parametrize("method", ["self-consistency@2", "neuromas:1-1-1"])
def test_an_honest_system_is_as_good_on_hidden_questions(
    compared: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hidden, "QUESTIONS", 60)
    report = verify(packed(compared, method), "T4", artifacts=compared / "runs", secret="mine")
    assert (report.tier, report.findings) == ("T4", [])
    assert "on 60 hidden questions" in report.notes["T4"]
    without = verify(packed(compared, method), "T4", artifacts=compared / "runs")
    assert (without.tier, without.findings) == ("T3", [])
    assert "--secret" in without.notes["T4"]


def test_a_system_that_knows_the_public_questions_only_is_told(compared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Spot, "ask", lambda self, system, task, questions: [0.0] * len(questions))
    report = verify(packed(compared, "neuromas:1-1-1"), "T4", artifacts=compared / "runs", secret="mine")
    assert set(report.counts) == {"NM-E401"}
    assert (report.tier, report.reached["T4"]) == ("T3", "failed")


def test_a_gap_is_sure_only_where_questions_and_seeds_show_it() -> None:
    rng = np.random.default_rng(0)

    def answers(share: float, seeds: int, questions: int) -> np.ndarray:
        return (rng.random((seeds, questions)) < share).astype(float)

    assert hidden.compare(answers(0.9, 3, 400), answers(0.7, 3, 400))[1]
    assert not hidden.compare(answers(0.9, 1, 20), answers(0.8, 1, 20))[1]
    false = sum(hidden.compare(answers(0.6, 3, 100), answers(0.6, 3, 100))[1] for _ in range(100))
    assert false <= 5  # one is expected


def test_hidden_questions_follow_the_secret_and_are_not_the_public_ones(compared: Path) -> None:
    card, _ = read_card(packed(compared, "cot") / "submission.json")
    assert card is not None
    one, other, again = (
        [q.id for q in hidden.hidden_questions(card, None, secret, False)[1]] for secret in ("a", "b", "a")
    )
    assert one == again
    assert not set(one) & set(other)
    assert all("/train/" in identity for identity in one)
