"""Sorting: put numbers in order.

A question is a list of whole numbers from 0 to 99, such as `43 7 28 91`. The answer holds them from the smallest to the
largest, equal ones as often as they are given, and ends with `= 7 28 43 91`. Lists can be sorted in parts and merged, a
tree of merges. No list is in order, forwards or backwards.

Difficulty is the number of numbers, 3 to 16 (default 4-8).
"""

from __future__ import annotations

import random
import re

from ..task import Question
from .generated import Draft, GeneratedTask, after_equals, between, parse_difficulty, several


def solve(prompt: str) -> str:
    """The answer to a question."""
    return " ".join(sorted(prompt.split(), key=int))


class Sorting(GeneratedTask):
    name = "sorting"
    instruction = (
        "The task is a list of numbers. Put them in order, the smallest first. The answer ends with '=' and the sorted "
        "numbers, with spaces between them."
    )
    # Enough for the longest answer: sixteen numbers, each a space and two digits where a tokenizer splits all of them.
    max_message_tokens = 52

    def __init__(self, difficulty: str | None = None) -> None:
        super().__init__()
        self.length = parse_difficulty(difficulty, "4-8", 3, 16)

    @property
    def variant(self) -> str:
        return f"{self.length[0]}-{self.length[1]}"

    def generate(self, rng: random.Random) -> Draft:
        length = between(rng, *self.length)
        while True:
            numbers = several(rng, length, 0, 99)
            ordered = sorted(numbers)
            if numbers != ordered and numbers[::-1] != ordered:
                break
        return Draft(" ".join(map(str, numbers)), " ".join(map(str, ordered)), {"length": length})

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        """Not strict: the last two or more numbers with nothing but spaces and commas between them."""
        if strict:
            numbers = (after_equals(text) or "").split()
        else:
            found = re.findall(r"(?<![0-9])[0-9]+(?:[\s,]+[0-9]+)+", text)
            numbers = found[-1].replace(",", " ").split() if found else []
        if not all(number.isascii() and number.isdigit() for number in numbers):
            return None
        return " ".join(numbers) or None
