"""Reading the letter of a multiple-choice answer, or one of a few words such as Yes and No."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from .forms import INSTEAD, SEVERAL, Piece, Reading, decide, lines, locate, nothing_else, plain, statements, unboxed

_EDGE = r"(?!\w)(?!['-]\w)"
# What follows an "A", an "I", a small letter or a "no" that is an answer, and not a word of a sentence.
_PAUSE = (
    r"(?=[\s*']*(?:\Z|[\n)}\].:,;!?/|&+→–—({[]|-(?!\w))|\s+[B-HJ-Z](?!\w)"
    r"|\s+(?:because|since|as|for|which|due|given|based|is|or|and|but|not|it|they|you|we|he|she|there|this|these)\b)"
)
# What follows an option's text: its end, where a longer text could go on.
_TEXT_END = r"(?=\s*(?:\Z|[)\]}',:;–—(/|])|[.!?]+(?!\w)|\n|\s(?:-\s|(?:because|since|as|which|but|not|or|and)\b))"
# One step over what may stand between a marker and the answer.
_STEP = re.compile(
    r"""[\s:=*\#>~≈→•_']+ | [({\[–—-]
      | (?:the|my|final|correct|right|best|answer|option|choice|letter|is|it's|it|be|definitely|clearly|certainly|surely
        |probably|likely|most|actually|indeed|simply|therefore|thus|hence|so|then|that|would|must|should|i|think|believe
        |either|both)\b(?!['-])""",
    re.VERBOSE | re.IGNORECASE,
)
_BESIDE = re.compile(
    r"[)\]}*'_ ]*(?:[.!?](?=[,;/|]|(?-i:\s+(?:or|and)\b)))?"
    r"(?:[ ,;/|&+(\[{•–—]|-(?!\w))*(?P<word>(?:or|and|nor)\b[ (\[{*]*)?",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"\s*(?:\Z|[)\]},;/|&+.]|(?:or|and)\b|[A-Z](?!\w))")
_BETWEEN = re.compile(r"\W*(?:(?:or|and|nor)\b\W*)?", re.IGNORECASE)
_NOTHING_MORE = re.compile(r"[\W_]*\Z")
# What follows the letter in "B) some option"; an option does not begin with one of these words.
_ENTRY = re.compile(
    r"[)\].:}*' –—-]*[)\].:–—-][)\].:}*' –—-]*(?P<text>(?!(?:is|was|because|since|as|and|or|i)\b)\w[^\n]*)\Z",
    re.IGNORECASE,
)
_ENTRY_HEAD = re.compile(
    r"[)\].:]['\s]*(?!(?:is|was|because|since|as|and|or|i)\b)(?!\(?[A-Z]\))[^\s.,;:!?]", re.IGNORECASE
)
_LISTED = re.compile(r"(?<!\w)[A-Z][)\].:](?!\w)")
_CLOSERS = " )].:*'–—-"
_MAX_WORDS = 12


class _Vocabulary(NamedTuple):
    """What may be answered, as a pattern that matches an answer where it stands."""

    token: re.Pattern[str]
    values: dict[str, str | None]
    """The answer by what the pattern matched in its group "own", or by the name of another group."""
    texts: frozenset[str] = frozenset()
    """The options' texts, as `_normal` gives them."""
    quoted: re.Pattern[str] | None = None
    """Matches an option's text wherever it stands."""

    def value(self, match: re.Match[str]) -> str | None:
        own = match.lastgroup == "own"
        return self.values[" ".join(match[0].split()).casefold() if own else str(match.lastgroup)]


def read_choice(text: str, labels: Sequence[str], options: Sequence[str] = (), *, strict: bool = True) -> str | None:
    """Which of `labels` (capital letters) `text` answers, or None.

    Strict takes explicit forms only (see `forms`), the last that says anything. An answer may be a letter, small or
    capital, or the whole text of exactly one of `options`, which stand in the order of `labels`. Where letter and text
    disagree ("(B) nucleus", though nucleus is C) the letter counts. Several labels side by side and negated ones are
    no answer, and neither is an "A" or "I" that is a word of a sentence. Flexible reads, where strict finds nothing,
    the last letter that stands alone or in brackets, else the only option whose text occurs.
    """
    cleaned = plain(text)
    vocabulary = _letters(tuple(labels), tuple(options))
    answer = decide(_stated(cleaned, vocabulary))
    if answer is None and not strict:
        mentioned = [*_mentioned(unboxed(cleaned), vocabulary)]
        answer = decide(mentioned) if mentioned else _only_option(cleaned, vocabulary)
    return answer


def read_word(text: str, words: Sequence[str], *, strict: bool = True) -> str | None:
    """Which of `words` ("Yes" and "No", "valid" and "invalid") `text` answers, in the caller's spelling, or None.

    Strict takes explicit forms only (see `forms`), the last that says anything; flexible reads, where strict finds
    nothing, the last of the words, unless another one stands right beside it.
    """
    cleaned = plain(text)
    vocabulary = _words(tuple(words))
    answer = decide(_stated(cleaned, vocabulary))
    return decide(_mentioned(unboxed(cleaned), vocabulary)) if answer is None and not strict else answer


# ------------------------------------------------------------------------------------------------------- vocabularies


@lru_cache(maxsize=1024)
def _letters(labels: tuple[str, ...], options: tuple[str, ...]) -> _Vocabulary:
    values: dict[str, str | None] = {label.casefold(): label for label in labels}
    meaning: dict[str, str | None] = {}  # by the pattern of an option's text
    alike = Counter(map(_normal, options))
    for label, option in zip(labels, options, strict=False):
        if not _bare(option) or _bare(option).upper() in labels:
            continue
        pattern = _spaced(_bare(option)) + (r"\??" if option.rstrip().endswith("?") else "")
        if alike[_normal(option)] == 1:  # else case tells options apart ("Cc" and "CC"), or nothing does
            pattern = f"(?i:{pattern})"
        meaning[pattern] = None if pattern in meaning else label
    longest_first = sorted(meaning, key=len, reverse=True)  # the longest text that fits is meant
    spelled = [f"(?P<text{place}>{pattern})" for place, pattern in enumerate(longest_first)]
    values |= {f"text{place}": meaning[pattern] for place, pattern in enumerate(longest_first)}
    sure = "".join(label for label in labels if label not in "AI")
    doubtful = "".join(labels).lower() + "".join(label for label in labels if label in "AI")
    own = [rf"[{sure}]{_EDGE}"] if sure else []
    letter = rf"(?P<own>{'|'.join([*own, f'[{doubtful}]{_EDGE}{_PAUSE}'])})"
    token = "|".join([*(text + _TEXT_END for text in spelled), letter])
    quoted = re.compile(rf"(?<!\w)(?:{'|'.join(spelled)})(?!\w)") if spelled else None
    return _Vocabulary(re.compile(rf"(?<![\w°])(?<!\w['.])(?:{token})"), values, frozenset(alike), quoted)


@lru_cache(maxsize=1024)
def _words(words: tuple[str, ...]) -> _Vocabulary:
    values: dict[str, str | None] = {" ".join(word.split()).casefold(): word for word in words}
    longest_first = [_spaced(word) for word in sorted(values, key=len, reverse=True)]
    another = rf"(?=\s+(?:{'|'.join(longest_first)})(?!\w))"
    patterns = [word + (f"(?:{_PAUSE}|{another})" if word == "no" else "") for word in longest_first]
    return _Vocabulary(re.compile(rf"(?<!\w)(?i:(?P<own>{'|'.join(patterns)}){_EDGE})"), values)


def _spaced(text: str) -> str:
    return r"\s+".join(map(re.escape, text.split()))


def _normal(option: str) -> str:
    """An option's text as it is compared: without case, markup, runs of spaces and final punctuation."""
    return _bare(option).casefold()


def _bare(option: str) -> str:
    return " ".join(plain(option).split()).strip(" .,:;!?*'")


# ------------------------------------------------------------------------------------------------------ explicit forms


def _stated(text: str, vocabulary: _Vocabulary) -> Iterator[Reading | None]:
    """What the explicit forms say, last first."""
    found = lines(text)
    if found:
        yield _last_line(text, found, vocabulary)
    for piece in reversed(statements(text)):
        yield _read(text, piece, vocabulary)
    if len(found) > 1:
        yield _first_line(text, found, vocabulary)


def _read(text: str, piece: Piece, vocabulary: _Vocabulary) -> Reading | None:
    """What one piece says; None where nothing can be read in it."""
    said = piece.of(text)
    negated, match = locate(said, 0, vocabulary.token, _STEP)
    value = vocabulary.value(match) if match else None
    if match is None or value is None or said[match.end() : match.end() + 9].lstrip(" )]}'")[:1] == "?":
        return None
    if _another_beside(said, match, vocabulary):
        return SEVERAL if piece.form != "line" or nothing_else(said, vocabulary.token) else None
    if negated or piece.negated:
        if but := INSTEAD.match(said, match.end()):
            negated, match = locate(said, but.end(), vocabulary.token, _STEP)
            return Reading(vocabulary.value(match)) if match and not negated else None
        return Reading(value, negated=True)
    return Reading(value) if not piece.closed or _complete(said, match, vocabulary) else None


def _another_beside(said: str, match: re.Match[str], vocabulary: _Vocabulary) -> bool:
    """Whether another answer stands beside this one, as in "A or B", "A/B" and "A B C D"."""
    gap = _BESIDE.match(said, match.end())
    # What looks like a gap may begin an option's text: "to" in "To rest", the bracket in "(1,6)".
    places = range(gap.end(), max(gap.start(), gap.end() - 8), -1) if gap else ()
    other = next(filter(None, (vocabulary.token.match(said, place) for place in places)), None)
    if not gap or not other or vocabulary.value(other) == vocabulary.value(match):
        return False
    if gap["word"] or match.lastgroup != "own":
        return True
    if other.lastgroup != "own":
        return False  # "(B) nucleus": a letter and a text
    further = _BESIDE.match(said, other.end())
    return bool(_AGAIN.match(said, other.end()) or (further and vocabulary.token.match(said, further.end())))


def _complete(said: str, match: re.Match[str], vocabulary: _Vocabulary) -> bool:
    """Whether nothing else is said: "B", "(B).", or a letter with an option's text behind it."""
    if _NOTHING_MORE.match(said, match.end()):
        return True
    if len(match[0]) > 1:
        return False
    entry = _ENTRY.match(said, match.end())
    rest = entry["text"] if entry else said[match.end() :]
    if _normal(rest.lstrip(_CLOSERS)) in vocabulary.texts:
        return True
    return bool(entry) and len(rest.split()) <= _MAX_WORDS and not _LISTED.search(rest)


def _last_line(text: str, found: list[Piece], vocabulary: _Vocabulary) -> Reading | None:
    """The last line, if nothing but an answer stands on it and it does not end a list of the options."""
    reading = _read(text, found[-1], vocabulary)
    if reading and len(found) > 1 and _entry(text, found[-2], vocabulary) not in (None, reading.value):
        bare = _NOTHING_MORE.match(re.sub(r"\w+", "", found[-1].of(text), count=1))
        return SEVERAL if bare else None
    return reading


def _first_line(text: str, found: list[Piece], vocabulary: _Vocabulary) -> Reading | None:
    """The first line, if nothing but an answer stands on it and no other line is an entry of a list of options."""
    reading = _read(text, found[0], vocabulary)
    if reading and any(_entry(text, line, vocabulary) not in (None, reading.value) for line in found[1:]):
        return None
    return reading


def _entry(text: str, line: Piece, vocabulary: _Vocabulary) -> str | None:
    """The answer that heads a line as an entry of a list: "B) …", "- Yes"."""
    said = text[line.start : min(line.end, line.start + 200)]
    match = vocabulary.token.search(said)
    if not match or re.search(r"\w", said[: match.start()]):
        return None
    headed = re.match(r"\s*[)\].:]", said[match.end() :]) and len(match[0]) == 1
    return vocabulary.value(match) if headed or _NOTHING_MORE.match(said, match.end()) else None


# ------------------------------------------------------------------------------------------------------ plain mentions

_NOT_BEFORE = re.compile(
    r"(?:\b(?:not|neither|nor)|n't)\s+(?:the\s+)?(?:(?:option|answer|choice)\s+)?[(\[]?\Z", re.IGNORECASE
)
_NOT_AFTER = re.compile(
    r"[)\]}*':]*\s*(?:(?:is|was|seems)(?:n't|\s+(?:not|wrong|incorrect|false)\b)|can(?:not|'t)\b)", re.IGNORECASE
)


def _mentioned(text: str, vocabulary: _Vocabulary) -> Iterator[Reading | None]:
    """What letters or words standing alone say, last first; entries of a list of options say nothing."""
    mentions = [m for m in vocabulary.token.finditer(text) if m.lastgroup == "own" and _plainly_meant(text, m)]
    listed = _listed(text, mentions, vocabulary)
    mentions = [mention for place, mention in enumerate(mentions) if place not in listed]
    for place in reversed(range(len(mentions))):
        mention, value = mentions[place], vocabulary.value(mentions[place])
        before = mentions[place - 1] if place else None
        refused = _NOT_BEFORE.search(text[max(0, mention.start() - 30) : mention.start()])
        if before and vocabulary.value(before) != value and _BETWEEN.fullmatch(text, before.end(), mention.start()):
            yield SEVERAL
        elif refused or _NOT_AFTER.match(text, mention.end()):
            yield Reading(value, negated=True)
        elif text[mention.end() : mention.end() + 4].lstrip(" )]'")[:1] != "?":
            yield Reading(value)


def _plainly_meant(text: str, mention: re.Match[str]) -> bool:
    """Whether a mention is a word, a capital other than "I", or in brackets."""
    if len(mention[0]) > 1 or (mention[0].isupper() and mention[0] != "I"):
        return True
    around = text[max(0, mention.start() - 1) : mention.start()] + text[mention.end() : mention.end() + 1]
    return around in ("()", "[]")


def _listed(text: str, mentions: list[re.Match[str]], vocabulary: _Vocabulary) -> set[int]:
    """Which of the mentions head the entries of a list of options.

    A list is told by neighbours that each head a line, by an option's text between two letters, or by three letters
    and more in the order of the alphabet.
    """
    listed: set[int] = set()
    run: list[int] = []  # places of letters that follow each other in the alphabet
    for place, mention in enumerate(mentions):
        before = mentions[place - 1] if place else None
        if before and before[0] != mention[0]:
            between = text[before.end() : min(mention.start(), before.end() + 1000)].lstrip(_CLOSERS)
            on_lines = _heads_line(text, before) and _heads_line(text, mention)
            if on_lines or _normal(between.rstrip("([ \n")) in vocabulary.texts:
                listed |= {place - 1, place}
        follows = before and len(before[0]) == len(mention[0]) == 1 and ord(before[0]) + 1 == ord(mention[0])
        heads = bool(_ENTRY_HEAD.match(text, mention.end()))
        run = [*(run if follows else ()), place] if heads else []
        listed |= set(run[-3:] if len(run) > 2 else ())
    return listed


def _heads_line(text: str, mention: re.Match[str]) -> bool:
    """Whether a letter heads a line, as in "(B) some option"."""
    ahead = text[max(0, mention.start() - 8) : mention.start()]
    opened = re.search(r"\n\W*\Z" if mention.start() > 8 else r"(?:\A|\n)\W*\Z", ahead)
    return bool(opened and text[mention.end() : mention.end() + 3].lstrip("*'")[:1] in ")].:")


def _only_option(text: str, vocabulary: _Vocabulary) -> str | None:
    """The answer whose option is quoted in full, if it is the only one."""
    if not vocabulary.quoted:
        return None
    answers = {vocabulary.value(quote) for quote in vocabulary.quoted.finditer(text)}
    return answers.pop() if len(answers) == 1 else None
