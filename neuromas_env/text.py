"""Text that anything may have written: made deliverable, and made visible.

Messages come from models and users, so they may hold any code point: control characters, direction overrides, lone
surrogates. What is delivered is always a sequence of Unicode scalar values of bounded length, and what is shown to a
person never moves the text around it.
"""

from __future__ import annotations

import re
import unicodedata

from .node import Message

MISSING, CUT, REPAIRED = "missing", "cut", "surrogates"
"""Why a message was changed: it was not given; it was too long; it held lone surrogates, which no file can hold."""

SURROGATES = re.compile("[\ud800-\udfff]")


def sanitise(message: object, max_chars: int) -> tuple[str, tuple[str, ...]]:
    """The text that is delivered for what a policy said, and the flags that tell what was changed.

    `message` is a str, a Message, or None for silence. Raises TypeError for anything else.
    """
    text = message.text if isinstance(message, Message) else message
    if type(text) is str and len(text) <= max_chars and text.isascii():
        return text, ()
    if text is None:
        return "", (MISSING,)
    if not isinstance(text, str):
        raise TypeError(f"a message must be a str or a Message, not {type(text).__name__}")
    flags: tuple[str, ...] = ()
    text = str(text)  # a plain str also for subclasses such as numpy.str_
    if len(text) > max_chars:
        text, flags = text[:max_chars], (CUT,)
    if SURROGATES.search(text):
        text, flags = SURROGATES.sub("\ufffd", text), (*flags, REPAIRED)
    return text, flags


def visible(text: str, *, keep_newlines: bool = False) -> str:
    """`text` with every control, format, surrogate and separator character written by its code point, as ⟨U+202E⟩.

    Line ends stay where `keep_newlines` is set. Joiners that scripts and emoji need (U+200C, U+200D) stay as well.
    """
    keep = "\n\u200c\u200d" if keep_newlines else "\u200c\u200d"
    if text.isascii() and text.isprintable():
        return text
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return "".join(f"⟨U+{ord(c):04X}⟩" if unicodedata.category(c) in hidden and c not in keep else c for c in text)
