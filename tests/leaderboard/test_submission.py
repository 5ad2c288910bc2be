"""Submissions: what is packed passes every check, and whatever is changed is found, at its tier and by its code."""

from __future__ import annotations

import copy
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pydantic")

from made import SAID

from baselines.commands import compare
from leaderboard.commands import pack, validate
from leaderboard.findings import CODES, TIERS
from leaderboard.reading import Limits, file_hash, read_episodes, strict_json, submission_id
from leaderboard.submission import ARTIFACTS, CARD, EPISODES, FILES
from leaderboard.verify import verify
from neuromas_env.errors import UsageError
from neuromas_env.registry import make_task

METHODS = "neuromas:1-1-1,direct,self-consistency@2,self-refine,debate,goa,supervisor"
TINY = ("updates=2", "questions=2", "samples=2", "validation_questions=4", "rank=2")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    compare("chain", methods=METHODS, questions=6, seeds=2, train=TINY, jobs=1, out=folder / "all")
    (folder / "card.json").write_text(json.dumps(SAID))
    return folder


@pytest.fixture(scope="module")
def packed(compared: Path) -> Path:
    pack(compared / "all", card=compared / "card.json", out=compared / "debate", method="debate")
    return compared / "debate"


@pytest.mark.parametrize("method", METHODS.split(","))
def test_what_was_packed_passes_every_check(compared: Path, method: str, tmp_path: Path) -> None:
    pack(compared / "all", card=compared / "card.json", out=tmp_path / "made", method=method)
    report = verify(tmp_path / "made")
    assert (report.tier, report.findings) == ("T2", [])
    rows = json.loads((compared / "all" / "results.json").read_text())["rows"]
    (total,) = (row for row in rows if row["method"] == method and row["seed"] is None)
    assert report.accuracy == pytest.approx(total["accuracy"])
    card = json.loads((tmp_path / "made" / CARD).read_text())
    assert card["inference"]["sampled_tokens"] == pytest.approx(12 * total["sampled_tokens"])
    assert card["inference"]["calls"] == pytest.approx(12 * total["calls"])
    validate(tmp_path / "made")


def test_a_run_is_packed_by_itself_and_its_files_are_named(compared: Path, tmp_path: Path) -> None:
    run = next(path for path in (compared / "all" / "runs").iterdir() if path.name.startswith("neuromas"))
    pack(run, card=compared / "card.json", out=tmp_path / "made", questions=5)
    assert verify(tmp_path / "made").tier == "T2"
    files = json.loads((tmp_path / "made" / ARTIFACTS).read_text())["files"]
    assert {"config", "metrics", "adapter", "network"} <= {file["role"] for file in files}
    for file in files:
        assert file_hash(run.parent / file["name"]) == file["sha256"]


Change = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def rewrite(source: Path, out: Path, change: Change) -> Path:
    """The submission with its card and its lines changed."""
    card = json.loads((source / CARD).read_text())
    rows = [json.loads(line) for line in gzip.decompress((source / EPISODES).read_bytes()).splitlines()]
    change(card, rows)
    shutil.copytree(source, out)
    (out / CARD).write_text(json.dumps(card))
    (out / EPISODES).write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows)))
    return out


def call(rows: list[dict[str, Any]], free: bool = False, row: int = 0) -> dict[str, Any]:
    """The last call of a line that a model made, or a free one."""
    return next(each for each in reversed(rows[row]["calls"]) if (each["calls"] == 0) == free)


def again(rows: list[dict[str, Any]]) -> None:
    rows.append(copy.deepcopy(rows[0]))


def right(rows: list[dict[str, Any]]) -> None:
    wrong = next(row for row in rows if row["score"]["value"] == 0)
    wrong["score"].update(value=1.0, status="correct", flexible=1.0)


def quote_questions(card: dict[str, Any]) -> None:
    """Tell a node the questions, as for a list of their answers."""
    node = next(iter(card["system"]["instructions"]))
    task = make_task("chain")
    asked = [task.question("test", index) for index in range(6)]
    card["system"]["instructions"][node] += "".join(f"{each.prompt} = {each.answer}. " for each in asked)


