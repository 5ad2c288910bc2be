"""Reading the three files of a submission, which may come from anyone.

Nothing is trusted: sizes are bounded before and after expansion, lines and nesting too, JSON is taken strictly, and
faults are told as findings (`findings.py`), never raised. Episodes are read one line at a time, so that memory does not
grow with a file.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import ValidationError

from neuromas_env.text import visible

from . import findings as codes
from .findings import Code, Finding
from .submission import ARTIFACTS, CARD, EPISODES, FILES, Artifacts, EpisodeRow, Model, Submission

CHUNK = 64 * 1024
MOST_DEEP = 40
MOST_FAULTS = 200
"""Of one kind in one file; further ones are counted."""
MOST_SHOWN = 160
"""Characters of a faulty value that are shown."""


@dataclass(frozen=True)
class Limits:
    """Bytes, and how many times a file may expand."""

    card: int = 4 * 2**20
    artifacts: int = 8 * 2**20
    compressed: int = 2 * 2**30
    expanded: int = 32 * 2**30
    ratio: int = 200
    line: int = 8 * 2**20
    lines: int = 10_000_000
    faulty_lines: int = 100_000


ACCEPTED = Limits()

M = TypeVar("M", bound=Model)


# ---------------------------------------------------------------------- a folder


def check_folder(folder: Path) -> list[Finding]:
    """Whether exactly the three files are there, as plain files."""
    found = []
    if folder.is_symlink() or not folder.is_dir():
        return [Finding(codes.FILES, f"{visible(str(folder))} is no folder")]
    for path in sorted(folder.iterdir()):
        if path.name not in FILES:
            found.append(Finding(codes.FILES, f"{shown(path.name)} does not belong here (only {', '.join(FILES)} do)"))
    for name in FILES:
        try:
            kind = (folder / name).lstat().st_mode
        except OSError:
            found.append(Finding(codes.FILES, f"{name} is missing"))
            continue
        if not stat.S_ISREG(kind):
            found.append(Finding(codes.FILES, f"{name} is no plain file"))
    return found


def submission_id(hashes: Iterable[str]) -> str:
    """The id of a submission: SHA-256 over the hashes of its files, in the order of `FILES`."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------------- JSON, strictly


class BadJSONError(ValueError):
    """What is wrong with a text that should be JSON."""


def strict_json(data: bytes) -> Any:
    """The value of a JSON text. Raises BadJSONError where it is none, or holds what JSON has not."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJSONError(f"not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once)
    except BadJSONError:
        raise
    except json.JSONDecodeError as error:
        raise BadJSONError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise BadJSONError(f"nested deeper than {MOST_DEEP}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise BadJSONError(f"not JSON: {str(error).split(':')[0]}") from None
    if _deeper(value, MOST_DEEP):
        raise BadJSONError(f"nested deeper than {MOST_DEEP}")
    return value


def _no_constant(name: str) -> Any:
    raise BadJSONError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise BadJSONError("a number is too large")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise BadJSONError(f"the name {shown(next(name for name in names if names.count(name) > 1))} is there twice")
    return made


def _deeper(value: Any, most: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(most <= 0 or _deeper(each, most - 1) for each in inside if isinstance(each, dict | list))


def shown(text: str) -> str:
    """A stranger's text as part of a message: short, and with nothing in it that moves what stands around it."""
    cut = text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"
    return repr(visible(cut))


# ---------------------------------------------------------------------- models


def read_model(data: bytes, model: type[M], name: str, row: int | None = None) -> tuple[M | None, list[Finding]]:
    """A model from JSON bytes; None where there is a fault."""
    try:
        value = strict_json(data)
    except BadJSONError as error:
        code = codes.ENCODING if "UTF-8" in str(error) else codes.JSON
        return None, [Finding(code, f"{name}: {error}", row)]
    try:
        made = model.model_validate(value)
    except ValidationError as error:
        return None, [Finding(codes.SCHEMA, f"{name}: {told}", row) for told in schema_faults(error)]
    except (RecursionError, OverflowError):
        return None, [Finding(codes.SCHEMA, f"{name}: a value is out of bounds", row)]
    return made, [Finding(codes.SECRET, f"{name}: {kind}", row) for kind in secrets(value)]


def schema_faults(error: ValidationError) -> list[str]:
    """Each fault in words: the place, what is wrong, and the value."""
    told = []
    for each in error.errors(include_url=False, include_context=False)[:MOST_FAULTS]:
        place = ".".join(visible(str(part))[:60] for part in each["loc"]) or "the whole"
        value = each.get("input")
        text = "" if isinstance(value, dict | list) or each["type"] == "missing" else f", not {shown(str(value))}"
        told.append(f"{place}: {each['msg']}{text}")
    return told


