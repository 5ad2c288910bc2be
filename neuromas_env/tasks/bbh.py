"""BIG-Bench Hard: the text tasks on which language models fell short of people, in their published wording.

One task for each of the 27 files, `bbh/<file>`. `--data PATH` reads the published file (`bbh/<file>.json` of
github.com/suzgunmirac/BIG-Bench-Hard) or the folder that holds it; without a path, it is the hub's copy. All rows are
test questions; `partition 60-20-20` divides them where a network is to be trained on the task.

How an answer is read depends on the task: the last explicit letter where options are lettered, the last explicit word
where the targets are two words (Yes and No, True and False, valid and invalid), a number, or, for `dyck_languages`
and `word_sorting`, the text that is named as the answer. Lettered options are shuffled by `seed` (0).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from ..errors import UnknownNameError
from ..scoring import read_choice, read_number, read_text, read_word
from ..task import Question
from .bbh_examples import EXAMPLES
from .bbh_file import read_examples
from .catalog import BBH
from .choices import order_of
from .hub import HubSource
from .published import Item, PublishedTask
from .records import Record

WORDS = {
    "boolean_expressions": ("True", "False"),
    "causal_judgement": ("Yes", "No"),
    "formal_fallacies": ("valid", "invalid"),
    "navigate": ("Yes", "No"),
    "sports_understanding": ("yes", "no"),
    "web_of_lies": ("Yes", "No"),
}
NUMBERS = ("multistep_arithmetic_two", "object_counting")
TEXTS = ("dyck_languages", "word_sorting")

_OPTIONS = re.compile(r"(?s)\A(.*\bOptions:[ \t]*\n)(.+)\Z")
_LETTERED = re.compile(r"\(([A-Z])\)\s*(.*\S)")


class Bbh(PublishedTask):
    source = "BIG-Bench Hard, arXiv 2210.09261; github.com/suzgunmirac/BIG-Bench-Hard"
    licence = "MIT"

    def __init__(
        self,
        member: str,
        data: str | Path | None = None,
        shots: int = 0,
        partition: str | None = None,
        seed: int | None = 0,
    ) -> None:
        if member not in BBH:
            raise UnknownNameError("task of BIG-Bench Hard", member, BBH)
        super().__init__(data, shots, partition)
        self.member, self.seed, self.name = member, seed, f"bbh/{member}"
        self.words: Sequence[str] = WORDS.get(member, ())
        self.summary = f"BIG-Bench Hard: {member.replace('_', ' ')}; {self._form()}."
        self.instruction = f"The answer ends with 'Answer: ' and {self._form()}."
        self.hub = HubSource("lukaemon/bbh", member, "982bb89fd79532a8ac676a61fc42eb1aeec63f99", {"test": "test"})
        self.files = {"test": (f"**/{member}.json", f"**/{member}/test*")}
        self.rows = {"test": FEWER.get(member, 250)}
        self.hashes = {"test": HASHES[member]} if member in HASHES else {}

    def _form(self) -> str:
        """What an answer is, in words."""
        if self.words:
            return f"the word {' or '.join(self.words)}"
        if self.member in NUMBERS:
            return "a number"
        if self.member == "dyck_languages":
            return "the closing brackets"
        if self.member == "word_sorting":
            return "the sorted words, with spaces between"
        return "the letter of an option"

    @property
    def variant(self) -> str:
        lettered = not (self.words or self.member in NUMBERS or self.member in TEXTS)
        shuffle = "" if self.seed == 0 or not lettered else "unshuffled" if self.seed is None else f"seed{self.seed}"
        return ".".join(filter(None, [super().variant, shuffle]))

    def read_file(self, path: Path) -> list[Record]:
        return read_examples(path) if path.suffix == ".json" else super().read_file(path)

    def read(self, record: Record) -> Item:
        prompt, target = record.text("input"), record.text("target").strip()
        name = str(record.number)
        if self.words:
            if target not in self.words:
                raise record.error("target", f"is {target!r}, none of {', '.join(self.words)}")
            return Item(name, prompt, target, f"Answer: {target}", tuple(self.words))
        if self.member in NUMBERS:
            answer = read_number(target)
            if answer is None:
                raise record.error("target", f"is {target!r}, not a number")
            return Item(name, prompt, answer, f"Answer: {answer}")
        if self.member in TEXTS:
            return Item(name, prompt, self.canonical(target), f"Answer: {target}")
        return self._lettered(record, name, prompt, target)

    def _lettered(self, record: Record, name: str, prompt: str, target: str) -> Item:
        """A question with lettered options, shuffled in their place."""
        match = _OPTIONS.fullmatch(prompt)
        lines = [line.strip() for line in match[2].strip().splitlines() if line.strip()] if match else []
        parts = [_LETTERED.fullmatch(line) for line in lines]
        options = [part[2] if part else line.lstrip("- ") for part, line in zip(parts, lines, strict=True)]
        letters = [part[1] if part else letter for part, letter in zip(parts, ascii_uppercase, strict=False)]
        wanted = re.fullmatch(r"\(?([A-Z])\)?", target)
        if wanted and wanted[1] in letters:
            answer = letters.index(wanted[1])
        elif wanted or match is None:
            raise record.error("target", f"is {target!r}, none of the options ({', '.join(letters) or 'none found'})")
        elif target in options:  # a few published rows name the option by its text
            answer = options.index(target)
        else:  # and one or two name what is no option: such a row counts, with its text as the answer
            return Item(name, prompt, self.canonical(target), f"Answer: {target}")
        stem = match[1] if match else ""
        order = order_of(options, Item(name, prompt, "", "", tuple(options), stem=stem).key, self.seed)
        shown = tuple(options[place] for place in order)
        text = stem + "\n".join(f"({letter}) {option}" for letter, option in zip(ascii_uppercase, shown, strict=False))
        letter = ascii_uppercase[order.index(answer)]
        return Item(name, text, letter, f"Answer: ({letter})", shown, stem=stem, gold=options[answer])

    def canonical(self, text: str) -> str:
        """A free answer as it is compared: brackets without spaces, words in lower case with single spaces."""
        if self.member == "dyck_languages":
            return "".join(text.split())
        return " ".join(text.replace(",", " ").lower().split())

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        if self.words:
            return read_word(text, self.words, strict=strict)
        if self.member in NUMBERS:
            return read_number(text, strict=strict)
        if question.choices:
            return read_choice(text, ascii_uppercase[: len(question.choices)], question.choices, strict=strict)
        found = read_text(text, strict=strict)
        return None if found is None else self.canonical(found) or None

    def example(self) -> Question:
        prompt, target = EXAMPLES[self.member]
        item = self.read(Record({"input": prompt, "target": target}, "example", 0))
        return Question(f"{self.name}/example", item.prompt, item.answer, item.choices)


FEWER = {"causal_judgement": 187, "penguins_in_a_table": 146, "snarks": 178}
"""The files with another number of rows than 250."""

HASHES = {
    "boolean_expressions": "97daa99bfa0a88e22aa652b230c39982e9a46a39cd1d79b542ff90a30c1f6193",
    "logical_deduction_three_objects": "648dc04065139c46ee6b4f9258110deea358ac7421c709b4db0f8b9c02de8a35",
    "multistep_arithmetic_two": "f3e984c7ccd07b59660a2c18be4e13d6f1183d49c897ee7cab229495a83d6d52",
    "object_counting": "814a7af3eaed96737d8cff125b574d893640a9783bc393ead2ac20b55465d625",
}
"""The content hashes of whole published files."""
