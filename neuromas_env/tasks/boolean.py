"""Boolean: expressions of True and False, in the wording of BIG-Bench Hard's `boolean_expressions`.

A question is an expression such as `not ( True and False ) or False is`. As in Python, `not` binds closer than `and`,
and `and` closer than `or`; brackets come first. The answer ends with `= True` or `= False`. Questions are drawn from
the answer down to the single values, so that both answers are equally frequent, whichever operator is done last.

Difficulty is the number of values in the expression, 3 to 12 (default 3-5, which covers most published ones).
"""

from __future__ import annotations

import random
import re

from ..task import Question
from .generated import Draft, GeneratedTask, after_equals, between, parse_difficulty, pick

NEGATED = 0.3  # how often a part of an expression is negated
BRACKETED = 0.15  # how often it stands in brackets that it does not need
OR, AND, NOT, VALUE = range(4)  # how close each binds
INPUTS = {
    (AND, True): ((True, True),),
    (AND, False): ((True, False), (False, True), (False, False)),
    (OR, True): ((True, False), (False, True), (True, True)),
    (OR, False): ((False, False),),
}
"""For an operator and its result, the values of its two sides."""


def solve(prompt: str) -> str:
    """The answer to a question, read once from left to right.

    For every bracket still open it is known whether the alternatives before the last `or` came to True, whether the
    present one is True so far, and whether the next value is negated.
    """
    stack = [(False, True, False)]
    for word in prompt.removesuffix(" is").split():
        before, now, negated = stack[-1]
        match word:
            case "(":
                stack.append((False, True, False))
            case "not":
                stack[-1] = (before, now, not negated)
            case "or":
                stack[-1] = (before or now, True, False)
            case "and":
                pass
            case _:
                if word == ")":
                    stack.pop()
                    value = before or now
                    before, now, negated = stack[-1]
                else:
                    value = word == "True"
                stack[-1] = (before, now and value != negated, False)
    before, now, _ = stack[0]
    return str(before or now)


def draw_expression(rng: random.Random, value: bool, values: int, outer: int = OR) -> str:
    """An expression of `values` single values that comes to `value`, to stand beside an operator that binds `outer`."""
    if rng.random() < NEGATED:
        return f"not {draw_expression(rng, not value, values, NOT)}"
    if values == 1:
        operator, text = VALUE, str(value)
    else:
        operator = pick(rng, (AND, OR))
        left, right = pick(rng, INPUTS[operator, value])
        cut = between(rng, 1, values - 1)
        word = "and" if operator == AND else "or"
        text = (
            f"{draw_expression(rng, left, cut, operator)} {word} {draw_expression(rng, right, values - cut, operator)}"
        )
    return f"( {text} )" if operator < outer or rng.random() < BRACKETED else text


class Boolean(GeneratedTask):
    name = "boolean"
    instruction = (
        "The task is an expression of True and False; not binds closer than and, and closer than or. The answer ends "
        "with '= True' or '= False'."
    )
    # Enough for the published expressions with one bracket done and an answer behind it; a word is a token.
    max_message_tokens = 16
    balanced = ("True", "False")

    def __init__(self, difficulty: str | None = None) -> None:
        super().__init__()
        self.values = parse_difficulty(difficulty, "3-5", 3, 12)

    @property
    def variant(self) -> str:
        return f"{self.values[0]}-{self.values[1]}"

    def generate(self, rng: random.Random) -> Draft:
        values, value = between(rng, *self.values), rng.random() < 0.5
        return Draft(f"{draw_expression(rng, value, values)} is", str(value), {"values": values})

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        """Not strict: the last value of the text, in any case, unless an operator stands before it."""
        if strict:
            answer = after_equals(text)
            return answer if answer in self.balanced else None
        found = re.findall(r"(?<!\w)(?:(not|and|or)[\s(]+)?(true|false)(?!\w)", text, re.IGNORECASE)
        return found[-1][1].capitalize() if found and not found[-1][0] else None
