"""MMLU: examination questions of one subject, with four options.

One task for each of the 57 subjects, `mmlu/<subject>`. `--data PATH` reads one file or a folder with
`<subject>_dev.csv`, `<subject>_val.csv` and `<subject>_test.csv`, also in subfolders: the original files, without a
header and with a letter as the answer, and copies with a header, whose answer is the option's place from 0. Without a
path, it is the hub's dataset. Solved examples (`shots`, five in the paper) come from the five development questions.
Options are shuffled by `seed` (0). The last explicit letter of a message is its answer.
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_uppercase
from typing import Any

from ..errors import UnknownNameError
from ..task import Question
from .catalog import MMLU
from .choices import MultipleChoice
from .hub import HubSource
from .published import DEVELOPMENT, Item
from .records import Record

COLUMNS = ("question", "choice0", "choice1", "choice2", "choice3", "answer")


class Mmlu(MultipleChoice):
    source = "Measuring Massive Multitask Language Understanding, arXiv 2009.03300"
    licence = "MIT"
    columns = COLUMNS

    def __init__(
        self,
        subject: str,
        data: str | Path | None = None,
        shots: int = 0,
        partition: str | None = None,
        seed: int | None = 0,
    ) -> None:
        if subject not in MMLU:
            raise UnknownNameError("MMLU subject", subject, MMLU)
        super().__init__(data, shots, partition, seed)
        self.subject, self.name = subject, f"mmlu/{subject}"
        self.summary = f"MMLU questions of the subject {subject.replace('_', ' ')}, with four options."
        self.hub = HubSource(
            "cais/mmlu",
            subject,
            "c30699e8356da336a370243923dbaf21066bb9fe",
            {DEVELOPMENT: "dev", "validation": "validation", "test": "test"},
        )
        self.files = {
            split: (f"**/{subject}_{name}.*", f"**/{subject}/{name}*")
            for split, name in ((DEVELOPMENT, "dev"), ("validation", "val"), ("test", "test"))
        }
        self.hashes = {"test": HASHES[subject]} if subject in HASHES else {}

    def read(self, record: Record) -> Item:
        if "choices" in record.fields:
            options = record.texts("choices")
        else:
            names = COLUMNS[1:5] if "choice0" in record.fields else "ABCD"
            options = tuple(record.text(name) for name in names)
        if len(options) != 4:
            raise record.error("choices", f"has {len(options)} options, 4 are needed")
        stem = record.text("question").strip()
        return self.item(str(record.number), stem, options, _place(record, record.get("answer")))

    def example(self) -> Question:
        item = self.item("made-up", "How many sides has a hexagon?", ["four", "five", "six", "eight"], 2)
        return Question(f"{self.name}/example", item.prompt, item.answer, item.choices)


def _place(record: Record, answer: Any) -> int:
    """The option's place that an answer names, as a letter or as a place from 0."""
    text = str(answer).strip()
    if text in ("A", "B", "C", "D"):
        return ascii_uppercase.index(text)
    if text in ("0", "1", "2", "3"):
        return int(text)
    raise record.error("answer", f"is {text!r}; a letter A to D or a place 0 to 3 is accepted")


HASHES = {"abstract_algebra": "a8357199cbbca46eea01841a56396952b8439829098981877e355cf179581c56"}
"""The content hashes of published test files."""
