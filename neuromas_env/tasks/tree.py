"""Tree: nested arithmetic, modulo 10.

A question is a full tree of operations on digits, such as `( ( 3 + 4 ) * ( 2 - 7 ) )`. Every pair of brackets holds as
many operands as the tree's arity, with one operation between them: 3 + 4 = 7, 2 - 7 = 5, 7 * 5 = 5, all modulo 10. The
answer ends with `= 5`. Questions are drawn from the answer down to the leaves, so that all ten digits are equally
frequent, whatever stands at the root.

A tree of arity a and depth d is a function of b = a^d digits made of local functions of a inputs: the hierarchical
family of the paper's capacity argument, error q^(-1/a) for q parameters that follow the tree against q^(-1/b) for as
many that do not. The option `arity` is 2 (the default), 3 or 4. With two operands the operations are `+`, `-` and `*`.
With more, `-` takes all others from the first, and there is `&`, the sum of the products of every two operands:
( 3 & 4 & 2 ) is 3*4 + 3*2 + 4*2 = 6. It alone cannot be put together from functions of fewer digits, and so makes the
arity of the tree what it says.

Difficulty is the depth: 1 to 6, with arity 3 to 4, with arity 4 to 3 (default 2-3).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from math import prod

from ..errors import UsageError
from ..task import Question
from .generated import DIGITS, Draft, GeneratedTask, between, parse_difficulty, pick, read_digit

FUNCTIONS: dict[str, Callable[[Sequence[int]], int]] = {
    "+": lambda x: sum(x) % 10,
    "-": lambda x: (x[0] - sum(x[1:])) % 10,
    "*": lambda x: prod(x) % 10,
    "&": lambda x: (sum(x) ** 2 - sum(n * n for n in x)) // 2 % 10,
}
"""From an operation to its function: the digits of all operands in, a digit out."""

DEEPEST = {2: 6, 3: 4, 4: 3}
"""From an arity to the greatest depth, 64 or 81 leaves."""


def operations(arity: int) -> tuple[str, ...]:
    """The operations on `arity` operands; on two of them `&` would be `*`."""
    return ("+", "-", "*") if arity == 2 else ("+", "-", "*", "&")


@cache
def operands(arity: int) -> list[tuple[str, list[list[tuple[int, ...]]]]]:
    """Each operation on `arity` operands with, for every digit, all operands of which it makes that digit."""
    found = []
    for operation in operations(arity):
        of_digit: list[list[tuple[int, ...]]] = [[] for _ in DIGITS]
        for digits in product(range(10), repeat=arity):
            of_digit[FUNCTIONS[operation](digits)].append(digits)
        found.append((operation, of_digit))
    return found


def solve(prompt: str) -> str:
    """The answer to a question, with a stack that holds the words of every bracket still open."""
    stack: list[list[str]] = [[]]
    for word in prompt.split():
        if word == "(":
            stack.append([])
        elif word == ")":
            words = stack.pop()
            stack[-1].append(str(FUNCTIONS[words[1]]([int(digit) for digit in words[::2]])))
        else:
            stack[-1].append(word)
    return stack[0][0]


class Tree(GeneratedTask):
    name = "tree"
    instruction = (
        "The task is an expression in brackets, worked out modulo 10; a & b & c stands for a*b + a*c + b*c. The answer "
        "ends with '= d', where d is the resulting digit."
    )
    # Enough for a tree of depth 3 with its lowest level done, ( ( 7 * 5 ) + ( 2 - 8 ) ), and an answer behind it, also
    # where a tokenizer spends two tokens on a digit; too few to copy the question.
    max_message_tokens = 24
    balanced = DIGITS

    def __init__(self, difficulty: str | None = None, arity: int = 2) -> None:
        super().__init__()
        if arity not in DEEPEST:
            raise UsageError(f"arity {arity!r} of tree is none of {', '.join(map(str, DEEPEST))}")
        self.arity = arity
        self.depth = parse_difficulty(difficulty, "2-3", 1, DEEPEST[arity])
        if self.scarce:
            self.balanced = ()  # a tenth of 300 questions may lack a digit altogether

    @property
    def variant(self) -> str:
        return f"{self.depth[0]}-{self.depth[1]}-{self.arity}"

    @property
    def scarce(self) -> bool:
        return self.depth[1] == 1 and self.arity < 4

    def generate(self, rng: random.Random) -> Draft:
        depth, value = between(rng, *self.depth), between(rng, 0, 9)
        metadata = {"arity": self.arity, "depth": depth, "leaves": self.arity**depth}
        return Draft(self._draw(rng, value, depth), DIGITS[value], metadata)

    def _draw(self, rng: random.Random, value: int, depth: int) -> str:
        """A tree that comes to `value`."""
        operation, of_digit = pick(rng, operands(self.arity))
        digits = pick(rng, of_digit[value])
        if depth == 1:
            parts = [DIGITS[digit] for digit in digits]
        else:
            parts = [self._draw(rng, digit, depth - 1) for digit in digits]
        return f"( {f' {operation} '.join(parts)} )"

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return read_digit(text, strict=strict)
