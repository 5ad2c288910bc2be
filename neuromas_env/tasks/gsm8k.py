"""GSM8K: word problems of grade-school mathematics, whose answer is a number.

`--data PATH` reads the published `train.jsonl` and `test.jsonl`, one of them or their folder; without a path, it is the
hub's dataset. The number after `####` is the reference. A message's answer is its last explicit number (`#### 42`,
`Answer: 42`, a box), compared as a number; the flexible reading takes the last number of the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..scoring import read_number
from ..task import Question
from .hub import HubSource
from .published import Item, PublishedTask
from .records import Record


class Gsm8k(PublishedTask):
    name = "gsm8k"
    source = "Training Verifiers to Solve Math Word Problems, arXiv 2110.14168"
    licence = "MIT"
    instruction = "The answer is a number. It stands at the end, behind '####'."
    max_message_tokens = 400
    hub = HubSource(
        "openai/gsm8k",
        "main",
        "e53f048856ff4f594e959d75785d2c2d37b678ee",
        {"train": "train", "test": "test"},
    )
    rows: Mapping[str, int] = {"train": 7473, "test": 1319}
    files: Mapping[str, Sequence[str]] = {"train": ("**/train*",), "test": ("**/test*",)}

    def read(self, record: Record) -> Item:
        solution = record.text("answer")
        steps, marker, number = solution.rpartition("####")
        answer = read_number(f"#### {number.strip()}") if marker else None
        if answer is None:
            raise record.error("answer", f"does not end with '#### NUMBER' but with {solution[-30:]!r}")
        # The published solutions carry calculator notes such as <<3*4=12>>, which no reader needs.
        worked = f"{re.sub(r'<<[^<>]*>>', '', steps).strip()}\n#### {answer}"
        return Item(str(record.number), record.text("question").strip(), answer, worked)

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return read_number(text, strict=strict)

    def example(self) -> Question:
        return Question(
            "gsm8k/example",
            "A baker packs 6 rolls into each of 4 bags and has 5 rolls left. How many rolls did she bake?",
            "29",
        )
