"""ARC-Challenge: science questions from American school examinations, with three to five options.

The questions are those of the challenge set, which retrieval and word co-occurrence answer wrongly. `--data PATH`
reads the original files (`ARC-Challenge-Train.jsonl`, `-Dev.jsonl`, `-Test.jsonl`, one of them or their folder), the
copies with `choices` as lists of texts and labels, and without a path the hub's dataset. Labels may be A to E or 1 to
5; here they are letters. Options are shuffled by `seed` (0). The last explicit letter of a message is its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..task import Question
from .choices import MultipleChoice
from .hub import HubSource
from .published import Item
from .records import Record


class ArcChallenge(MultipleChoice):
    name = "arc_challenge"
    source = "AI2 Reasoning Challenge, arXiv 1803.05457"
    licence = "CC BY-SA 4.0"
    hub = HubSource(
        "allenai/ai2_arc",
        "ARC-Challenge",
        "210d026faf9955653af8916fad021475a3f00453",
        {"train": "train", "validation": "validation", "test": "test"},
    )
    rows: Mapping[str, int] = {"train": 1119, "validation": 299, "test": 1172}
    files: Mapping[str, Sequence[str]] = {
        "train": ("**/ARC-Challenge-Train*", "**/train*"),
        "validation": ("**/ARC-Challenge-Dev*", "**/validation*"),
        "test": ("**/ARC-Challenge-Test*", "**/test*"),
    }

    def read(self, record: Record) -> Item:
        question = record.get("question")
        # The original nests the stem and its choices in `question`; copies have them side by side.
        fields = question if isinstance(question, dict) else {**record.fields, "stem": question}
        inner = Record(fields, record.where, record.number)
        labels, texts = _options(inner)
        key = record.text("answerKey")
        if key not in labels:
            raise record.error("answerKey", f"is {key!r}, none of the labels {', '.join(labels)}")
        return self.item(record.text("id"), inner.text("stem").strip(), texts, labels.index(key))

    def example(self) -> Question:
        item = self.item(
            "made-up",
            "Which part of a plant takes in most of its water?",
            ["the flower", "the leaf", "the root", "the seed"],
            2,
        )
        return Question("arc_challenge/example", item.prompt, item.answer, item.choices)


def _options(record: Record) -> tuple[list[str], list[str]]:
    """The labels and the texts of the options, in either of the two published forms."""
    choices: Any = record.get("choices")
    if isinstance(choices, dict):
        inner = Record(choices, record.where, record.number)
        labels, texts = list(inner.texts("label")), list(inner.texts("text"))
    elif isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        rows = [Record(choice, record.where, record.number) for choice in choices]
        labels, texts = [row.text("label") for row in rows], [row.text("text") for row in rows]
    else:
        raise record.error("choices", "is no list of options with 'label' and 'text'")
    if not 2 <= len(labels) == len(texts) <= 26 or len(set(labels)) < len(labels):
        raise record.error("choices", "needs two or more options, each with a label of its own")
    if not all(text.strip() for text in texts):
        raise record.error("choices", "has an option without text")
    return labels, texts
