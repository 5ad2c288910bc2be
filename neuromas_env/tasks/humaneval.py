"""HumanEval: Python functions to be written from a signature and a docstring, judged by unit tests.

`--data PATH` reads the published `HumanEval.jsonl`, also gzipped; without a path, it is the hub's dataset. A message
gives the whole function, in a fenced block, or the body that continues the prompt. All rows are test questions;
`partition 60-20-20` divides them where a network is to be trained on the task. Programs run only where the user allows
it (`--allow-code-execution`), each in a fresh, locked process, and the tests decide in another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..sandbox import Check
from ..task import Question
from .hub import HubSource
from .programs import ProgramTask, defines
from .published import Item
from .records import Record


class HumanEval(ProgramTask):
    name = "humaneval"
    source = "Evaluating Large Language Models Trained on Code, arXiv 2107.03374"
    licence = "MIT"
    hub = HubSource("openai/openai_humaneval", None, "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544", {"test": "test"})
    rows: Mapping[str, int] = {"test": 164}
    hashes: Mapping[str, str] = {"test": "083ee54567b66060eda2083c71a98cf08c5b6db5ea59bc59e1af4e0e21cda82a"}
    files: Mapping[str, Sequence[str]] = {"test": ("**/HumanEval.jsonl*", "**/test*")}

    def read(self, record: Record) -> Item:
        prompt, test, entry_point = (record.text(name) for name in ("prompt", "test", "entry_point"))
        if not defines(prompt, entry_point):
            raise record.error("entry_point", f"is {entry_point!r}, which the prompt does not define")
        solution = record.text("canonical_solution")
        worked = f"```python\n{prompt}{solution.rstrip()}\n```"
        metadata = {"prompt": prompt, "test": test, "entry_point": entry_point}
        return Item(record.text("task_id"), prompt, solution, worked, metadata=metadata)

    def wanted(self, question: Question) -> str:
        return str(question.metadata["entry_point"])

    def complete(self, question: Question, program: str) -> str:
        """A function of its own gets the prompt's imports and helpers; anything else continues the prompt."""
        name, prompt = self.wanted(question), self._prompt(question)
        if not defines(program, name):
            return prompt + program
        start = re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b", prompt, re.MULTILINE)
        assert start is not None
        return f"{prompt[: start.start()]}\n{program}"

    def check(self, question: Question, program: str) -> Check:
        name = self.wanted(question)
        test = f"{question.metadata['test']}\n\ncheck({name})\n"
        return Check(candidate=program, setup=self._prompt(question), test=test, entry_point=name)

    def _prompt(self, question: Question) -> str:
        """The question's own prompt, without the solved examples in front of it."""
        return str(question.metadata["prompt"])

    def example(self) -> Question:
        prompt = 'def double(numbers: list) -> list:\n    """Return a list with every number doubled."""\n'
        test = "def check(candidate):\n    assert candidate([1, 2]) == [2, 4]\n"
        metadata = {"prompt": prompt, "test": test, "entry_point": "double"}
        return Question(
            "humaneval/example", prompt, "    return [2 * number for number in numbers]\n", metadata=metadata
        )
