"""Multi-hop: follow a trail through facts told in any order.

A question tells where each letter leads, and asks where some steps end, such as `G leads to B. R leads to G. … Start
at R and take 2 steps.` The answer ends with `= B`. The facts form one ring, longer than twice the trail: every letter
leads somewhere and is led to, once each, so that no count tells the answer, and what is beyond the trail looks like it.
Letters are the twenty consonants, all equally frequent as answers.

Difficulty is the number of steps, 1 to 8 (default 2-4); n steps are hidden among 2n + 4 facts.
"""

from __future__ import annotations

import random
import re

from ..task import Question
from .generated import Draft, GeneratedTask, after_equals, between, parse_difficulty, shuffled

LETTERS = tuple("BCDFGHJKLMNPQRSTVWXZ")  # A and I are words; twenty share a split of 500 or 1000 evenly


def solve(prompt: str) -> str:
    """The answer to a question."""
    leads_to = dict(re.findall(r"(\w) leads to (\w)\.", prompt))
    letter, steps = re.findall(r"Start at (\w) and take (\d+) step", prompt)[0]
    for _ in range(int(steps)):
        letter = leads_to[letter]
    return str(letter)


class MultiHop(GeneratedTask):
    name = "multi_hop"
    instruction = (
        "The task tells where each letter leads, and asks where a number of steps ends. The answer ends with '= X', "
        "where X is that letter."
    )
    # Enough for two facts in the words of the question and an answer behind them, or for the trail itself.
    max_message_tokens = 16
    balanced = LETTERS

    def __init__(self, difficulty: str | None = None) -> None:
        super().__init__()
        self.steps = parse_difficulty(difficulty, "2-4", 1, 8)

    @property
    def variant(self) -> str:
        return f"{self.steps[0]}-{self.steps[1]}"

    def generate(self, rng: random.Random) -> Draft:
        steps = between(rng, *self.steps)
        ring = shuffled(rng, LETTERS)[: 2 * steps + 4]
        facts = [f"{ring[place - 1]} leads to {letter}." for place, letter in enumerate(ring)]
        ending = f"Start at {ring[0]} and take {steps} {'step' if steps == 1 else 'steps'}."
        return Draft(" ".join([*shuffled(rng, facts), ending]), ring[steps], {"steps": steps, "facts": len(ring)})

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        """Not strict: the last letter of the text that stands alone."""
        if strict:
            answer = after_equals(text)
        else:
            found = re.findall(r"(?<!\w)[A-Z](?!\w)", text)
            answer = found[-1] if found else None
        return answer if answer in LETTERS else None
