"""ListOps: nested operations on lists of digits (Nangia and Bowman, 2018).

A question is a nested list such as `[MAX 2 9 [MIN 4 7 ] 0 ]`: an operation, then two to five arguments, each a digit
or a list of its own. MAX and MIN are the greatest and the smallest argument, MED is the median, rounded down, and SM
the sum modulo 10. MIN of 4 and 7 is 4, MAX of 2, 9, 4 and 0 is 9; the answer ends with `= 9`. Questions are drawn from
the answer down to the digits, so that all ten digits are equally frequent, which MAX and MIN would otherwise prevent.

Difficulty is the depth, the number of lists within each other, 1 to 6 (default 2-3).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from statistics import median

from ..task import Question
from .generated import DIGITS, Draft, GeneratedTask, between, parse_difficulty, pick, read_digit, several, shuffled

FUNCTIONS: dict[str, Callable[[Sequence[int]], int]] = {
    "MAX": max,
    "MIN": min,
    "MED": lambda digits: int(median(digits)),
    "SM": lambda digits: sum(digits) % 10,
}
"""From an operation to its function: the digits of all arguments in, a digit out."""

OPERATIONS = tuple(FUNCTIONS)
FEWEST, MOST = 2, 5  # arguments of a list, as published
NESTED = 0.25  # how often an argument is a list where it need not be


def solve(prompt: str) -> str:
    """The answer to a question, with a stack that holds the words of every list still open."""
    stack: list[list[str]] = [[]]
    for word in prompt.split():
        if word == "]":
            operation, *digits = stack.pop()
            stack[-1].append(str(FUNCTIONS[operation]([int(digit) for digit in digits])))
        elif word.startswith("["):
            stack.append([word[1:]])
        else:
            stack[-1].append(word)
    return stack[0][0]


def draw_arguments(rng: random.Random, operation: str, value: int, count: int) -> list[int]:
    """`count` digits of which `operation` makes `value`."""
    if operation == "SM":
        digits = several(rng, count - 1, 0, 9)
        digits.insert(between(rng, 0, count - 1), (value - sum(digits)) % 10)
        return digits
    if operation == "MED":
        if count % 2:
            middle = [value]
        else:  # the mean of two, which may be rounded down
            reach = between(rng, 0, min(value, 9 - value))
            middle = [value - reach, min(value + reach + between(rng, 0, 1), 9)]
        half = (count - 1) // 2
        below = several(rng, half, 0, middle[0])
        above = several(rng, half, middle[-1], 9)
        return shuffled(rng, below + middle + above)
    low, high = (value, 9) if operation == "MIN" else (0, value)
    digits = several(rng, count, low, high)
    digits[between(rng, 0, count - 1)] = value
    return digits


class ListOps(GeneratedTask):
    name = "listops"
    instruction = (
        "The task is a nested list. Each list holds an operation and its arguments: MAX the greatest, MIN the "
        "smallest, MED the median rounded down, SM the sum modulo 10. The answer ends with '= d', where d is the "
        "resulting digit."
    )
    # Enough for one list with its inner lists done, [SM 3 0 9 4 7 ], and an answer behind it, also where a tokenizer
    # spends two tokens on a digit; too few to copy most questions.
    max_message_tokens = 24
    balanced = DIGITS

    def __init__(self, difficulty: str | None = None) -> None:
        super().__init__()
        self.depth = parse_difficulty(difficulty, "2-3", 1, 6)

    @property
    def variant(self) -> str:
        return f"{self.depth[0]}-{self.depth[1]}"

    def generate(self, rng: random.Random) -> Draft:
        depth, value = between(rng, *self.depth), between(rng, 0, 9)
        return Draft(self._draw(rng, value, depth), DIGITS[value], {"depth": depth})

    def _draw(self, rng: random.Random, value: int, depth: int) -> str:
        """A list of exactly this depth that comes to `value`."""
        operation, count = pick(rng, OPERATIONS), between(rng, FEWEST, MOST)
        digits = draw_arguments(rng, operation, value, count)
        arguments = [DIGITS[digit] for digit in digits]
        if depth > 1:
            deepest = between(rng, 0, count - 1)
            for place, digit in enumerate(digits):
                if place == deepest:
                    arguments[place] = self._draw(rng, digit, depth - 1)
                elif rng.random() < NESTED:
                    arguments[place] = self._draw(rng, digit, between(rng, 1, depth - 1))
        return f"[{operation} {' '.join(arguments)} ]"

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return read_digit(text, strict=strict)