TAMPERED: dict[str, tuple[str, Change]] = {
    "another licence that is none": ("NM-E005", lambda card, rows: card.update(licence="")),
    "a field that does not exist": ("NM-E005", lambda card, rows: card.update(rank=1)),
    "no attempts": ("NM-E005", lambda card, rows: card.update(attempts=0)),
    "a frozen track with parameters": ("NM-E005", lambda card, rows: card["parameters"].update(total=5)),
    "negative tokens": ("NM-E005", lambda card, rows: call(rows).update(sampled_tokens=-1)),
    "a true for a number": ("NM-E005", lambda card, rows: call(rows).update(prompt_tokens=True)),
    "a key in a message": ("NM-E006", lambda card, rows: call(rows).update(text="hf_" + "a" * 34)),
    "a key in the card": ("NM-E006", lambda card, rows: card.update(description="AKIA" + "A" * 16)),
    "a topology without its output": ("NM-E007", lambda card, rows: card["system"]["topology"].update(output="nobody")),
    "an instruction for nobody": ("NM-E007", lambda card, rows: card["system"]["instructions"].update(nobody="x")),
    "another task": ("NM-E101", lambda card, rows: card["task"].update(name="chian")),
    "another version": ("NM-E101", lambda card, rows: card["task"].update(version=99)),
    "a split that is not there": ("NM-E101", lambda card, rows: card["task"].update(split="hidden")),
    "another difficulty": ("NM-E102", lambda card, rows: card["task"].update(difficulty="1")),
    "another split": ("NM-E102", lambda card, rows: card["task"].update(split="validation")),
    "another hash of the questions": ("NM-E102", lambda card, rows: card["task"].update(sha256="0" * 64)),
    "a line of another seed": ("NM-E103", lambda card, rows: rows[0].update(seed=7)),
    "a line of a question beyond": ("NM-E103", lambda card, rows: rows[0].update(index=99)),
    "a line of another question": ("NM-E103", lambda card, rows: rows[0].update(question_id=rows[1]["question_id"])),
    "another question's hash": ("NM-E103", lambda card, rows: rows[0].update(question_sha256="0" * 64)),
    "a hard question dropped": ("NM-E104", lambda card, rows: rows.pop(3)),
    "a seed dropped": ("NM-E104", lambda card, rows: rows.__setitem__(slice(6, 12), [])),
    "an easy question twice": ("NM-E105", lambda card, rows: again(rows)),
    "a wrong answer scored as right": ("NM-E106", lambda card, rows: right(rows)),
    "an answer changed": ("NM-E106", lambda card, rows: rows[0].update(answer="= 99 or so")),
    "another reading": ("NM-E106", lambda card, rows: rows[0]["score"].update(parsed="11")),
    "a better accuracy claimed": ("NM-E107", lambda card, rows: card["claimed"].update(accuracy=0.999)),
    "a better seed claimed": ("NM-E107", lambda card, rows: card["claimed"]["by_seed"].update({"1": 0.999})),
    "fewer calls told": ("NM-E108", lambda card, rows: card["inference"].update(calls=3)),
    "fewer tokens told": ("NM-E108", lambda card, rows: card["inference"].update(sampled_tokens=3)),
    "fewer prompt tokens told": ("NM-E108", lambda card, rows: card["inference"].update(prompt_tokens=3)),
    "an error that has an answer": ("NM-E109", lambda card, rows: rows[0].update(error="ValueError")),
}
"""What is caught at T0 and T1."""

