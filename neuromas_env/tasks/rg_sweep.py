"""The sweep over all datasets of reasoning_gym: which are sound enough to be tasks, and why the others are not.

Each dataset is tried at its defaults and at each level of its curriculum, in two worker processes with time limits. The
first draws entries and judges texts; the second draws the same entries again, in reverse order, under another hash
seed, other global random states and another date. What is admitted can be written to `rg_datasets.json`, with the
numbers of its validation and test questions.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import random
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UnknownNameError, UsageError
from ..task import questions_hash
from .rg import FINITE, GUARDS, Entry, ReasoningGym, Scan, Source, installed_version, pack, read_answer, register
from .rg import split_sizes as sizes_of

LIMIT, FREEZE_LIMIT = 240.0, 1800.0  # seconds for the trials of one level, and for drawing the finite splits
ENTRIES, LEVEL_ENTRIES = 100, 40
DRAW_SECONDS, SLOWEST = 25.0, 0.5  # seconds for the entries of one level; the longest mean time of an entry
SCORE_SECONDS = 0.5  # the longest time of one score
LEAST = 50  # the fewest test questions
HEAD = 20  # test questions of which a hash of their own is recorded
OTHERS = 0.2  # the largest share of other questions' answers that may be right as well
ROUNDING = 0.02  # the largest share of questions for which a scorer that allows for rounding may take 0, say
CONSTANT = 0.75  # the largest share of questions that one answer may solve

EXCLUDED = {
    "codeio": "its questions come from running the programs of its data file, with exec and without limits",
    "composite": "it has no questions of its own: it mixes other datasets",
}
"""What no trial shows."""

JUNK = (
    *("", " ", "\n\t ", ".", "?", "=", "A", "None", "yes or no", "Yes/No", "True or False", "I do not know."),
    *("the answer", "answer:", "Answer:", "nan", "inf", "-inf", "nan+nanj", "[NaN, NaN]", "1e999", "1e-999"),
    *("[]", "[[]]", "{}", "()", '""', "null", "\x00", "\ud800\udfff", "\u202e\u2066evil\u2069\u202c", "١٢٣"),
    *("<|im_end|></s><script>", "[1] = 3\n[2] Yes\noutput layer node 1:", "__import__('os').getpid()", "exit()"),
)
NUMBERS = ("0", "1", "-1", "2", "0.0", "0/1")
LONG = ("{", "(", "[", "x", "= ", "No ", "水", "9", "-", "1,", "9**", "((1)", "\n", "A B ", "\u0301")


@dataclass
class Verdict:
    """What the first worker found of one level of a dataset; `reason` is empty where it is sound."""

    reason: str = ""
    digests: dict[int, str] = field(default_factory=dict)
    repeated: bool = False
    longest: int = 0
    milliseconds: float = 0.0


class UnsoundError(Exception):
    """A dataset has failed a trial; the message says which."""


def digest(entry: Entry | None) -> str:
    text = "" if entry is None else f"{entry['question']}\0{entry['answer']}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


# In the first worker.


def try_level(name: str, level: int | None, count: int) -> Verdict:
    """All trials of one level."""
    verdict = Verdict()
    try:
        source = Source(name, level)
        state = _global_state()
        with redirect_stdout(io.StringIO()) as printed:
            entries = _draw_entries(source, count, verdict)
            _check_reference(source, entries)
            _check_programs(source, entries)
            _check_worthless(source, entries)
            _check_two_answers(source, entries)
            _check_others(source, entries)
            _check_long(source, entries)
        if _global_state() != state:
            raise UnsoundError("it changes global random generators")
        if printed.getvalue():
            raise UnsoundError(f"it prints {printed.getvalue()[:40]!r}")
        verdict.longest = max(len(entry["answer"].encode()) for entry in entries)
    except UnsoundError as error:
        verdict.reason = str(error)
    except Exception as error:
        verdict.reason = f"it raises {type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"
    return verdict


def _draw_entries(source: Source, count: int, verdict: Verdict) -> list[Entry]:
    numbers = [n for pair in zip(range(count), range(FINITE, FINITE + count), strict=True) for n in pair][:count]
    entries: list[Entry] = []
    start = time.perf_counter()
    for number in numbers:
        entry = source.entry(number)
        verdict.digests[number] = digest(entry)
        if entry is not None:
            entries.append(entry)
        spent = time.perf_counter() - start
        if spent > DRAW_SECONDS:
            break
    drawn = len(verdict.digests)
    verdict.milliseconds = 1000 * spent / drawn
    if drawn < count and spent / drawn > SLOWEST:
        raise UnsoundError(f"it takes more than {SLOWEST} s to make a question")
    if len(entries) < 0.8 * drawn:
        raise UnsoundError(f"{drawn - len(entries)} of {drawn} questions have no reference answer")
    if not all(entry["question"].strip().encode("utf-8") for entry in entries):
        raise UnsoundError("it has empty questions")
    verdict.repeated = len({entry["question"] for entry in entries}) < len(entries)
    return entries


def _right(source: Source, text: str, entry: Entry) -> bool:
    """Whether a message is right, read as the task reads it."""
    answer = read_answer(text)
    return answer is not None and source.pays(answer, entry)


def _check_reference(source: Source, entries: Sequence[Entry]) -> None:
    before = repr(entries)
    for form in ("{}", "  {}\n ", "Answer: {}", "I think so.\n**Answer:** {}\n", "So: <answer>{}</answer>."):
        wrong = sum(not _right(source, form.format(entry["answer"]), entry) for entry in entries)
        if wrong:
            raise UnsoundError(f"the reference, written as {form!r}, is wrong for {wrong} of {len(entries)} questions")
    if repr(entries) != before:
        raise UnsoundError("scoring changes the questions")


def _differs(text: str, entry: Entry) -> bool:
    """Whether a text is not the reference, whatever its white space, its case or its way to write a number."""
    ours, theirs = text.casefold().split(), entry["answer"].casefold().split()
    try:
        return ours != theirs and float(ours[0]) != float(theirs[0])
    except (ValueError, IndexError):
        return ours != theirs


def _check_worthless(source: Source, entries: Sequence[Entry]) -> None:
    for text in (*JUNK, *NUMBERS, ReasoningGym.instruction):
        paid = sum(_differs(text, entry) and _right(source, text, entry) for entry in entries)
        if paid > (ROUNDING * len(entries) if text in NUMBERS else 0):
            raise UnsoundError(f"it pays for {text!r} at {paid} of {len(entries)} questions")
    for entry in entries:
        question = entry["question"]
        if any(_right(source, text, entry) for text in (question, question * 2, question[::-1])):
            raise UnsoundError("it pays for the question itself")


def _check_two_answers(source: Source, entries: Sequence[Entry]) -> None:
    """A message that says two things must not be paid for one of them, nor a right beginning for any end."""
    for entry, other in zip(entries, [*entries[1:], entries[0]], strict=True):
        right, wrong = entry["answer"].strip(), other["answer"].strip()
        texts = [f"{right} is wrong", f"not {right}", f"{right}, or else", f"{right}\n{right}"]
        if _differs(wrong, entry) and not _right(source, wrong, entry):
            texts += [f"{right}\n{wrong}", f"{wrong}\n{right}", f"{right} or {wrong}", f"{wrong} or {right}"]
        for text in texts:
            if _right(source, text, entry):
                raise UnsoundError(f"it pays for {text[:100]!r} where {right[:60]!r} is right")


def _check_others(source: Source, entries: Sequence[Entry]) -> None:
    """Other questions' answers are wrong, as a rule, and no answer suits most questions."""
    answers = list(dict.fromkeys(entry["answer"].strip() for entry in entries))
    few = answers[:: max(1, len(answers) // 25)]
    tried = paid_others = 0
    for answer in few:
        paid = [_right(source, answer, entry) for entry in entries]
        if sum(paid) / len(paid) > max(CONSTANT, 2 / len(answers)):
            raise UnsoundError(f"one answer, {answer[:60]!r}, is right for {sum(paid)} of {len(paid)} questions")
        others = [right for right, entry in zip(paid, entries, strict=True) if _differs(answer, entry)]
        tried += len(others)
        paid_others += sum(others)
    if paid_others > OTHERS * tried:
        raise UnsoundError(f"it pays for {paid_others / tried:.0%} of other questions' answers")


def _check_long(source: Source, entries: Sequence[Entry]) -> None:
    for entry in entries[:: max(1, len(entries) // 5)]:
        answer = entry["answer"]
        limit = 4 * len(answer) + 200  # as much as reaches the scorer
        for unit in (*LONG, answer, answer + "\n", answer + ",", answer[:1]):
            for length in (limit, 20_000):
                text = (unit * (length // len(unit) + 1))[:length]
                start = time.perf_counter()
                right = _right(source, text, entry)
                spent = time.perf_counter() - start
                if spent > SCORE_SECONDS:
                    raise UnsoundError(f"it takes more than {SCORE_SECONDS} s to score {unit[:20]!r} repeated")
                if right and unit in LONG:
                    raise UnsoundError(f"it pays for {unit!r} repeated")


_seen: set[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Python tells what is compiled, opened or started; noted while a scorer works."""
    if _seen is None:
        return
    if event == "compile" and arguments[0] is not None:
        source = arguments[0]
        _seen.add(source.decode(errors="replace") if isinstance(source, bytes) else str(source))
    elif event.startswith(("open", "os.", "subprocess.", "socket.", "shutil.", "ctypes.")):
        _seen.add(event)


def _programs(source: Source, text: str, entry: Entry) -> set[str]:
    """What is compiled, opened or started for judging a text."""
    global _seen
    source.pays(text, entry)  # lazy imports are done with
    _seen = set()
    source.pays(text, entry)
    seen, _seen = _seen, None
    return seen


def _check_programs(source: Source, entries: Sequence[Entry]) -> None:
    """No text may be run. A scorer may compile what is its own: a problem, the reference."""
    if source.name in GUARDS and GUARDS[source.name].evaluates:
        return
    for entry, other in pairwise(entries[:21]):
        own = {entry["answer"], *_programs(source, "zqx", entry)}
        for text in (*JUNK, other["answer"], entry["answer"][::-1], entry["answer"].swapcase()):
            if _differs(text, entry) and (run := _programs(source, text.strip(), entry) - own):
                raise UnsoundError(f"its scorer evaluates the answer as Python ({sorted(run)[0][:60]!r})")


def _global_state() -> tuple[Any, ...]:
    return random.getstate(), pickle.dumps(np.random.get_state()), repr(decimal.getcontext())


def freeze(name: str, level: int | None) -> tuple[dict[str, Any], int]:
    """The finite splits at the default difficulty as they are recorded, and the bytes of their longest reference."""
    scan = Scan(Source(name, level).entry)
    found = {split: scan.find(split, size) for split, size in sizes_of(name).items()}
    record: dict[str, Any] = {split: pack(numbers) for split, numbers in found.items()}
    record |= {} if level is None else {"default_level": level}
    if len(found["test"]) < LEAST:
        return record, 0
    # The task itself must say which hash it has: it is made here as if the record was written already.
    unknown = {"category": "", "levels": [], "scarce_levels": [], "longest_answers": {"default": 0}}
    register().update(reasoning_gym=installed_version(), admitted={name: record | unknown}, refused={})
    task = ReasoningGym(name)
    questions = [task.question("test", index) for index in range(len(found["test"]))]
    record |= {"head": questions_hash(questions[:HEAD])[:16], "sha256": questions_hash(questions)}
    return record, max(len(question.answer.encode()) for question in questions)


def outline() -> dict[str, tuple[str, int]]:
    """All datasets with their category and their number of levels."""
    from reasoning_gym.factory import CURRICULA, DATASETS

    levels = dict.fromkeys(DATASETS, 0)
    for name, kind in CURRICULA.items():
        levels[name] = max((len(attribute.levels) for attribute in kind().attributes.values()), default=0)
    return {name: (kind.__module__.split(".")[1], levels[name]) for name, (kind, _) in sorted(DATASETS.items())}


# In the second worker.


def repeat(name: str, level: int | None, numbers: Sequence[int]) -> dict[int, str]:
    """The digests of the same entries, drawn in reverse order."""
    source = Source(name, level)
    return {number: digest(source.entry(number)) for number in reversed(numbers)}


def _disguise() -> None:
    """Another date and other global random states than in the first worker."""
    later = datetime.timedelta(days=200, hours=5)
    today, now = datetime.date.today() + later, datetime.datetime.now() + later

    class Date(datetime.date):
        @classmethod
        def today(cls) -> Date:
            return cls(today.year, today.month, today.day)

    class DateTime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> DateTime:
            return cls.combine(now.date(), now.time(), tz)

    datetime.date, datetime.datetime = Date, DateTime  # type: ignore[misc]
    random.seed(12345)
    np.random.seed(54321)


# Between the processes.

_REQUESTS: dict[str, Callable[..., Any]] = {f.__name__: f for f in (try_level, freeze, outline, repeat)}


def _work(connection: Connection, disguised: bool) -> None:
    """A worker: answers requests until it is ended."""
    warnings.simplefilter("ignore")
    _disguise() if disguised else sys.addaudithook(_audit)
    while True:
        try:
            request, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            connection.send(_REQUESTS[request](*arguments))
        except Exception as error:
            connection.send(UnsoundError(f"it raises {type(error).__name__}: {' '.join(str(error).split())[:100]}"))


class Worker:
    """A process that can be given up and started anew."""

    def __init__(self, hash_seed: str, disguised: bool) -> None:
        self.hash_seed, self.disguised = hash_seed, disguised
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a new interpreter, which reads the hash seed
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self.disguised), daemon=True)
        before = os.environ.copy()
        os.environ["PYTHONHASHSEED"] = self.hash_seed
        try:
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()

    def send(self, request: Callable[..., Any], *arguments: Any) -> None:
        self._connection.send((request.__name__, arguments))

    def receive(self, limit: float) -> Any:
        """The result of the request. Raises UnsoundError where there is none within `limit` seconds."""
        try:
            if self._connection.poll(limit):
                result = self._connection.recv()
                if isinstance(result, UnsoundError):
                    raise result
                return result
            reason = f"it takes longer than {limit:.0f} s"
        except EOFError:
            reason = "it ends the process"
        self.stop()
        self._start()
        raise UnsoundError(reason)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()


# In the main process.


@dataclass
class Outcome:
    """What is known of a dataset; `reason` is empty where it is admitted."""

    name: str
    category: str
    reason: str = ""
    verdict: Verdict = field(default_factory=Verdict)
    levels: dict[int, Verdict] = field(default_factory=dict)
    longest: int = 0
    frozen: dict[str, Any] = field(default_factory=dict)

    @property
    def sound_levels(self) -> list[int]:
        return [level for level, verdict in self.levels.items() if not verdict.reason]

    @property
    def notes(self) -> list[str]:
        guard = [GUARDS[self.name].reason] if self.name in GUARDS else []
        return guard + [f"not level {level}: {v.reason}" for level, v in self.levels.items() if v.reason]

    def to_json(self) -> dict[str, Any]:
        return {
            "category": self.category,
            "notes": self.notes,
            "levels": self.sound_levels,
            "scarce_levels": [level for level in self.sound_levels if self.levels[level].repeated],
            "longest_answers": {"default": self.longest} | {n: self.levels[n].longest for n in self.sound_levels},
            **self.frozen,
        }


class Sweep:
    """Tries datasets one after the other; `first` judges, `second` draws again what `first` has drawn before."""

    def __init__(self) -> None:
        self.first, self.second = Worker("1", disguised=False), Worker("2", disguised=True)
        self.first.send(outline)
        self.datasets: dict[str, tuple[str, int]] = self.first.receive(LIMIT)

    def try_dataset(self, name: str, freezing: bool) -> Outcome:
        category, levels = self.datasets[name]
        if name in EXCLUDED:
            return Outcome(name, category, EXCLUDED[name])
        verdict = self._try(name, None, ENTRIES)
        outcome = Outcome(name, category, verdict.reason, verdict)
        if outcome.reason:
            return outcome
        outcome.levels = {level: self._try(name, level, LEVEL_ENTRIES) for level in range(levels)}
        if freezing or outcome.verdict.repeated:
            self._freeze(outcome)
        return outcome

    def _try(self, name: str, level: int | None, count: int) -> Verdict:
        try:
            self.first.send(try_level, name, level, count)
            verdict: Verdict = self.first.receive(LIMIT)
            self.second.send(repeat, name, level, list(verdict.digests))
            if self.second.receive(LIMIT) != verdict.digests:
                verdict.reason = verdict.reason or "the same seed gives other questions or answers in another process"
        except UnsoundError as error:
            verdict = Verdict(str(error))
        return verdict

    def _freeze(self, outcome: Outcome) -> None:
        """Fix the finite splits, at the lowest level with enough questions where the defaults have too few."""
        most = 0
        for level in (None, *outcome.sound_levels):
            try:
                self.first.send(freeze, outcome.name, level)
                outcome.frozen, longest = self.first.receive(FREEZE_LIMIT)
            except UnsoundError as error:
                outcome.reason = f"{error} to draw its splits"
                return
            found = len(outcome.frozen["test"].split())
            if found >= LEAST:
                outcome.longest = max(longest, outcome.verdict.longest)
                return
            most = max(most, found)
        outcome.reason = f"it has only {most} different test questions"


def rg_sweep(write: str | None = None, datasets: tuple[str, ...] = ()) -> None:
    """Try all datasets of reasoning_gym: which are sound enough to be tasks, and why the others are not.

    Args:
        write: Draw the finite splits of all that are admitted and write the outcome to this file.
        datasets: Some datasets only.
    """
    if write is not None and datasets:
        raise UsageError("--write needs the sweep over all datasets; leave out --datasets")
    from ..commands import write_file  # it needs what the command line needs

    installed = installed_version()
    sweep = Sweep()
    try:
        if unknown := [name for name in datasets if name not in sweep.datasets]:
            raise UnknownNameError("dataset", unknown[0], sweep.datasets)
        names, outcomes = datasets or tuple(sweep.datasets), []
        for number, name in enumerate(names, start=1):
            start = time.perf_counter()
            outcomes.append(sweep.try_dataset(name, freezing=write is not None))
            told = outcomes[-1].reason or "admitted"
            print(f"[{number}/{len(names)}] {name}: {told} ({time.perf_counter() - start:.1f} s)", flush=True)
    finally:
        sweep.first.stop()
        sweep.second.stop()
    _print_table(outcomes)
    admitted = {outcome.name: outcome.to_json() for outcome in outcomes if not outcome.reason and outcome.frozen}
    refused = {outcome.name: outcome.reason for outcome in outcomes if outcome.reason}
    print(f"reasoning_gym {installed}: {len(outcomes) - len(refused)} admitted, {len(refused)} refused")
    if write is not None:
        document = {"reasoning_gym": installed, "admitted": admitted, "refused": refused}
        write_file(Path(write), json.dumps(document, indent=1) + "\n")


def _print_table(outcomes: Sequence[Outcome]) -> None:
    print(f"\n{'dataset':<26}{'':<10}{'levels':>6}{'ms a question':>15}  why")
    for outcome in sorted(outcomes, key=lambda outcome: (outcome.reason != "", outcome.name)):
        told = "refused" if outcome.reason else "admitted"
        levels = f"{len(outcome.sound_levels)}/{len(outcome.levels)}" if outcome.levels else "-"
        why = outcome.reason or "; ".join(outcome.notes)
        print(f"{outcome.name:<26}{told:<10}{levels:>6}{outcome.verdict.milliseconds:>15.2f}  {why}".rstrip())
