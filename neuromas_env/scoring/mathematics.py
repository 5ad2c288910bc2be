"""Judging mathematical answers with math-verify, in a process of its own that can be stopped.

What of a text is the answer is decided here, by the forms of `forms`; whether two expressions are equal is decided by
math-verify, a reader of LaTeX on top of sympy. Its own time-outs need the main thread and hold up nothing that runs in
C, hence the process, which is limited in time by its parent and in memory by itself.

Hostile text. LaTeX goes through a grammar, not through `eval`. Plain expressions do reach sympy's `parse_expr`, which
evaluates Python, but only where a text in which math-verify looks for an answer (the flexible rule) has a run of
digits, spaces, points and + - * / ^ ( ) that starts with a digit: no name, call, attribute or string can occur in it.
What such text can do is to ask for endless work or memory (10**10**10), and for that there are the limits.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from ..errors import UsageError
from .latex import explicit_answer, left_undone, other_base, same_text, to_latex
from .number import ends_in_a_list
from .process import WorkerProcess

MAX_BYTES = 1 << 30
"""Address space of the process; it takes about 65 MiB to begin with."""
_CACHED = 8192


class MathVerdict(NamedTuple):
    """How an answer was judged: `status` "correct", "wrong", "unparsed" (no answer read) or "failed" (time, memory or
    process ran out), and `parsed`, the expression read."""

    status: str
    parsed: str | None


class MathJudge:
    """Judges answers against references in LaTeX, such as "\\frac{1}{2}". A context manager; `close` ends its process.

    `seconds` bounds the wall-clock time of each comparison. `worker` is the command of the process, for tests. May be
    used from several threads, which take turns, and after a fork. Raises UsageError without math-verify.
    """

    def __init__(self, seconds: float = 5.0, worker: Sequence[str] | None = None) -> None:
        if not seconds > 0:
            raise UsageError(f"a time limit of {seconds} s is none; it must be above 0")
        self.seconds = seconds
        self._process = WorkerProcess(worker or _command(seconds))
        self._verdicts: dict[tuple[str, str, bool], MathVerdict] = {}

    def judge(self, reference: str, text: str, *, strict: bool = True) -> MathVerdict:
        """Judge the answer that `text` gives.

        Strict takes what stands in a box, behind a marker or alone (see `forms`), the last of them, and nothing else;
        where the reference is a number, an expression left to be worked out ("35 + 35" for 70) is wrong. Flexible
        leaves that last rule to math-verify, and where strict reads nothing it takes what math-verify finds anywhere
        in the text, unless that is the last item of a list of numbers.
        """
        if answer := explicit_answer(text):
            if strict and left_undone(reference, answer):
                return MathVerdict("wrong", answer)
            return self._compare(reference, answer)
        if strict or not text.strip():
            return MathVerdict("unparsed", None)
        verdict = self._ask(to_latex(reference), text, whole=True)
        if verdict.status == "correct" and ends_in_a_list(text):
            return MathVerdict("unparsed", None)
        return verdict

    def judge_all(self, pairs: Iterable[tuple[str, str]], *, strict: bool = True) -> list[MathVerdict]:
        """The verdicts on many pairs (reference, text), in order; the same pair is compared once."""
        return [self.judge(reference, text, strict=strict) for reference, text in pairs]

    def close(self) -> None:
        """End the process. The judge may still be used; it then starts another."""
        self._process.close()

    def __enter__(self) -> MathJudge:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _compare(self, reference: str, answer: str) -> MathVerdict:
        if same_text(reference, answer):
            return MathVerdict("correct", answer)
        if other_base(reference, answer):
            return MathVerdict("wrong", answer)
        verdict = self._ask(to_latex(reference), to_latex(answer), whole=False)
        # an answer that stands there and means nothing to math-verify is a wrong one
        return MathVerdict("wrong" if verdict.status == "unparsed" else verdict.status, answer)

    def _ask(self, reference: str, answer: str, whole: bool) -> MathVerdict:
        key = (reference, answer, whole)
        if known := self._verdicts.get(key):
            return known
        try:
            reply = self._process.ask({"reference": reference, "answer": answer, "whole": whole}, self.seconds)
        except RuntimeError as error:
            raise UsageError(f"math-verify cannot be used: {error}; {_INSTALL}") from error
        if reply is None or reply["status"] == "failed":
            return MathVerdict("failed", None)  # not kept: another time it may go well
        if len(self._verdicts) >= _CACHED:
            self._verdicts.clear()
        verdict = self._verdicts[key] = MathVerdict(reply["status"], reply["parsed"])
        return verdict


_INSTALL = "install it with: pip install 'neuromas[tasks]'"


def _command(seconds: float) -> list[str]:
    """The process imports nothing from the working directory; math-verify's own folder is named to it."""
    found = importlib.util.find_spec("math_verify")
    if found is None or found.origin is None:
        raise UsageError(f"mathematical answers are judged by math-verify, which is not there; {_INSTALL}")
    folder = Path(found.origin).resolve().parent.parent
    program = Path(__file__).with_name("math_worker.py").resolve()
    return [sys.executable, "-P", "-s", str(program), str(folder), str(MAX_BYTES), str(seconds)]


_shared: MathJudge | None = None
_shared_lock = Lock()


def shared_math_judge() -> MathJudge:
    """One judge for the whole process, started when it is first asked; its worker ends with the interpreter."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = MathJudge()
        return _shared
