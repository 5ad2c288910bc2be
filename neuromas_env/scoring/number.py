"""Reading a number: whole, decimal or a fraction, its separators, currency and unit taken off."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .forms import (
    INSTEAD,
    REFUSED,
    SEVERAL,
    Piece,
    Reading,
    decide,
    lines,
    locate,
    nothing_else,
    plain,
    statements,
    unboxed,
)

MAX_EXPONENT = 1000
"""Numbers such as 1e3 are written out; with an exponent beyond this they are not read."""

_NUMBER = re.compile(
    r"""(?:(?<![\w)\]}])(?P<sign>[-+–]))? (?<![\w^])(?<![0-9][.,])(?<!\^\{)
        (?P<digits>\.?[0-9](?:[.,]?[0-9])*)
        (?: [eE](?P<exponent>[+-]?[0-9]+)(?!\w)
          | \s?[×x*]\s?10\s?\^\s?\{?(?P<power>[+-]?[0-9]+)\}?
          | /(?P<under>[0-9]+)(?![0-9/]|[.,][0-9]) )?""",
    re.VERBOSE,
)
_WELL_FORMED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]*\.[0-9]+|[0-9]+")
_CALCULATED = re.compile(r"<<[^<>\n]*>>")  # GSM8K notes calculations so
_CURRENCIES = str.maketrans(dict.fromkeys("€£¥₹"))
# One step over what may stand between a marker and the number.
_STEP = re.compile(
    r"""[\s:*\#>~≈→•_']+ | [-–—](?![.0-9]) | [({\[]
      | (?:the|a|total|of|about|approximately|around|roughly|exactly|only|just|simply|therefore|thus|hence|so|is|it's|it
        |be|would|answer|final|correct|usd|rs\.?)(?![\w'-])""",
    re.VERBOSE | re.IGNORECASE,
)
_OPERATION = re.compile(r"[)\]}\s]*(?:[-+–*×/^÷=]|x\s)\s?[({\[]*[-+–.]?[0-9a-z](?![a-z])|:[0-9]")
_BESIDE = re.compile(r"[)\]}'* ]*(?:[,;|&]|(?:or|and|to)\b)?[({\[* ]*", re.IGNORECASE)
_UNIT = re.compile(r"[\s}\])]*[%°a-zA-Z]*(?:[ /.{(]{1,2}[a-zA-Z°]+){0,3}(?:\^\{?[23]\}?)?[\W_]*\Z")
_ASSIGNMENTS = re.compile(r"\b[a-zA-Z]\s?=[^=]*(?:[,;]|\band\b)\s*[a-zA-Z]\s?=")
_MAX_SENTENCE = 300
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n")
_NOT_BEFORE = re.compile(r"(?:\bnot|n't)\s+\Z", re.IGNORECASE)


def read_number(text: str, *, strict: bool = True) -> str | None:
    """The number that `text` answers, in its one canonical spelling, or None.

    Canonical is a plain decimal without separators, unit or needless zeros: "1,234.50 dollars" is "1234.5", "-0" is
    "0", ".5" is "0.5", "1e3" is "1000", "50%" is "50". A fraction stays one and is not reduced ("3/4", "6/2"): it
    equals no decimal. Of "3 * 4 = 12" the last right side counts. Two numbers side by side ("5 or 6", "1, 2, 3",
    "5-6") and sums left to be done are no answer. Only ASCII digits count.

    Strict takes explicit forms only (see `forms`), the last that says anything; flexible reads, where strict finds
    nothing, the last number.
    """
    cleaned = _cleaned(text)
    answer = decide(_stated(cleaned))
    return decide(_mentioned(unboxed(cleaned))) if answer is None and not strict else answer


def _cleaned(text: str) -> str:
    return plain(_CALCULATED.sub("", text)).translate(_CURRENCIES)


def canonical(match: re.Match[str]) -> str | None:
    """The canonical spelling of a number found; None for digits that are none, such as "1,2,3" or "1/0"."""
    if not _WELL_FORMED.fullmatch(match["digits"]):
        return None
    whole, _, part = match["digits"].replace(",", "").partition(".")
    if power := match["exponent"] or match["power"]:
        size = power.lstrip("+-0")
        if len(size) > 4 or int(size or 0) > MAX_EXPONENT:
            return None
        shift = -int(size or 0) if power.startswith("-") else int(size or 0)
        if shift > 0:
            part = part.ljust(shift, "0")
            whole, part = whole + part[:shift], part[shift:]
        else:
            whole = whole.rjust(-shift, "0")
            whole, part = whole[: len(whole) + shift], whole[len(whole) + shift :] + part
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    number = f"{whole}.{part}" if part else whole
    if match["under"] is not None:
        under = match["under"].lstrip("0")
        if part or not under:
            return None
        number = f"{whole}/{under}"
    return f"-{number}" if match["sign"] in ("-", "–") and number.strip("0/") else number


def _stated(text: str) -> Iterator[Reading | None]:
    """What the explicit forms say, last first."""
    if found := lines(text):
        yield _read(text, found[-1])
    for piece in reversed(statements(text)):
        yield _read(text, piece)


def _read(text: str, piece: Piece) -> Reading | None:
    """What one piece says; None where no number can be read in it."""
    said = piece.of(text)
    if not piece.closed:
        end = _SENTENCE_END.search(said, 0, _MAX_SENTENCE)
        said = said[: end.start()] if end else said
    negated, match = locate(said, 0, _NUMBER, _STEP)
    if not match or _OPERATION.match(said, match.end()):
        if _ASSIGNMENTS.search(said):
            return SEVERAL
        if "=" in said:
            negated, match = locate(said, said.rfind("=") + 1, _NUMBER, _STEP)
        elif match or piece.closed or len(said) > _MAX_SENTENCE:
            return None
        else:  # the only number of a sentence: "Answer: Janet makes $18 every day."
            numbers = [*_NUMBER.finditer(said)]
            match = numbers[0] if len(numbers) == 1 and not REFUSED.search(said) else None
    if not match or _OPERATION.match(said, match.end()):
        return None
    value, gap = canonical(match), _BESIDE.match(said, match.end())
    follower = _NUMBER.match(said, gap.end()) if gap and gap[0] else None
    if value is None or (follower and canonical(follower) != value):
        return SEVERAL if piece.form != "line" or nothing_else(said, _NUMBER) else None
    if negated or piece.negated:
        if but := INSTEAD.match(said, match.end()):
            negated, match = locate(said, but.end(), _NUMBER, _STEP)
            return Reading(canonical(match)) if match and not negated else None
        return Reading(value, negated=True)
    return Reading(value) if not piece.closed or _UNIT.match(said, match.end()) else None


def _mentioned(text: str) -> Iterator[Reading | None]:
    """What the numbers in the text say, last first."""
    numbers = [*_NUMBER.finditer(text)]
    for place in reversed(range(len(numbers))):
        number, before = numbers[place], numbers[place - 1] if place else None
        value = canonical(number)
        if value is None or text.startswith("^", number.end()):
            yield SEVERAL
        elif _NOT_BEFORE.search(text[max(0, number.start() - 10) : number.start()]):
            yield Reading(value, negated=True)
        elif before and canonical(before) != value and _side_by_side(text, before, number):
            yield SEVERAL
        else:
            yield Reading(value)


def _side_by_side(text: str, one: re.Match[str], other: re.Match[str]) -> bool:
    """Whether two numbers are items of a list, ends of a range or operands."""
    between = text[one.end() : min(other.start(), one.end() + 20)]
    return bool(between and re.fullmatch(r"[)\]}\s]*(?:[-+–*×/^÷,;|&x]|or|and|to)?[({\[\s]*", between))


def ends_in_a_list(text: str) -> bool:
    """Whether the last number of a text is one of several side by side, such as "1, 2, 3"."""
    return next(_mentioned(unboxed(_cleaned(text))), None) == SEVERAL