FREE = {"calls": 0, "prompt_tokens": 0, "sampled_tokens": 0}
REPLAYED: dict[str, tuple[str, Change]] = {
    "a hidden call": ("NM-E201", lambda card, rows: rows[0]["calls"].append({**call(rows), **FREE, "step": 9})),
    "a second call of a node": ("NM-E201", lambda card, rows: rows[0]["calls"].append({**call(rows), **FREE})),
    "a lost call": ("NM-E202", lambda card, rows: rows[0]["calls"].remove(call(rows, free=True))),
    "another prompt": ("NM-E203", lambda card, rows: call(rows).update(prompt_sha256="0" * 64)),
    "an instruction that was not told": ("NM-E203", lambda card, rows: card["system"]["instructions"].clear()),
    "a hidden edge": ("NM-E204", lambda card, rows: call(rows)["parents"].append("agent_9")),
    "an edge left out": ("NM-E204", lambda card, rows: call(rows)["parents"].pop()),
    "a message changed": ("NM-E207", lambda card, rows: call(rows).update(text="= 3 3 3")),
    "token ids of another text": ("NM-E207", lambda card, rows: call(rows)["token_ids"].__setitem__(0, 5)),
    "no token ids": ("NM-E208", lambda card, rows: call(rows).update(token_ids=None)),
    "a computed message changed": ("NM-E210", lambda card, rows: call(rows, free=True).update(text="= 1 2")),
    "a message that could not be delivered": ("NM-E205", lambda card, rows: call(rows).update(text="x" * 90_000)),
    "another answer that reads the same": (
        "NM-E209",
        lambda card, rows: rows[0].update(answer=rows[0]["answer"] + " "),
    ),
    "questions in an instruction": ("NM-E212", lambda card, rows: quote_questions(card)),
    "another tokenizer": ("NM-E211", lambda card, rows: card["backbone"].update(tokenizer_sha256="0" * 64)),
    "another method": ("NM-E213", lambda card, rows: card["system"].update(method="self-consistency@3")),
    "a method that is none": ("NM-E213", lambda card, rows: card["system"].update(method="oracle")),
}
"""What only a replay shows."""


def test_every_untouched_rewrite_is_whole(packed: Path, tmp_path: Path) -> None:
    assert verify(rewrite(packed, tmp_path / "same", lambda card, rows: None)).tier == "T2"


@pytest.mark.parametrize("what", [*TAMPERED, *REPLAYED])
def test_tampering_is_found_at_its_tier(packed: Path, tmp_path: Path, what: str) -> None:
    code, change = {**TAMPERED, **REPLAYED}[what]
    report = verify(rewrite(packed, tmp_path / "changed", change))
    tier = CODES[code].tier
    assert code in report.counts, [str(finding) for finding in report.findings]
    assert report.reached[tier] == "failed"
    below = [each for each in TIERS if each < tier]
    assert all(report.reached[each] == "passed" for each in below)
    if what in REPLAYED:
        assert not report.failed("T1")


