"""Rows of published files (JSON Lines, JSON, CSV, Parquet; also gzipped) as records that know where they stand.

Whatever is wrong with a file is a DataFileError that names the file, the line or row, and the field; a reader gives
all rows or none.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataFileError

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
"""The formats that are read; each may be followed by .gz."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row: its fields by name, where it stands, such as "gsm8k.jsonl, line 3", and its number among the rows."""

    fields: Mapping[str, Any]
    where: str
    number: int

    def error(self, field: str, problem: str) -> DataFileError:
        return DataFileError(f"{self.where}: field {field!r} {problem}")

    def get(self, field: str) -> Any:
        """The value of a field. Raises DataFileError where the row lacks it."""
        if field not in self.fields:
            known = ", ".join(map(repr, self.fields)) or "none"
            raise self.error(field, f"is missing (the row has {known})")
        return self.fields[field]

    def text(self, field: str, *, empty: bool = False) -> str:
        """A field that is a text, and not blank unless `empty` allows it. Raises DataFileError for anything else."""
        value = self.get(field)
        if not isinstance(value, str):
            raise self.error(field, f"is {_shown(value)}, not a text")
        if not value.strip() and not empty:
            raise self.error(field, "is empty")
        return self.encodable(field, value)

    def texts(self, field: str) -> tuple[str, ...]:
        """A field that is a list of texts. Raises DataFileError for anything else."""
        value = self.get(field)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self.error(field, f"is {_shown(value)}, not a list of texts")
        return tuple(self.encodable(field, item) for item in value)

    def encodable(self, field: str, text: str) -> str:
        """`text`, unless it holds half a surrogate pair, which no file and no tokenizer can take."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise self.error(field, f"holds the lone surrogate U+{ord(text[error.start]):04X}") from None
        return text


def _shown(value: object) -> str:
    return "empty" if value is None else repr(value)[:60]


def read_records(path: Path, columns: Sequence[str] = ()) -> list[Record]:
    """All rows of a file, by its suffix. `columns` names the fields of a CSV file without a header line.

    Raises DataFileError for a file that cannot be read, is in another format, or holds no rows.
    """
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    match suffix:
        case ".jsonl":
            records = list(_json_lines(path))
        case ".json":
            records = _json(path)
        case ".csv":
            records = list(_csv(path, columns))
        case ".parquet":
            records = _parquet(path)
        case _:
            raise DataFileError(f"{path}: files that end in {', '.join(SUFFIXES)} are read (also with .gz)")
    if not records:
        raise DataFileError(f"{path}: holds no rows")
    return records


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, decompressed where its name ends in .gz. Raises DataFileError."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"cannot read data file {path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataFileError(f"{path}, line {line}: not UTF-8 at byte {error.start}") from None


def parse_json(text: str, where: str) -> Any:
    """The JSON value that `text` holds; `where` begins the message of the DataFileError for text that is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f", line {error.lineno}" if "\n" in text else ""
        raise DataFileError(f"{where}{place}: not JSON ({error.msg} at column {error.colno})") from None
    except (RecursionError, ValueError) as error:  # ValueError: a whole number of more digits than Python converts
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number too long"
        raise DataFileError(f"{where}: JSON that cannot be read ({reason})") from None


def _json_lines(path: Path) -> Iterator[Record]:
    rows = 0
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            rows += 1
            where = f"{path}, line {number}"
            yield _record(parse_json(line, where), where, rows)


def _json(path: Path) -> list[Record]:
    rows = parse_json(read_text(path), str(path))
    if not isinstance(rows, list):
        raise DataFileError(f"{path}: a list of rows is needed, not {type(rows).__name__}")
    return [_record(row, f"{path}, row {number}", number) for number, row in enumerate(rows, start=1)]


def _record(row: object, where: str, number: int) -> Record:
    if not isinstance(row, dict):
        raise DataFileError(f"{where}: an object with named fields is needed, not {_shown(row)}")
    return Record(row, where, number)


def _csv(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Rows of a CSV file. Its first line is a header if it is no row of `columns`, which has no field like it."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header: Sequence[str] | None = None
    line, rows = 1, 0
    try:
        for row in reader:
            where, line = f"{path}, line {line}", reader.line_num + 1
            if not row:
                continue
            if header is None:
                header = columns
                if not columns or row[0].strip().lower() == columns[0]:
                    header = [name.strip() for name in row]
                    continue
            if len(row) != len(header):
                raise DataFileError(f"{where}: {len(row)} fields, {len(header)} are needed ({', '.join(header)})")
            rows += 1
            yield Record(dict(zip(header, row, strict=True)), where, rows)
    except csv.Error as error:
        raise DataFileError(f"{path}, line {reader.line_num}: not CSV ({error})") from None


def _parquet(path: Path) -> list[Record]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise DataFileError(f"{path}: Parquet files need pyarrow: pip install 'neuromas[tasks]'") from None
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataFileError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    return [Record(row, f"{path}, row {number}", number) for number, row in enumerate(rows, start=1)]
