"""The published file format of BIG-Bench Hard: one JSON object whose `examples` hold `input` and `target`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataFileError
from .generated import Draft


def read_bbh(path: Path, answers: Sequence[str]) -> list[Draft]:
    """Read a BBH file, keeping its order. Raises DataFileError that names the file and the line or row at fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataFileError(f"cannot read data file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataFileError(f"{path}: not UTF-8 at byte {error.start}") from error
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataFileError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from error
    except RecursionError as error:
        raise DataFileError(f"{path}: JSON nested too deeply") from error
    rows = document.get("examples") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataFileError(f"{path}: no list 'examples' with rows; expected the JSON format of BIG-Bench Hard")
    return [_row(path, text, number, row, answers) for number, row in enumerate(rows, start=1)]


def _row(path: Path, text: str, number: int, row: object, answers: Sequence[str]) -> Draft:
    where = f"{path}, example {number}"
    if not isinstance(row, dict):
        raise DataFileError(f"{where}: not an object with 'input' and 'target'")
    for name in ("input", "target"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise DataFileError(f"{where}{_line(text, row)}: field '{name}' is missing or not a text")
    if row["target"] not in answers:
        accepted = ", ".join(answers)
        raise DataFileError(f"{where}{_line(text, row)}: target {row['target']!r} is none of {accepted}")
    return Draft(row["input"], row["target"], {"row": number})


def _line(text: str, row: dict[str, object]) -> str:
    """The line on which the row's first text stands, where it can be found."""
    for value in row.values():
        if isinstance(value, str) and (place := text.find(json.dumps(value, ensure_ascii=False))) >= 0:
            return f" (line {text.count(chr(10), 0, place) + 1})"
    return ""
