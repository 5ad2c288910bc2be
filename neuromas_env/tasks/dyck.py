"""Dyck: close what is open, after BIG-Bench Hard's `dyck_languages`.

A question is a sequence of four kinds of brackets, some of which are left open, such as `( [ < > {`. The answer closes
them, the last one first, and ends with `= } ] )`. All kinds are equally frequent. Between the brackets that stay open
others open and close, nested or side by side, which have to be passed over.

Difficulty is the number of brackets left open, 1 to 12 (default 2-5).
"""

from __future__ import annotations

import random
import re

from ..task import Question
from .generated import Draft, GeneratedTask, after_equals, between, parse_difficulty, pick

PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
OPENING = tuple(PAIRS)
CLOSING = frozenset(PAIRS.values())


def solve(prompt: str) -> str:
    """The answer to a question. Raises ValueError where a bracket closes that is not the last one open."""
    still_open: list[str] = []
    for bracket in prompt.split():
        if bracket in PAIRS:
            still_open.append(bracket)
        elif not still_open or PAIRS[still_open.pop()] != bracket:
            raise ValueError(f"{bracket!r} closes nothing in {prompt!r}")
    return " ".join(PAIRS[bracket] for bracket in reversed(still_open))


class Dyck(GeneratedTask):
    name = "dyck"
    instruction = (
        "The task is a sequence of brackets. Close those that are still open, the last one first. The answer ends with "
        "'=' and the closing brackets, with spaces between them."
    )
    # Enough for the longest answer, twelve brackets, and as many on the way to it; a bracket is a token.
    max_message_tokens = 28

    def __init__(self, difficulty: str | None = None) -> None:
        super().__init__()
        self.open = parse_difficulty(difficulty, "2-5", 1, 12)

    @property
    def variant(self) -> str:
        return f"{self.open[0]}-{self.open[1]}"

    @property
    def scarce(self) -> bool:
        return self.open[1] == 1

    def generate(self, rng: random.Random) -> Draft:
        left_open = between(rng, *self.open)
        closing = between(rng, left_open, left_open + 2)
        opening = left_open + closing
        brackets: list[str] = []
        stack: list[str] = []
        length = opening + closing
        while opening or closing:
            if opening and (not stack or not closing or rng.random() < 0.5):
                brackets.append(pick(rng, OPENING))
                stack.append(PAIRS[brackets[-1]])
                opening -= 1
            else:
                brackets.append(stack.pop())
                closing -= 1
        return Draft(" ".join(brackets), " ".join(reversed(stack)), {"open": left_open, "length": length})

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        """Not strict: the last closing brackets that stand together, with or without spaces."""
        text = text.replace("=>", "→")  # neither an equals sign nor a bracket
        if strict:
            brackets = (after_equals(text) or "").split()
        else:
            found = re.findall(r"[)\]}>](?:\s*[)\]}>])*", text)
            brackets = list("".join(found[-1].split())) if found else []
        return " ".join(brackets) if brackets and CLOSING.issuperset(brackets) else None
