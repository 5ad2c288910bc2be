"""Chain: arithmetic from left to right, modulo 10.

A question shows a starting digit and up to six operations in seven slots, the unused ones dotted, such as
`. . . 5 +8 +5 -6`. Each operation acts on the result so far: 5 + 8 = 3, 3 + 5 = 8, 8 - 6 = 2, all modulo 10. The
answer ends with `= 2`. A message holds at most eight tokens: enough to write the chain again with some operations
done, too few to work through all of it, so that nodes must share the work.

Difficulty is the number of operations, 1 to 6 (default 2-3).
"""

from __future__ import annotations

import random
import re

from ..task import Question
from .generated import Draft, GeneratedTask, parse_difficulty

SLOTS = 7
OPERATIONS = (*(f"{sign}{n}" for sign in "+-" for n in range(1, 10)), *(f"*{n}" for n in range(2, 10)))


def apply(value: int, operation: str) -> int:
    """The digit after one operation, such as `apply(5, "+8") == 3`."""
    operand = int(operation[1:])
    match operation[0]:
        case "+":
            return (value + operand) % 10
        case "-":
            return (value - operand) % 10
        case _:
            return (value * operand) % 10


def render(value: int, operations: tuple[str, ...]) -> str:
    """A chain in its seven slots."""
    return " ".join([*["."] * (SLOTS - 1 - len(operations)), str(value), *operations])


class Chain(GeneratedTask):
    name = "chain"
    instruction = (
        "The task is a chain of operations, done from left to right modulo 10. The answer ends with '= d', where d is "
        "the resulting digit."
    )
    max_message_tokens = 8

    def __init__(self, difficulty: str | None = None) -> None:
        super().__init__()
        self.operations = parse_difficulty(difficulty, "2-3", 1, SLOTS - 1)

    @property
    def variant(self) -> str:
        return f"{self.operations[0]}-{self.operations[1]}"

    @property
    def scarce(self) -> bool:
        return self.operations[1] <= 2

    def generate(self, rng: random.Random) -> Draft:
        value = rng.randrange(10)
        operations = tuple(rng.choice(OPERATIONS) for _ in range(rng.randint(*self.operations)))
        prompt = render(value, operations)
        for operation in operations:
            value = apply(value, operation)
        return Draft(prompt, str(value), {"operations": len(operations)})

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        found = re.findall(r"=\s*([0-9])\s*$", text) if strict else re.findall(r"(?<![\w+*-])([0-9])(?![\w])", text)
        return found[-1] if found else None
