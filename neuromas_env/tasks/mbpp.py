"""MBPP: short Python programs to be written from a sentence, judged by the three assertions that are shown with it.

`--data PATH` reads the published `mbpp.jsonl` or `sanitized-mbpp.json`, whose rows fall into splits by their ids as the
paper says (1 to 10 are examples, 11 to 510 test, 511 to 600 validation, 601 to 974 training), and without a path the
hub's dataset. A message's program is its last fenced block, or all of it. Programs run only where the user allows it
(`--allow-code-execution`), each in a fresh, locked process, and the tests decide in another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..sandbox import Check
from ..task import Question
from .hub import HubSource
from .programs import ProgramTask
from .published import DEVELOPMENT, Item
from .records import Record

RANGES = {DEVELOPMENT: (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}


class Mbpp(ProgramTask):
    name = "mbpp"
    source = "Program Synthesis with Large Language Models, arXiv 2108.07732"
    licence = "CC BY 4.0"
    hub = HubSource(
        "google-research-datasets/mbpp",
        "full",
        "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        {DEVELOPMENT: "prompt", "train": "train", "validation": "validation", "test": "test"},
    )
    rows: Mapping[str, int] = {"train": 374, "validation": 90, "test": 500}
    files = dict.fromkeys(RANGES, ("**/mbpp.jsonl*", "**/sanitized-mbpp.json*"))
    one_file = True

    def read(self, record: Record) -> Item:
        number = record.get("task_id")
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise record.error("task_id", f"is {number!r}, not a whole number from 1")
        text = record.text("text" if "text" in record.fields else "prompt")
        code, tests = record.text("code").replace("\r\n", "\n"), record.texts("test_list")
        if not tests:
            raise record.error("test_list", "is empty")
        setup = [record.text(name, empty=True) for name in ("test_setup_code",) if name in record.fields]
        setup += record.texts("test_imports") if "test_imports" in record.fields else ()
        metadata = {"setup": "\n".join(filter(None, setup)), "tests": list(tests), "function": _function(code, tests)}
        return Item(str(number), _prompt(text, tests), code, f"```python\n{code}\n```", metadata=metadata)

    def belongs(self, item: Item, split: str) -> bool:
        low, high = RANGES[split]
        return low <= int(item.id) <= high

    def wanted(self, question: Question) -> str | None:
        return question.metadata["function"]

    def check(self, question: Question, program: str) -> Check:
        setup, tests = question.metadata["setup"], "\n".join(question.metadata["tests"])
        return Check(candidate=program, setup=setup, test=tests, entry_point=self.wanted(question))

    def example(self) -> Question:
        tests = ("assert halve(8) == 4", "assert halve(0) == 0", "assert halve(-6) == -3")
        metadata = {"setup": "", "tests": list(tests), "function": "halve"}
        prompt = _prompt("Write a function to halve an even number.", tests)
        return Question("mbpp/example", prompt, "def halve(n):\n    return n // 2", metadata=metadata)


def _prompt(text: str, tests: tuple[str, ...]) -> str:
    return "\n".join([text.strip(), "The program must pass these tests:", *tests])


def _function(code: str, tests: tuple[str, ...]) -> str | None:
    """The function of the reference that the first test calls."""
    names = re.findall(r"^def[ \t]+(\w+)", code, re.MULTILINE)
    return next((name for name in names if re.search(rf"\b{name}[ \t]*\(", tests[0])), None)
