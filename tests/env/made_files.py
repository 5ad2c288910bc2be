"""Small files in the published formats, made on the spot, for tests that need no published row."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from neuromas_env import make_task, task_names

COUNT = 24


def _sums() -> Iterator[tuple[int, str, list[str], int]]:
    """Number, question, four options and the place of the right one."""
    for n in range(COUNT):
        answer, place = 3 * n + 41, n % 4
        options = [str(answer + 7 * (k - place)) for k in range(4)]
        yield n, f"What is {n} + {2 * n + 41}?", options, place


def arc(folder: Path) -> Path:
    rows = []
    for n, stem, options, place in _sums():
        choices = [{"text": text, "label": label} for text, label in zip(options, "1234", strict=True)]
        rows.append({"id": f"made-{n}", "question": {"stem": stem, "choices": choices}, "answerKey": "1234"[place]})
    return _lines(folder / "arc.jsonl", rows)


def mmlu(folder: Path) -> Path:
    path = folder / "mmlu.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([stem, *options, "ABCD"[place]] for _, stem, options, place in _sums())
    return path


def bbh_letters(folder: Path) -> Path:
    rows = []
    for _, stem, options, place in _sums():
        listed = "\n".join(f"({letter}) {option}" for letter, option in zip("ABCD", options, strict=True))
        rows.append({"input": f"{stem}\nOptions:\n{listed}", "target": f"({'ABCD'[place]})"})
    return _bbh(folder / "letters.json", rows)


def bbh_words(folder: Path) -> Path:
    rows = [
        {"input": f"not {'not ' * (n % 7)}False or {n} is", "target": ("False", "True")[n % 2]} for n in range(COUNT)
    ]
    return _bbh(folder / "words.json", rows)


def bbh_numbers(folder: Path) -> Path:
    rows = [{"input": f"(({n} + 4) * -{n + 3}) =", "target": str(-(n + 4) * (n + 3))} for n in range(COUNT)]
    return _bbh(folder / "numbers.json", rows)


def bbh_sorting(folder: Path) -> Path:
    words = ["pebble", "anchor", "maple", "violin", "orbit", "sugar", "kettle", "zebra", "lemon", "cabin"]
    rows = []
    for n in range(COUNT):
        chosen = [words[(3 * n + 7 * k) % 10] for k in range(2 + n % 3)] + [f"w{chr(97 + n)}"]
        text = "Sort the following words alphabetically: List: " + " ".join(sorted(chosen, reverse=True))
        rows.append({"input": text, "target": " ".join(sorted(chosen))})
    return _bbh(folder / "sorting.json", rows)


def gsm8k(folder: Path) -> Path:
    rows = [
        {"question": f"A box holds {n + 2} pens. How many do {n + 31} boxes hold?",
         "answer": f"It is <<{n + 2}*{n + 31}={(n + 2) * (n + 31)}>>\n#### {(n + 2) * (n + 31)}"}
        for n in range(COUNT)
    ]  # fmt: skip
    return _lines(folder / "gsm8k.jsonl", rows)


def math500(folder: Path) -> Path:
    rows = [
        {"problem": f"Divide ${2 * n + 3}$ by ${2 * n + 5}$.", "answer": f"\\frac{{{2 * n + 3}}}{{{2 * n + 5}}}",
         "solution": "By division.", "unique_id": f"made/{n}"}
        for n in range(COUNT)
    ]  # fmt: skip
    return _lines(folder / "math500.jsonl", rows)


def humaneval(folder: Path) -> Path:
    rows = []
    for n in range(3):
        rows.append(
            {
                "task_id": f"Made/{n}",
                "prompt": f'def plus(number: int) -> int:\n    """Add {n + 2} to a number."""\n',
                "canonical_solution": f"    return number + {n + 2}\n",
                "test": f"def check(candidate):\n    assert [candidate(k) for k in (0, 5)] == [{n + 2}, {n + 7}]\n",
                "entry_point": "plus",
            }
        )
    return _lines(folder / "humaneval.jsonl", rows)


def mbpp(folder: Path) -> Path:
    rows = [
        {"task_id": 11 + n, "text": f"Write a function to multiply by {n + 2}.",
         "code": f"def times(number):\n    return number * {n + 2}",
         "test_list": [f"assert times({k}) == {k * (n + 2)}" for k in (1, 5, -3)],
         "test_setup_code": "", "challenge_test_list": []}
        for n in range(3)
    ]  # fmt: skip
    return _lines(folder / "mbpp.jsonl", rows)


MADE: dict[str, Callable[[Path], Path]] = {
    "arc_challenge": arc,
    "bbh/boolean_expressions": bbh_words,
    "bbh/multistep_arithmetic_two": bbh_numbers,
    "bbh/temporal_sequences": bbh_letters,
    "bbh/word_sorting": bbh_sorting,
    "gsm8k": gsm8k,
    "humaneval": humaneval,
    "math500": math500,
    "mbpp": mbpp,
    "mmlu/anatomy": mmlu,
}
"""One published task of each format and way of answering, and what makes a file of it."""

_folder = tempfile.TemporaryDirectory(prefix="neuromas-made-")


@cache
def made_file(name: str) -> Path:
    """A file of the task `name`; it lives as long as the tests run."""
    return MADE[name](Path(_folder.name))


def cases() -> list[str]:
    """Every task that needs no file, and of the published ones one of each format and way of answering, on made files.

    The members of reasoning_gym have a suite of their own (test_reasoning_gym.py).
    """
    own = [name for name in task_names() if not name.startswith("rg/") and not make_task(name).trains_on_data]
    return [*own, *MADE]


def options(name: str) -> dict[str, Any]:
    """What to make the task with: its made file, and the permission to run its programs, where it needs them."""
    if name not in MADE:
        return {}
    return {"data": made_file(name)} | ({"allow_code_execution": True} if name in ("humaneval", "mbpp") else {})


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _bbh(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text(json.dumps({"canary": "made", "examples": rows}), encoding="utf-8")
    return path
