"""The forms in which a text states its answer, found in one pass each; what stands in them is read elsewhere.

Explicit forms, in any case and under any markdown:

    Answer: X          The answer (option, choice) is X        I choose X, I would go with X
    #### X             <answer>X</answer>                      \\boxed{X}, \\fbox{X}
    X is correct       X is the right answer
    so it's X.         therefore X.          as the last clause of the text
    X                  a line with nothing else on it, the last of the text

Everything here takes time linear in the length of the text, whatever the text, and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_PIECE = 1000
"""How many characters behind a marker are looked at; it bounds the time that thousands of markers take."""


class Piece(NamedTuple):
    """A stretch of the text in which an answer is stated."""

    start: int
    end: int
    form: str
    """How: "marker" ("Answer:"), "tag", "hashes", "box", "conclusion" ("so it's"), "verdict" ("is correct"), "line"."""
    negated: bool = False
    """Whether it says what the answer is not."""
    joined: tuple[tuple[int, int], ...] = ()
    """The boxes side by side that make up one statement, such as "\\boxed{1} or \\boxed{2}"."""

    @property
    def closed(self) -> bool:
        """Whether the answer must be all of it. Behind a marker the answer comes first, and a reason may follow."""
        return self.form != "marker"

    def of(self, text: str) -> str:
        return ", ".join(text[start:end] for start, end in self.joined) if self.joined else text[self.start : self.end]


class Reading(NamedTuple):
    """What a piece says: an answer, what the answer is not, or (value None) several answers at once."""

    value: str | None
    negated: bool = False


SEVERAL = Reading(None)


def decide(readings: Iterable[Reading | None]) -> str | None:
    """The answer that a text gives in the end, from what its pieces say, LAST FIRST; None stands for nothing said.

    The last piece that says something counts. An answer withdrawn further on is none.
    """
    withdrawn: set[str | None] = set()
    for reading in readings:
        if reading is None:
            continue
        if not reading.negated:
            return None if reading.value in withdrawn else reading.value
        withdrawn.add(reading.value)
    return None


# ---------------------------------------------------------------------------------------------------------- cleaning

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("‘’‛′＇", "'"),
        **dict.fromkeys("“”„«»＂", '"'),
        **dict.fromkeys("−‐‑﹣－", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u3000\t\v\f", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\x00"),  # invisible
        **dict.fromkeys("\r\u0085\u2028\u2029", "\n"),
        **{"：": ":", "＝": "=", "（": "(", "）": ")", "，": ",", "。": ".", "＄": "$", "％": "%"},
    }
)
_MARKUP = re.compile(
    r"""(?P<power>(?:(?<=[0-9)])|(?<=\b[a-zA-Z]))\*\*(?=[\w(]))  # 2**3; every other ** is bold
      | (?P<thin>(?<=[0-9])[\u2009\u202f](?=[0-9]{3}))           # a separator of thousands
      | (?P<space>[\u2009\u202f])
      | ```[a-z]*\n | \*\*+ | __+ | `+""",
    re.VERBOSE,
)


def tidy(text: str) -> str:
    """`text` without markdown emphasis, with plain quotes, spaces, hyphens and line ends. LaTeX is left alone."""
    replaced = {"power": "^", "space": " "}
    return _MARKUP.sub(lambda match: replaced.get(match.lastgroup or "", ""), text.translate(_CHARACTERS))


_LATEX = re.compile(
    r"""(?P<over>\\[dtc]?frac\s*(?:\{(-?[0-9]+)\}\s*\{([0-9]+)\}|([0-9])\s*([0-9])))
      | (?P<comma>\{,\})
      | (?P<times>\\(?:times|cdot)(?![a-zA-Z]))
      | (?P<degree>\^\s?\{?\\circ\}?)
      | (?P<about>\\approx(?![a-zA-Z]))
      | (?P<arrow>\\(?:to|(?:long)?[rR]ightarrow|implies)(?![a-zA-Z]))
      | (?P<gap>\\(?:left|right|quad|qquad|displaystyle)(?![a-zA-Z]) | \\[;: ()\[\]] | \\\\ | ~)
      | (?P<none>\\(?:text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mbox|operatorname)(?![a-zA-Z])
          | \\[!,] | \\(?=[$%&\#_]) | \$ | " | (?<!\w)' | '(?!\w))""",
    re.VERBOSE,
)
_PLAIN = {"comma": ",", "times": "×", "degree": "°", "about": "≈", "arrow": "→", "gap": " ", "none": ""}


def plain(text: str) -> str:
    """`tidy(text)` without quotes, dollar signs and LaTeX's dress: "$\\boxed{\\text{B}}$" is "\\boxed{{B}}"."""

    def replace(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        if kind != "over":
            return _PLAIN[kind]
        gap = " " if match.start() and match.string[match.start() - 1].isdigit() else ""  # 2\frac12 is not 21/2
        return f"{gap}{match[2] or match[4]}/{match[3] or match[5]}"

    return _LATEX.sub(replace, tidy(text))


# ------------------------------------------------------------------------------------------------------------- boxes

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BETWEEN_BOXES = re.compile(r"[\s$,;&]*(?:(?:or|and)\b|\\text\s*\{\s*(?:or|and)\s*\})?[\s$,]*(?:[a-zA-Z]\s*=)?[\s$]*")


def _boxes(text: str) -> Iterator[Piece]:
    """The boxes that close, innermost only, in order; boxes side by side are one piece."""
    closing: dict[int, int] = {}
    opened: list[int] = []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closing[opened.pop()] = brace.start()
    found = [(m.start(), m.end(), closing[m.end() - 1]) for m in _BOX.finditer(text) if m.end() - 1 in closing]
    run: list[tuple[int, int]] = []
    for place, (_, start, end) in enumerate(found):
        follower = found[place + 1] if place + 1 < len(found) else None
        if follower and follower[0] < end:
            continue  # it holds the next one
        run.append((start, end))
        # a gap of 40 characters is none, so that looking at all gaps takes linear time
        if follower and follower[0] - end <= 40 and _BETWEEN_BOXES.fullmatch(text, end + 1, follower[0]):
            continue
        yield Piece(run[0][0], end, "box", joined=tuple(run))
        run = []


def read_boxed(text: str) -> str | None:
    """What stands in the last \\boxed{…} or \\fbox{…} whose braces close, trimmed; None where there is none."""
    content = None
    for box in _boxes(text):
        content = text[box.joined[-1][0] : box.joined[-1][1]].strip()
    return content


# ----------------------------------------------------------------------------------------------------------- markers

_MARKER = re.compile(
    r"""(?P<tag><answer>)
      | (?P<hashes>(?<!\#)\#{4}(?!\#))
      | (?P<so>\b(?:so|therefore|thus|hence|consequently)\b,?[ ]*(?:(?:it|that|this)(?:'s|[ ]is(?:n't)?)\b)?)
      | \bI(?:'d|'ll|'m|[ ]would|[ ]will|[ ]am)?[ ]
        (?:choose|pick|select|go(?:ing)?[ ]with|opt[ ]for|vote[ ]for|answer)\b
      | \banswers\b(?:[ ]*:|[^\n.:=?!]{0,60}?\bare\b[ ]*:?)
      | \b(?:(?P<noun>answer|ans)|option|choice)\b["']?
        (?: [ ]*(?:\([^()\n]{0,40}\)[ ]*)?(?:[:=→]|-+>|[ ][-–—]+>?[ ]|(?(noun)\n|(?!)))
          | (?:'s\b|[^\n.:=?!]{0,60}?\b(?:is|are|was|be|remains)\b(?:n't\b)?)[ ]*:? )""",
    re.VERBOSE | re.IGNORECASE,
)
_SUPPOSED = re.compile(r"\b(?:if|whether|unless|suppose|supposing|assuming)\s+(?:the\s+|my\s+)?(?:\w+\s+)?\Z", re.I)
_NEGATION = re.compile(r"n't\b|\b(?:not|cannot|never|neither)\b", re.IGNORECASE)
_VERDICT = re.compile(
    r"""\b(?:is|would[ ]be|must[ ]be|should[ ]be)(?P<denied>n't|[ ]not)?[ ]
        (?:clearly[ ]|definitely[ ])?(?:the[ ]|my[ ])?
        (?:(?P<wrong>incorrect|wrong)|correct|right|best|(?:final[ ])?answer)\b
        (?=[ ](?:answer|option|choice|one|here|because|since|as)\b|[*)\s]*(?:[.,;:!\n]|\Z))""",
    re.VERBOSE | re.IGNORECASE,
)
_SPACE = re.compile(r"\s*")
_DIGITS = re.compile(r"[0-9.,]*")


def statements(text: str) -> list[Piece]:
    """Where `text` (tidied) states its answer behind or before a marker or in a box, in order of position."""
    last = len(text.rstrip())
    found = list(_boxes(text))
    for marker in _MARKER.finditer(text):
        if _SUPPOSED.search(text[max(0, marker.start() - 30) : marker.start()]):
            continue
        start, end = _behind(text, marker.end())
        negated = bool(_NEGATION.search(marker[0]))
        if marker["tag"]:
            close = text.find("</", start, end)
            found.append(Piece(start, end if close < 0 else close, "tag"))
        elif marker["hashes"]:
            if "\n" not in text[marker.end() : start]:
                found.append(Piece(start, end, "hashes"))
        elif not marker["so"]:
            found.append(Piece(start, end, "marker", negated))
        elif end >= last:
            found.append(Piece(start, end, "conclusion", negated))
    for verdict in _VERDICT.finditer(text):
        if verdict["denied"] and verdict["wrong"]:
            continue
        start = max(text.rfind(mark, max(0, verdict.start() - 200), verdict.start()) for mark in ".!?,;:\n") + 1
        start = max(start, verdict.start() - 200)
        found.append(Piece(start, verdict.start(), "verdict", bool(verdict["denied"] or verdict["wrong"])))
    return sorted(found)


def _behind(text: str, at: int) -> tuple[int, int]:
    """The rest of the line behind a marker, or the next line with something on it where nothing is left."""
    gap = _SPACE.match(text, at, at + MAX_PIECE)
    start = gap.end() if gap else at
    end = text.find("\n", start, start + MAX_PIECE)
    if end < 0:
        cut = _DIGITS.match(text, min(len(text), start + MAX_PIECE))  # a number is never cut
        end = cut.end() if cut else len(text)
    return start, end


REFUSED = re.compile(r"\b(?:not|neither)\b", re.IGNORECASE)
INSTEAD = re.compile(r"\W{0,20}\bbut\b(?:\s+rather\b)?(?:\s+(?:it|that)(?:'s|\s+is)\b)?", re.IGNORECASE)
"""As in "not B but C"."""
_MAX_STEPS = 16


def locate(said: str, place: int, token: re.Pattern[str], step: re.Pattern[str]) -> tuple[bool, re.Match[str] | None]:
    """The answer (`token`) that `said` goes on with at `place`, after a few steps over what means nothing (`step`).

    Also whether it is refused, as in "not B".
    """
    refused = False
    for _ in range(_MAX_STEPS):
        if match := token.match(said, place):
            return refused, match
        if passed := REFUSED.match(said, place):
            refused = True
        elif not (passed := step.match(said, place)):
            break
        place = passed.end()
    return refused, None


_JOINING = re.compile(r"\b(?:or|and|nor|to|either|both|answers?|options?|choices?)\b", re.IGNORECASE)


def nothing_else(said: str, token: re.Pattern[str]) -> bool:
    """Whether there are answers and no other words, as in "A, B or C"; "A and B are wrong" names two and gives none."""
    return not re.search(r"[^\W_]", _JOINING.sub("", token.sub("", said)))


def lines(text: str) -> list[Piece]:
    """The lines with something on them, in order."""
    found, start = [], 0
    for line in text.split("\n"):
        if line.strip():
            found.append(Piece(start, start + len(line), "line"))
        start += len(line) + 1
    return found


def unboxed(text: str) -> str:
    """`text` without the commands that draw boxes."""
    return _BOX.sub("{", text)
