"""The mathematical expression that a text gives as its answer, in LaTeX that math-verify reads as it was meant."""

from __future__ import annotations

import re

from .forms import Piece, lines, statements, tidy

MAX_LENGTH = 1000
"""No answer is longer."""

# $…$, $$…$$, \(…\), \[…\]; none reaches over the next opening one, so that finding all of them takes linear time.
_MATHS = re.compile(
    r"\$\$([^$]+)\$\$|\$([^$\n]+)\$(?![0-9])|\\\(((?:[^\\]|\\(?![()]))+)\\\)|\\\[((?:[^\\]|\\(?![\[\]]))+)\\\]"
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_CLAUSE_END = re.compile(r"[.?](?=\s|\Z)|\n|,?\s(?:because|since|which|as)\b")
_COMMAND = re.compile(r"\\(?:text\w*|mbox|mathrm|operatorname|begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_OPENING = re.compile(r"(?:(?:about|approximately|exactly|simply|just|equal\s+to|then|is|be|it's)\b|[=:])\s*", re.I)
_ENDING = re.compile(r"[\s.,;:]+\Z")


def explicit_answer(text: str) -> str | None:
    """The expression that `text` gives in an explicit form (see `forms`), the last that gives one; or None."""
    cleaned = tidy(text)
    stated = [piece for piece in statements(cleaned) if piece.form != "verdict"]
    last = lines(cleaned)[-1:]
    if last and any(piece.start >= last[0].start for piece in stated):
        last = []  # it is not just an answer
    for piece in [*last, *reversed(stated)]:
        if not piece.negated and (answer := _expression(cleaned, piece)):
            return answer
    return None


def _expression(text: str, piece: Piece) -> str | None:
    said = piece.of(text)
    if len(said) > MAX_LENGTH + 1 or (piece.form not in ("box", "tag") and _BOX.search(said)):
        return None  # a box is a piece of its own
    if piece.form == "marker":
        if said.startswith(("$$", "\\[")):  # displayed, perhaps over several lines
            displayed = _MATHS.match(text[piece.start : piece.start + MAX_LENGTH])
            said = displayed[0] if displayed else said
        elif end := _CLAUSE_END.search(said):
            said = said[: end.start()]
    if piece.form != "box":
        parts = [next(filter(None, part.groups())) for part in _MATHS.finditer(said)]
        if parts and (piece.form == "marker" or not _count_words(_MATHS.sub(" ", said))):
            said = ", ".join(parts)
    said = _undressed(said)
    if piece.form in ("box", "tag"):
        return said or None
    most = 4 if piece.form == "marker" else 3 if said[:1].isdigit() else 1
    return said if said and _count_words(said) <= most else None


def _count_words(text: str) -> int:
    return len(_WORD.findall(_COMMAND.sub(" ", text)))


def _undressed(text: str) -> str:
    """`text` without delimiters, quotes, emphasis, a final point, and braces that nothing opened."""
    text = re.sub(r"\\(?:displaystyle|[()\[\]])", " ", text).strip(" \t\n*'#>`")
    if text[:1] == '"' and (close := text.find('"', 1)) > 0:  # JSON, which may go on behind it
        text = text[1:close]
    while opening := _OPENING.match(text):
        text = text[opening.end() :]
    text = _ENDING.sub("", text.strip(" \t\n*'\"`$"))
    while text.endswith("}") and text.count("}") > text.count("{"):
        text = text[:-1].rstrip(" .,$")
    return text.strip(" \t\n$")


# -------------------------------------------------------------------------------------------------------- normal forms

_SYMBOLS = {
    **{"π": "\\pi ", "∞": "\\infty ", "θ": "\\theta ", "√": "\\sqrt ", "°": "^\\circ ", "±": "\\pm ", "∈": "\\in "},
    **{"×": "\\times ", "·": "\\cdot ", "÷": "/", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne "},
    **{"∪": "\\cup ", "∩": "\\cap ", "∅": "\\emptyset "},
    **{"²": "^2", "³": "^3", "½": "\\frac{1}{2}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}"},
}
_TO_LATEX = str.maketrans(_SYMBOLS)
_UNITS = "[cmk]?m|[km]?g|ft|in|mi|lb|oz|hr|s"
_REWRITES = [
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<![a-zA-Z\\])pi(?![a-zA-Z])"), r"\\pi "),
    (re.compile(r"(?<=[0-9])[eE]([+-]?[0-9]{1,3})(?![\w.])"), r"\\times 10^{\1}"),
    (re.compile(r"(?<![\w.])([0-9]+)\s+([0-9]+)/([0-9]+)(?![\w.])"), r"\1\\frac{\2}{\3}"),  # 3 1/2
    (re.compile(r"(?<=[0-9])\s+i(?![a-zA-Z])"), "i"),  # 9 i would be another i than that of 9i
    # units in plain words
    (re.compile(rf"(?<=[\d}}])\s+((?:[a-zA-Z]{{3,}}|{_UNITS})(?:\s[a-zA-Z]+){{0,3}})(\^[23])?\Z"), r"\\text{ \1}\2"),
]
_THOUSANDS = re.compile(r"(?<![\w.,])[0-9]{1,3}(?: [0-9]{3})+(?![\w,])")
_SIDE_BY_SIDE = re.compile(r"(?<=[0-9])\s+(?=[0-9])")


def to_latex(expression: str) -> str:
    """An answer in LaTeX or in plain signs, rewritten where math-verify would take it for something else.

    Numbers side by side are a list: math-verify would add them up.
    """
    expression = " ".join(expression.translate(_TO_LATEX).split())
    for pattern, replacement in _REWRITES:
        expression = pattern.sub(replacement, expression)
    expression = _THOUSANDS.sub(lambda match: match[0].replace(" ", ""), expression)
    return expression if "\\frac" in expression else _SIDE_BY_SIDE.sub(", ", expression)


_TEXT = re.compile(r"\\(?:text\w*|mbox|mathrm|mathbf)\s*\{([^{}]*)\}")
_SPACING = re.compile(r"\\[!,;: ]\s?|\\(?:left|right|displaystyle)(?![a-zA-Z])|(?<![0-9])\s|\s(?![0-9])|\\?\$")
_ARTICLE = re.compile(r"\A(?:an?|the)\s(?=[a-zA-Z]{2})", re.IGNORECASE)
_BASE = re.compile(r"\(?[0-9A-F]+\)?_\{?([0-9]+)\}?")


def same_text(reference: str, answer: str) -> bool:
    """Whether an answer is the reference as it is written, spacing aside; for words, case and article aside, too."""
    bare = _TEXT.sub(r"\1", reference)
    words = bool(re.search(r"[^\W\d_]{3}", bare)) and not re.search(r"\\[a-zA-Z]", bare)

    def written(text: str) -> str:
        text = " ".join(_TEXT.sub(r"\1", text).split())
        text = _ARTICLE.sub("", text).casefold() if words else text
        return _SPACING.sub("", text).removesuffix(".")

    return written(reference) == written(answer) != ""


def other_base(reference: str, answer: str) -> bool:
    """Whether both name the base of a number, and not the same one: math-verify reads 25_8 and 25_9 as 25."""
    bases = [_BASE.fullmatch(text.strip().replace(" ", "")) for text in (reference, answer)]
    return all(bases) and len({base[1] for base in bases if base}) == 2


_SUM = re.compile(r"(?<=[\w)}\]])\s*(?:[-+*]|\\(?:times|cdot|div)(?!\s*\{?10(?![0-9])))\s*(?=[\w\\({.])")
_UNDONE = re.compile(
    r"(?<!\\)!|(?<!\\)\||(?<!10)\^(?!\s*\{?\\circ)"
    r"|\\(?:[dt]?binom|sum|prod|i*int|lim|det|gcd|lcm|log|ln|lg|exp|sqrt|l?floor|l?ceil|max|min|[bp]?mod|begin|deg"
    r"|(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?)(?![a-zA-Z])"
)
_UNIT = re.compile(r"\\(?:text\w*|mbox|mathrm)\s*\{[^{}]*\}(?:\^\{?[23]\}?)?")
_PLAIN_DRESS = re.compile(r"\\(?:text\w*|mbox|mathrm)\s*\{[^{}]*\}(?:\^\{?[23]\}?)?|\^\{?\\circ\}?|\\[!,;%$ ]|[\s$%{}]")
_NUMERAL = re.compile(r"[-+]?(?=.*[0-9])[0-9.,]*(?:\\[dtc]?frac[0-9]+|/[0-9]+)?")
_RELATION = re.compile(r"(?<!\\)=|\\approx(?![a-zA-Z])|\\equiv(?![a-zA-Z])")


def left_undone(reference: str, answer: str) -> bool:
    """Whether the reference is a number and the answer an expression still to be worked out, such as 35 + 35 for 70.

    The expression that a question asks to evaluate has the right value and is no answer.
    """
    numeral = _NUMERAL.fullmatch(_PLAIN_DRESS.sub("", reference))
    return numeral is not None and _has_work(answer)


def _has_work(expression: str) -> bool:
    result = _UNIT.sub("", _RELATION.split(to_latex(expression))[-1])
    return bool(_SUM.search(result) or _UNDONE.search(result))
