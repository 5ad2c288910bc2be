r"""MATH-500: competition mathematics, five hundred problems of the MATH test set, whose answer is an expression.

`--data PATH` reads the published `test.jsonl`; without a path, it is the hub's dataset. A message's answer is what it
boxes (`\boxed{...}`) or names last as its answer; math-verify judges whether it equals the reference as mathematics, in
a process of its own with a time limit. The flexible reading is math-verify's own of the whole text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..scoring import read_text, shared_math_judge
from ..scoring.latex import explicit_answer
from ..task import Question, Score, make_score
from .hub import HubSource
from .published import Item, PublishedTask
from .records import Record


class Math500(PublishedTask):
    name = "math500"
    source = "MATH, arXiv 2103.03874; the 500 problems of Let's Verify Step by Step, arXiv 2305.20050"
    licence = "MIT"
    instruction = "The answer is an expression. It stands in a box at the end, as in '\\boxed{42}'."
    max_message_tokens = 512
    hub = HubSource("HuggingFaceH4/MATH-500", None, "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", {"test": "test"})
    rows: Mapping[str, int] = {"test": 500}
    files: Mapping[str, Sequence[str]] = {"test": ("**/test*",)}

    def read(self, record: Record) -> Item:
        answer = record.text("answer")
        metadata = {name: record.fields[name] for name in ("subject", "level") if name in record.fields}
        name = record.text("unique_id") if "unique_id" in record.fields else str(record.number)
        worked = record.text("solution") if "solution" in record.fields else f"\\boxed{{{answer}}}"
        return Item(name, record.text("problem").strip(), answer, worked, metadata=metadata)

    def check_scoring(self) -> None:
        shared_math_judge()  # raises where math-verify is not installed

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return explicit_answer(text) or (None if strict else read_text(text, strict=False))

    def score(self, question: Question, text: str) -> Score:
        if not text.strip():
            return make_score(None, False, False, text)
        judge = shared_math_judge()
        strict = judge.judge(question.answer, text)
        lenient = strict if strict.status == "correct" else judge.judge(question.answer, text, strict=False)
        flexible = float(lenient.status == "correct")
        return Score(float(strict.status == "correct"), strict.parsed, strict.status, flexible)

    def example(self) -> Question:
        return Question("math500/example", "Find the positive root of $4x^2 - 9 = 0$.", "\\frac{3}{2}")
