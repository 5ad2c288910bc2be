"""Tasks whose answers are programs: what is read as the program, and how the tests of many are run at once.

A message's program is its last fenced block that defines what is asked for, else its last fenced block, else the whole
text. The flexible reading also finds a program that stands in prose without a fence.
"""

from __future__ import annotations

import re
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..sandbox import Check, Limits, Verdict, judge, require_isolation
from ..task import Question, Score, make_score
from .published import PublishedTask

_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_STARTS = re.compile(r"^(?:(?:def|async def|class|import|from)\b|@)", re.MULTILINE)
_MOST_CUTS = 50


class ProgramTask(PublishedTask):
    """A task judged by running programs, which a user must have allowed: `allow_code_execution`.

    `force_code_execution` runs them also where nothing better than resource limits contains them.
    """

    instruction = "The answer is a Python program in one block that begins with ```python and ends with ```."
    max_message_tokens = 512
    limits = Limits()

    def __init__(
        self,
        data: str | Path | None = None,
        shots: int = 0,
        partition: str | None = None,
        allow_code_execution: bool = False,
        force_code_execution: bool = False,
    ) -> None:
        super().__init__(data, shots, partition)
        self.allowed = allow_code_execution or force_code_execution
        self.forced = force_code_execution

    @abstractmethod
    def check(self, question: Question, program: str) -> Check:
        """What is to be run to judge `program`."""

    @abstractmethod
    def wanted(self, question: Question) -> str | None:
        """The function that a program must define, where the question names one."""

    def complete(self, question: Question, program: str) -> str:
        """The program to run: what was read in a message, with what the question gives already."""
        return program

    def check_scoring(self) -> None:
        if not self.allowed:
            raise UsageError(
                f"{self.name} runs programs that models write; allow it with --allow-code-execution "
                "(allow_code_execution=True in Python)"
            )
        require_isolation(self.forced)

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        wanted = self.wanted(question)
        program = read_program(text, wanted)
        if program is not None and compiles(self.complete(question, program)):
            return program
        return None if strict else self._in_prose(question, text)

    def _in_prose(self, question: Question, text: str) -> str | None:
        """The longest program that starts at a definition or an import: lines are left off its end until it parses."""
        match = _STARTS.search(text)
        lines = text[match.start() :].splitlines() if match else []
        for end in range(len(lines), max(0, len(lines) - _MOST_CUTS), -1):
            program = "\n".join(lines[:end])
            if compiles(self.complete(question, program)):
                return program
        return None

    def score(self, question: Question, text: str) -> Score:
        return self.score_all([question], [text])[0]

    def score_all(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Score]:
        """The scores of many answers; every distinct program is run once, several at a time."""
        self.check_scoring()
        checks: dict[tuple[str, str | None], Check] = {}
        read: list[tuple[str | None, str | None]] = []
        for question, text in zip(questions, texts, strict=True):
            strict = self.parse(question, text)
            read.append((strict, self._in_prose(question, text) if strict is None else strict))
            for program in read[-1]:
                if program is not None and (question.id, program) not in checks:
                    checks[question.id, program] = self.check(question, self.complete(question, program))
        verdicts = dict(zip(checks, judge(list(checks.values()), self.limits, force=self.forced), strict=True))
        return [
            self._score(text, strict, verdicts.get((question.id, strict)), verdicts.get((question.id, flexible)))
            for question, text, (strict, flexible) in zip(questions, texts, read, strict=True)
        ]

    def _score(self, text: str, program: str | None, strict: Verdict | None, flexible: Verdict | None) -> Score:
        if strict is not None and strict.status == "error":  # the judge's fault, not the program's
            return Score(0.0, program, "failed", 0.0)
        passed = strict is not None and strict.passed
        return make_score(program, passed, passed or (flexible is not None and flexible.passed), text)


def read_program(text: str, wanted: str | None) -> str | None:
    """The program in a message: its last fenced block that defines `wanted`, else its last one, else all of it."""
    blocks = [match[1] for match in _FENCE.finditer(text)] or [text]
    blocks = [block.rstrip() for block in blocks if block.strip()]
    if not blocks:
        return None
    defining = [block for block in blocks if wanted and defines(block, wanted)]
    return (defining or blocks)[-1]


def defines(program: str, name: str) -> bool:
    return re.search(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b", program, re.MULTILINE) is not None


def compiles(program: str) -> bool:
    """Whether a text is a Python program at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(program, "answer", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    return True