def test_tokens_understated_everywhere_are_found_by_counting(packed: Path, tmp_path: Path) -> None:
    def change(card: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for each in row["calls"]:
                each["prompt_tokens"] //= 2
        card["inference"]["prompt_tokens"] = sum(each["prompt_tokens"] for row in rows for each in row["calls"])

    report = verify(rewrite(packed, tmp_path / "changed", change))
    assert report.reached["T1"] == "passed"
    assert set(report.counts) == {"NM-E206"}


def test_several_faults_are_told_at_once_with_their_lines(packed: Path, tmp_path: Path) -> None:
    def change(card: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        right(rows)
        rows.pop(4)
        card["claimed"]["accuracy"] = 0.123

    report = verify(rewrite(packed, tmp_path / "changed", change))
    assert {"NM-E104", "NM-E106", "NM-E107"} <= set(report.counts)
    assert any(finding.row is not None for finding in report.findings if finding.code.id == "NM-E106")
    assert report.reached["T2"] == "not checked"
    with pytest.raises(SystemExit) as stopped:
        validate(tmp_path / "changed")
    assert stopped.value.code == 1


def damaged(packed: Path, out: Path, name: str, data: bytes) -> set[str]:
    shutil.copytree(packed, out)
    (out / name).write_bytes(data)
    return set(verify(out).counts)


# Each case is named: a gzip stream holds the time of its making, and workers must agree on the names of tests.
DAMAGED = {
    "card that is no UTF-8": (CARD, b"\xff{}", "NM-E003"),
    "NaN": (CARD, b'{"a": NaN}', "NM-E004"),
    "infinite": (CARD, b'{"a": 1e999}', "NM-E004"),
    "a key twice": (CARD, b'{"a": 1, "a": 2}', "NM-E004"),
    "deep and open": (CARD, b"[" * 100_000, "NM-E004"),
    "deep": (CARD, b"[" * 60 + b"]" * 60, "NM-E004"),
    "long number": (CARD, b"1" * 5000, "NM-E004"),
    "card too large": (CARD, b" " * (5 * 2**20), "NM-E002"),
    "path upwards": (ARTIFACTS, b'{"files": [{"name": "../x", "role": "config", "sha256": "", "size": 1}]}', "NM-E005"),
    "no gzip": (EPISODES, b"no gzip", "NM-E003"),
    "cut gzip": (EPISODES, gzip.compress(b'{"seed": 0}\n')[:-6], "NM-E003"),
    "more after gzip": (EPISODES, gzip.compress(b"{}\n") + b"more", "NM-E003"),
    "two streams": (EPISODES, gzip.compress(b"{}\n") * 2, "NM-E003"),
    "no line end": (EPISODES, gzip.compress(b"{}"), "NM-E003"),
    "many empty lines": (EPISODES, gzip.compress(b"\n" * 40_000_000), "NM-E002"),
    "long line": (EPISODES, gzip.compress(b'"' + bytes(range(35, 91)) * 200_000 + b'"\n'), "NM-E002"),
    "half a surrogate": (EPISODES, gzip.compress(b'{"seed": "\\ud800"}\n'), "NM-E005"),
}


@pytest.mark.parametrize(("name", "data", "code"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused_and_told(packed: Path, tmp_path: Path, name: str, data: bytes, code: str) -> None:
    assert code in damaged(packed, tmp_path / "changed", name, data)


def test_files_that_are_none_are_refused(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "more")
    (tmp_path / "more" / "run.py").write_text("print(1)")
    assert set(verify(tmp_path / "more").counts) == {"NM-E001"}
    shutil.copytree(packed, tmp_path / "link")
    (tmp_path / "link" / CARD).unlink()
    (tmp_path / "link" / CARD).symlink_to(packed / CARD)
    assert set(verify(tmp_path / "link").counts) == {"NM-E001"}
    assert set(verify(tmp_path / "nothing").counts) == {"NM-E001"}


def test_long_highly_compressible_streams_are_read_to_their_end(tmp_path: Path) -> None:
    """The last match of a deflate stream may still be held back when all input is taken."""
    for size in (65_536, 65_537, 131_072, 500_000):
        path = tmp_path / f"{size}.gz"
        path.write_bytes(gzip.compress(b"a" * size + b"\n"))
        with path.open("rb") as stream:
            (last,) = read_episodes(stream, Limits(ratio=10**6))
        assert last[2][0].code.id == "NM-E004"  # a whole line that is no JSON


def test_an_id_is_of_the_bytes_of_all_three_files(packed: Path) -> None:
    hashes = [file_hash(packed / name) for name in FILES]
    assert verify(packed, "T0").submission_id == submission_id(hashes)
    assert submission_id(["0" * 64, *hashes[1:]]) != submission_id(hashes)


def test_what_is_yours_to_say_is_asked_for_by_name(compared: Path, tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("authors: [{name: Ada}]\n")
    with pytest.raises(UsageError, match="lacks licence, attempts, contamination"):
        pack(compared / "all", card=tmp_path / "card.yaml", out=tmp_path / "made", method="direct")
    with pytest.raises(UsageError, match="--method says which"):
        pack(compared / "all", card=compared / "card.json", out=tmp_path / "made")
    with pytest.raises(UsageError, match="there already"):
        pack(compared / "all", card=compared / "card.json", out=compared, method="direct")
    assert strict_json(b'{"a": [1.5, null]}') == {"a": [1.5, None]}