def read_card(path: Path, limits: Limits = ACCEPTED) -> tuple[Submission | None, list[Finding]]:
    return _read_file(path, Submission, CARD, limits.card)


def read_artifacts(path: Path, limits: Limits = ACCEPTED) -> tuple[Artifacts | None, list[Finding]]:
    return _read_file(path, Artifacts, ARTIFACTS, limits.artifacts)


def _read_file(path: Path, model: type[M], name: str, most: int) -> tuple[M | None, list[Finding]]:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        return None, [Finding(codes.SIZE, f"{name} has more than {most:,} bytes")]
    return read_model(data, model, name)


# ---------------------------------------------------------------------- episodes, a line at a time


class TooMuchError(Exception):
    """Why the rest of a file is not read."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.finding = Finding(code, f"{EPISODES}: {message}")


def expand(stream: BinaryIO, limits: Limits = ACCEPTED) -> Iterator[bytes]:
    """The expanded bytes of a gzip stream of one member, in pieces. Raises TooMuchError."""
    expander = zlib.decompressobj(wbits=31)
    taken = given = 0
    while not expander.eof:
        data = expander.unconsumed_tail
        if not data:
            data = stream.read(CHUNK)
            taken += len(data)
        try:
            piece = expander.decompress(data, CHUNK)
        except zlib.error:
            raise TooMuchError(codes.ENCODING, "not a gzip stream") from None
        if not data and not piece and not expander.eof:
            raise TooMuchError(codes.ENCODING, "the gzip stream is cut")
        given += len(piece)
        if taken > limits.compressed:
            raise TooMuchError(codes.SIZE, f"more than {limits.compressed:,} bytes")
        if given > limits.expanded:
            raise TooMuchError(codes.SIZE, f"more than {limits.expanded:,} bytes when expanded")
        if given > 2**20 and given > limits.ratio * taken:
            raise TooMuchError(codes.SIZE, f"expands to more than {limits.ratio} times its size")
        if piece:
            yield piece
    if expander.unused_data or stream.read(1):
        raise TooMuchError(codes.ENCODING, "something follows the gzip stream")


def lines(stream: BinaryIO, limits: Limits = ACCEPTED) -> Iterator[bytes]:
    """The lines of a gzip stream, without their ends. Raises TooMuchError."""
    rest = bytearray()
    count = 0
    for piece in expand(stream, limits):
        *whole, last = piece.split(b"\n")
        for line in whole:
            rest += line
            count += 1
            if len(rest) > limits.line:
                raise TooMuchError(codes.SIZE, f"line {count} has more than {limits.line:,} bytes")
            if count > limits.lines:
                raise TooMuchError(codes.SIZE, f"more than {limits.lines:,} lines")
            yield bytes(rest)
            rest.clear()
        rest += last
        if len(rest) > limits.line:
            raise TooMuchError(codes.SIZE, f"line {count + 1} has more than {limits.line:,} bytes")
    if rest:
        raise TooMuchError(codes.ENCODING, "the last line has no end")


def read_episodes(
    stream: BinaryIO, limits: Limits = ACCEPTED
) -> Iterator[tuple[int, EpisodeRow | None, list[Finding]]]:
    """Every line with its number from 1: the episode, or what is wrong with it. The last may be a fault of the file."""
    number = faulty = 0
    try:
        for number, line in enumerate(lines(stream, limits), start=1):
            row, found = read_model(line, EpisodeRow, EPISODES, number)
            yield number, row, found
            faulty += row is None
            if faulty > limits.faulty_lines:
                raise TooMuchError(codes.SIZE, f"more than {limits.faulty_lines:,} faulty lines; the rest is not read")
    except TooMuchError as fault:
        yield number + 1, None, [fault.finding]


# ---------------------------------------------------------------------- secrets

SECRETS = {
    "an OpenAI key": r"\bsk-(?:proj-|svcacct-|ant-)?[A-Za-z0-9_-]{32,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})",
    "an AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{20,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a signed token": r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}",
}
"""What looks like a secret, by what it would be."""
_SECRET = re.compile("|".join(f"(?P<s{number}>{pattern})" for number, pattern in enumerate(SECRETS.values())))


def secrets(value: Any) -> list[str]:
    """The kinds of secret that texts in a JSON value look like; never the text itself."""
    kinds = list(SECRETS)
    if isinstance(value, str):
        return [f"looks like {kinds[int((match.lastgroup or 's0')[1:])]}" for match in _SECRET.finditer(value)]
    if isinstance(value, dict):
        return [kind for pair in value.items() for each in pair for kind in secrets(each)]
    if isinstance(value, list):
        return [kind for each in value for kind in secrets(each)]
    return []
