"""The published file format of BIG-Bench Hard: one JSON object whose `examples` hold `input` and `target`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DataFileError
from .generated import Draft
from .records import Record, parse_json, read_text


def read_examples(path: Path) -> list[Record]:
    """The rows of a BBH file, in order. Raises DataFileError that names the file and the line or row at fault."""
    text = read_text(path)
    document = parse_json(text, str(path))
    rows = document.get("examples") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataFileError(f"{path}: no list 'examples' with rows; expected the JSON format of BIG-Bench Hard")
    records = []
    place = 0
    for number, row in enumerate(rows, start=1):
        where = f"{path}, example {number}"
        if not isinstance(row, dict):
            raise DataFileError(f"{where}: not an object with 'input' and 'target'")
        found = _find(text, row, place)
        if found >= 0:
            place = found
            where += f" (line {text.count(chr(10), 0, place) + 1})"
        records.append(Record(row, where, number))
    return records


def read_bbh(path: Path, answers: Sequence[str]) -> list[Draft]:
    """The rows of a BBH file whose targets are `answers`. Raises DataFileError for a file at fault."""
    drafts = []
    for record in read_examples(path):
        target = record.text("target")
        if target not in answers:
            raise record.error("target", f"is {target!r}, none of {', '.join(answers)}")
        drafts.append(Draft(record.text("input"), target, {"row": record.number}))
    return drafts


def _find(text: str, row: dict[str, Any], start: int) -> int:
    """Where in the file, from `start` on, the row's first text stands; -1 where it is written in another way."""
    for value in row.values():
        if isinstance(value, str):
            return text.find(json.dumps(value, ensure_ascii=False), start)
    return -1
