"""Reading a free-form final answer, such as a sorted list of words or the brackets that close a sequence."""

from __future__ import annotations

import re

from .forms import Piece, lines, statements, tidy

_DRESS = re.compile(r"(?:\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mbox)\s*)\{([^{}]*)\}")
_SENTENCE_END = re.compile(r"[.!?]\s")


def read_text(text: str, *, strict: bool = True) -> str | None:
    """The final answer of `text` as it is written, without markdown, quotes, dollar signs and a final point; or None.

    Strict reads what stands behind the last marker, to the end of the sentence or the line, or in the last box, or
    a text of one line; flexible reads, where strict finds nothing, the last line.
    """
    cleaned = tidy(text)
    stated = [piece for piece in statements(cleaned) if piece.form in ("marker", "tag", "hashes", "box")]
    for piece in reversed(stated):
        if not piece.negated and (answer := _answer_in(cleaned, piece)):
            return answer
    found = lines(cleaned)
    if not found or cleaned.rstrip().endswith(":") or (strict and (stated or len(found) > 1)):
        return None
    return trim(found[-1].of(cleaned)) or None


def _answer_in(text: str, piece: Piece) -> str:
    said = piece.of(text)
    if piece.form == "marker" and (end := _SENTENCE_END.search(said)):
        said = said[: end.start()]
    return trim(said)


def trim(text: str) -> str:
    """`text` without what answers are dressed in: space, quotes, dollar signs, \\text{…}, emphasis, a final point."""
    text = text.strip()
    if text[:1] in "\"'" and (close := text.find(text[:1], 1)) > 0:  # "…", also where JSON goes on behind it
        text = text[1:close]
    text = _DRESS.sub(r"\1", text)
    return text.strip(" \t\n$*'\"").removesuffix(".").rstrip(" \t\n$*'\"")
