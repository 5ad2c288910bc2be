"""Multiple choice: options shuffled by seed, so that no position is worth more than another, and letters to answer."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from ..scoring import read_choice
from ..task import Question
from .published import Item, PublishedTask

# Options that speak of other options keep the published order: shuffled, they would say something else.
_REFERS = re.compile(
    r"\b(above|below|preceding|following)\b"
    r"|\b(both|neither|either|all|none|only)\s+(of\s+)?(them|these|those|the\s+(others?|options?|choices?|answers?))\b"
    r"|\b[A-H]\s*(,|and|or|&|nor)\s*(both\s+)?\(?[A-H]\b"
    r"|\([A-H]\)|\b(options?|choices?|answers?)\s+[A-H]\b"
    r"|\b(I|II|III|IV)\s+(and|or)\s+(I|II|III|IV)\b",
    re.IGNORECASE,
)


def order_of(options: Sequence[str], key: str, seed: int | None) -> list[int]:
    """The places of the options in the order shown: shuffled by `seed` and the question's key.

    The published order stays where `seed` is None, and where an option refers to others ("all of the above").
    """
    order = list(range(len(options)))
    if seed is not None and not any(_REFERS.search(option) for option in options):
        random.Random(f"{seed}/{key}").shuffle(order)
    return order


def lettered(options: Sequence[str]) -> str:
    """The options as lines, "A. first"."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))


class MultipleChoice(PublishedTask):
    """Questions with options, answered by a letter. `seed` shuffles the options; `none` keeps the published order."""

    instruction = "Choose one option. The answer ends with 'Answer: ' and the option's letter."

    def __init__(
        self,
        data: str | Path | None = None,
        shots: int = 0,
        partition: str | None = None,
        seed: int | None = 0,
    ) -> None:
        super().__init__(data, shots, partition)
        self.seed = seed

    @property
    def variant(self) -> str:
        shuffle = "" if self.seed == 0 else "unshuffled" if self.seed is None else f"seed{self.seed}"
        return ".".join(filter(None, [super().variant, shuffle]))

    def item(self, id: str, stem: str, options: Sequence[str], answer: int) -> Item:
        """The question `stem` with its options as published, of which the one at `answer` is right."""
        key = Item(id, stem, "", "", tuple(options)).key
        order = order_of(options, key, self.seed)
        shown = tuple(options[place] for place in order)
        letter = ascii_uppercase[order.index(answer)]
        prompt = f"{stem}\n{lettered(shown)}"
        return Item(id, prompt, letter, f"Answer: {letter}", shown, stem=stem, gold=options[answer])

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        labels = ascii_uppercase[: len(question.choices)]
        return read_choice(text, labels, question.choices, strict=strict)
