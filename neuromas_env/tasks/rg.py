"""Tasks of reasoning_gym: its own questions, its own scorers, in frozen splits. `rg/chain_sum` is its `chain_sum`.

Which of its datasets are tasks here, and why the others are not, is recorded in `rg_datasets.json`, which
`neuromas rg-sweep` writes after trying each. A message's answer is what stands in its last `<answer>...</answer>`; else
what follows its last `Answer:`; else the whole message. White space around it does not count. The flexible reading
takes as many last lines of that as the reference has. An answer is right where reasoning_gym's scorer gives it exactly
1: some give 0.9999999999999999 or more than 1 for a wrong answer, and partial credit is none. Some scorers
see only answers of a certain form, because they would run others as a program, or pay for others as well (`GUARDS`).

Questions are numbered by their seed. The hash of the prompt decides the split, as in all generated tasks; the numbers
of the validation and test questions are recorded with a hash of the test split. Under another version of reasoning_gym
than the recorded one, ids name the version, and so the hashes of the splits differ.

Difficulty is a level of reasoning_gym's curriculum, or a range of levels that take turns; without it the dataset's own
defaults hold. Where an attribute has fewer levels than the dataset, it stays at its last.
"""

from __future__ import annotations

import ast
import decimal
import io
import json
import operator
import random
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UnknownNameError, UsageError
from ..task import SPLITS, Question, Score, Task, make_score
from .generated import parse_difficulty, split_of

Entry = Mapping[str, Any]
"""A question as reasoning_gym gives it: `question`, `answer` (the reference) and `metadata` for its scorer."""

SIZES = {"validation": 200, "test": 500}
SMALL_SIZES = {"validation": 50, "test": 100}
SLOW = frozenset({"futoshiki", "puzzle24", "sokoban", "sudoku", "zebra_puzzles"})
"""Datasets that take some 20 to 200 ms a question: their splits have `SMALL_SIZES`."""

FINITE = 2**30
"""Training questions have numbers below this, validation and test questions from here on."""
_STEP = 7_368_787  # from the number of a question of another split to the next try; a prime beyond any training run
_GIVE_UP = 3000  # numbers in a row without a new question, after which the finite splits are taken to be complete

CHUNKS = {"acre": 10, "gsm_symbolic": 10, "list_functions": 10, "word_ladder": 10}
"""Datasets that know only as many questions as they are made with, and how many are made at a time."""
PRINTS = frozenset({"bf", "tower_of_hanoi"})
"""Datasets that print while they work, which is kept off the screen."""

_LOCK = threading.RLock()
_MARKER = re.compile(r"\banswer(?:\*\*)?:(?:\*\*)?", re.IGNORECASE)


@cache
def register() -> dict[str, Any]:
    """The record of the sweep: `reasoning_gym` (the version), `admitted` and `refused` datasets by name."""
    return json.loads((Path(__file__).parent / "rg_datasets.json").read_text(encoding="utf-8"))


@cache
def installed_version() -> str:
    """The version of reasoning_gym. Raises UsageError where it is not installed."""
    try:
        return version("reasoning-gym")
    except PackageNotFoundError:
        raise UsageError("the rg tasks need reasoning-gym; it comes with: pip install 'neuromas[tasks]'") from None


def read_answer(text: str) -> str | None:
    """The answer in a message: in the last tags, else after the last `Answer:`, else the whole; None where empty."""
    close = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, close) if close >= 0 else -1
    if start >= 0:
        return text[start + len("<answer>") : close].strip() or None
    for marker in _MARKER.finditer(text):
        start = marker.end()
    return text[max(start, 0) :].strip() or None


class Source:
    """One dataset of reasoning_gym at one level (None: its defaults): entries by number, and their scorer.

    Nothing else notices: the global random generators, which some datasets use, and the decimal context, which one
    sets, are seeded for each call and put back after it.
    """

    _KEPT = 4096  # entries that are remembered, so that scoring need not draw them again

    def __init__(self, name: str, level: int | None = None) -> None:
        self.name, self.level = name, level
        self._chunk = CHUNKS.get(name, 0)
        self._guard = GUARDS.get(name)
        self._datasets: dict[int, Any] = {}
        self._entries: dict[int, Entry] = {}

    def entry(self, number: int) -> Entry | None:
        """The entry `number`, or None where there is none, or none with a reference answer to be given."""
        entry = self._entries.get(number)
        if entry is None:
            entry = self._draw(number)
            while len(self._entries) >= self._KEPT:
                del self._entries[next(iter(self._entries))]
            self._entries[number] = entry
        answer = entry["answer"]
        return entry if isinstance(answer, str) and answer.strip() else None

    def pays(self, answer: str, entry: Entry) -> bool:
        """Whether the scorer gives `answer` the full score. What a scorer cannot read is wrong."""
        if not answer or len(answer) > 4 * len(entry["answer"]) + 200:
            return False
        if any(char.isdecimal() and not char.isascii() for char in answer):
            return False  # Python's int and float read the digits of every script
        if self._guard is not None and not self._guard.allows(answer, entry):
            return False
        dataset = self._dataset(0)
        # One scorer writes into the metadata: it gets a copy.
        entry = {**entry, "metadata": dict(entry["metadata"])}
        with self._isolated(0):
            try:
                return float(dataset.score_answer(answer, entry)) == 1.0
            except Exception:
                return False

    def _draw(self, number: int) -> Entry:
        first = number - number % self._chunk if self._chunk else 0
        dataset = self._dataset(first)
        with self._isolated(number):
            try:
                return dataset[number - first]
            except (RecursionError, MemoryError):
                raise  # they depend on who asks
            except Exception:  # a few seeds are too much for their generator, always the same ones
                return {"question": "", "answer": "", "metadata": {}}

    def _dataset(self, first: int) -> Any:
        """The dataset whose items are the entries from `first` on."""
        if first not in self._datasets:
            if len(self._datasets) > 8:
                self._datasets = {}
            self._datasets[first] = self._make(first)
        return self._datasets[first]

    def _make(self, seed: int) -> Any:
        with self._isolated(seed):
            from reasoning_gym.factory import CURRICULA, DATASETS

            kind, config_kind = DATASETS[self.name]
            options = {"seed": seed, "size": self._chunk or 500}
            if self.level is None:
                return kind(config_kind(**options))
            curriculum = CURRICULA[self.name]()
            curriculum.set_global_level(self.level)
            return kind(curriculum.generate_configuration(options))

    @contextmanager
    def _isolated(self, seed: int) -> Iterator[None]:
        with _LOCK:
            states = random.getstate(), np.random.get_state()
            random.seed(seed)
            np.random.seed(seed)
            try:
                with decimal.localcontext(decimal.Context()), self._silence():
                    yield
            finally:
                random.setstate(states[0])
                np.random.set_state(states[1])

    @contextmanager
    def _silence(self) -> Iterator[None]:
        if self.name not in PRINTS:
            yield
            return
        with redirect_stdout(io.StringIO()):
            yield


class Scan:
    """The numbers of the questions of the finite splits, in order, found by drawing one number after the other."""

    def __init__(self, draw: Callable[[int], Entry | None]) -> None:
        self.numbers: dict[str, list[int]] = {"validation": [], "test": []}
        self._draw = draw
        self._seen: set[str] = set()
        self._next, self._misses = FINITE, 0

    def find(self, split: str, count: int) -> Sequence[int]:
        """The first `count` numbers of `split`, or as many as there are."""
        numbers = self.numbers[split]
        while len(numbers) < count and self._misses < _GIVE_UP:
            entry = self._draw(self._next)
            self._misses += 1
            home = split_of(entry["question"]) if entry is not None else "train"
            if entry is not None and home != "train" and entry["question"] not in self._seen:
                self._seen.add(entry["question"])
                self.numbers[home].append(self._next)
                self._misses = 0
            self._next += 1
        return numbers[:count]


class ReasoningGym(Task):
    licence = "Apache-2.0"
    instruction = "The message ends with 'Answer:' and the answer alone, in the form that the question asks for."

    def __init__(self, dataset: str, difficulty: str | None = None) -> None:
        record = register()
        self.name = f"rg/{dataset}"
        if dataset in record["refused"]:
            raise UsageError(f"{self.name} is no task: {record['refused'][dataset]}")
        if dataset not in record["admitted"]:
            raise UnknownNameError("task", self.name, [f"rg/{name}" for name in sorted(record["admitted"])])
        self.dataset = dataset
        self._record = record["admitted"][dataset]
        self._version = installed_version()
        self._recorded = self._version == record["reasoning_gym"]
        self._default = difficulty is None
        self._levels = self._read_levels(difficulty)
        self._sources: dict[int | None, Source] = {}
        self._scan = Scan(self._draw)
        self.source = f"reasoning_gym {self._version}, arXiv 2505.24760"
        if not self._recorded:
            self.source += f" (the splits were frozen with {record['reasoning_gym']})"
        self.summary = (
            f"{dataset.replace('_', ' ').capitalize()}, from the {self._record['category']} datasets of reasoning_gym."
        )
        keys = ["default"] if difficulty is None else map(str, self._levels)
        longest = max(self._record["longest_answers"][key] for key in keys)
        self.max_message_tokens = max(200, _hundreds(1.5 * longest + 100))
        self.max_message_chars = max(4000, _hundreds(2 * longest + 400))

    def _read_levels(self, difficulty: str | None) -> Sequence[int | None]:
        if difficulty is None:
            return (self._record.get("default_level"),)
        sound = self._record["levels"]
        if not sound:
            raise UsageError(f"{self.name} has no levels of difficulty")
        low, high = parse_difficulty(difficulty, "", sound[0], sound[-1])
        if missing := [level for level in range(low, high + 1) if level not in sound]:
            raise UsageError(f"difficulty {difficulty!r}: {self.name} has no level {missing[0]}; it has {sound}")
        return range(low, high + 1)

    @property
    def variant(self) -> str:
        levels = "default" if self._default else f"{self._levels[0]}-{self._levels[-1]}"
        return levels if self._recorded else f"{levels}-reasoning_gym-{self._version}"

    @property
    def hashes(self) -> dict[str, str]:
        """The recorded hash of the test split, which holds for the default difficulty and the recorded version."""
        return {"test": self._record["sha256"]} if self._default and self._recorded else {}

    def size(self, split: str) -> int | None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
        return None if split == "train" else len(self._frozen(split)) or self._drawn_size(split)

    def question(self, split: str, index: int) -> Question:
        size = self.size(split)
        if index < 0 or (size is not None and index >= size):
            raise IndexError(f"{self.id} has no question {index} in split {split!r} (size {size or 'endless'})")
        number = self._train_number(index) if size is None else self._finite_number(split, index)
        entry = self._draw(number)
        assert entry is not None  # numbers without a question are in no split
        level = self._level(number)
        metadata = {"number": number} if level is None else {"number": number, "level": level}
        name = f"{self.id}/{self.variant}/{split}/{index}"
        return Question(name, entry["question"], entry["answer"].strip(), metadata=metadata)

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        answer = read_answer(text)
        if strict or answer is None:
            return answer
        return "\n".join(answer.split("\n")[-1 - question.answer.count("\n") :]).strip()

    def score(self, question: Question, text: str) -> Score:
        """Raises UsageError for a question that the installed version of reasoning_gym does not make."""
        answer = self.parse(question, text)
        if answer is None:
            return make_score(None, False, False, text)
        level = question.metadata.get("level")
        entry = self._source(level).entry(question.metadata["number"])
        if entry is None or (entry["question"], entry["answer"].strip()) != (question.prompt, question.answer):
            raise UsageError(f"{question.id} cannot be scored: reasoning_gym {self._version} makes another question")
        right = self._source(level).pays(answer, entry)
        lenient = self.parse(question, text, strict=False)
        return make_score(answer, right, right or self._source(level).pays(lenient or "", entry), text)

    def _source(self, level: int | None) -> Source:
        if level not in self._sources:
            self._sources[level] = Source(self.dataset, level)
        return self._sources[level]

    def _level(self, number: int) -> int | None:
        return self._levels[number % len(self._levels)]

    def _draw(self, number: int) -> Entry | None:
        return self._source(self._level(number)).entry(number)

    def _train_number(self, index: int) -> int:
        for attempt in range(1000):
            number = (index + attempt * _STEP) % FINITE
            entry = self._draw(number)
            if entry is not None and split_of(entry["question"]) == "train":
                return number
        raise RuntimeError(f"{self.id} ({self.variant}) has hardly any training questions")

    def _frozen(self, split: str) -> Sequence[int]:
        """The recorded numbers of a finite split, which stand for the default difficulty."""
        return _numbers(self._record[split]) if self._default and self._recorded else ()

    def _finite_number(self, split: str, index: int) -> int:
        frozen = self._frozen(split)
        return frozen[index] if frozen else self._scan.find(split, index + 1)[index]

    def _drawn_size(self, split: str) -> int:
        """The size of a split that is not recorded: drawing it is left for later where questions do not run out."""
        size = split_sizes(self.dataset)[split]
        scarce = self._record["scarce_levels"]
        runs_out = all(level in scarce for level in self._levels) or not self._recorded
        return len(self._scan.find(split, size)) if runs_out else size


def split_sizes(dataset: str) -> Mapping[str, int]:
    """How many questions the finite splits hold, where there are as many."""
    return SMALL_SIZES if dataset in SLOW else SIZES


def pack(numbers: Sequence[int]) -> str:
    """Numbers from FINITE on, as the gaps between them."""
    return " ".join(str(after - before) for before, after in zip([FINITE, *numbers], numbers, strict=False))


@cache
def _numbers(packed: str) -> tuple[int, ...]:
    """Undo `pack`."""
    numbers, last = [], FINITE
    for gap in packed.split():
        last += int(gap)
        numbers.append(last)
    return tuple(numbers)


def _hundreds(value: float) -> int:
    return -(-int(value) // 100) * 100


# What stands before a scorer that would run, or pay for, what it should not.


@dataclass(frozen=True)
class Guard:
    """`allows` says whether an answer may reach the scorer, `reason` why not all may.

    `evaluates` marks scorers that evaluate what reaches them, which `allows` has found to be plain arithmetic.
    """

    reason: str
    allows: Callable[[str, Entry], bool]
    evaluates: bool = False


def _form(pattern: str) -> Callable[[str, Entry], bool]:
    compiled = re.compile(pattern)
    return lambda answer, entry: compiled.fullmatch(answer) is not None


def _same(key: Callable[[str], Any]) -> Callable[[str, Entry], bool]:
    """Answers that are the reference as `key` reads both; it raises ValueError for what it cannot read."""

    def allows(answer: str, entry: Entry) -> bool:
        try:
            return key(answer) == key(entry["answer"])
        except (ValueError, RecursionError):
            return False

    return allows


def _number(text: str) -> Fraction:
    """A number in plain notation. Without exponents: `1e999999999` is a billion digits."""
    if not re.fullmatch(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?", text):
        raise ValueError(f"{text!r} is not a number")
    return Fraction(text)


def _number_list(text: str) -> list[Fraction]:
    if not re.fullmatch(r"\[[^\[\]]*\]", text):
        raise ValueError(f"{text!r} is not a list")
    return [_number(item.strip(" \n\t'\"")) for item in text[1:-1].split(",")]


_OPERATORS: dict[type, Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _value(node: ast.expr) -> Fraction:
    """The exact value of an expression of whole numbers, + - * / and brackets. Raises ValueError for any other."""
    match node:
        case ast.Constant(value=int(value)):
            return Fraction(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
    raise ValueError("not plain arithmetic")


def _reaches(target: Callable[[Entry], int]) -> Callable[[str, Entry], bool]:
    """Plain arithmetic that uses each number of the question once and whose exact value is the target."""

    def allows(answer: str, entry: Entry) -> bool:
        if not re.fullmatch(r"[0-9+*/() -]+", answer):
            return False
        if Counter(map(int, re.findall("[0-9]+", answer))) != Counter(entry["metadata"]["numbers"]):
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "2(3)" makes Python ask whether a comma is missing
                return _value(ast.parse(answer, mode="eval").body) == target(entry)
        except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
            return False

    return allows


def _polynomial(answer: str, entry: Entry) -> bool:
    """A sum of at most 20 terms such as `3*x**4/7` in the question's variable, and a constant `C`."""
    variable = re.escape(entry["metadata"]["variable"])
    power = rf"{variable}(\*\*[0-9]{{1,2}})?"
    ratio = r"[0-9]{1,9}(/[0-9]{1,9})?"
    term = rf"(({ratio}|\({ratio}\))\*)?{power}(/[0-9]{{1,9}})?|{ratio}|C"
    terms = re.split(r"[+-]", re.sub(r"\s", "", answer).removeprefix("-"))
    return len(terms) <= 20 and all(re.fullmatch(term, each) for each in terms)


_EVALUATES = "its scorer evaluates any answer but the reference as Python"
_DECIMAL, _ROLE = r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?", r"[A-Za-z]+ is an? [A-Za-z]+"
_TIME = r"[0-9]{1,3}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"

GUARDS: dict[str, Guard] = {
    "advanced_geometry": Guard(
        "its scorer ignores what follows the second coordinate",
        _form(r"\(?\s*-?[0-9]+(\.[0-9]+)?\s*°?(,\s*-?[0-9]+(\.[0-9]+)?\s*\)?)?"),
    ),
    "binary_matrix": Guard(_EVALUATES, _same(str)),
    "complex_arithmetic": Guard("its scorer pays for nan", _form(r"[0-9eij.+()\s-]+")),
    "countdown": Guard(
        "its scorer evaluates the answer, and allows for rounding", _reaches(lambda e: e["metadata"]["target"]), True
    ),
    "figlet_font": Guard(
        "its scorer pays for ten right letters of a longer word", _same(lambda text: text.replace(" ", "").lower())
    ),
    "fraction_simplification": Guard(
        "its scorer ignores what follows the fraction",
        _form(r"\$?\s*([0-9]+\s*/\s*[0-9]+|\\d?frac\s*\{\s*[0-9]+\s*\}\s*\{\s*[0-9]+\s*\})\s*\$?"),
    ),
    "game_of_life": Guard("its scorer ignores what lies beyond the board", _same(json.loads)),
    "game_of_life_halting": Guard("its scorer pays for any text", _same(str)),
    "gsm_symbolic": Guard("its scorer takes the first number of any text, without its sign", _same(_number)),
    "kakurasu": Guard("its scorer ignores what is neither 0 nor 1", _form(r"[01\s]+")),
    "knights_knaves": Guard("its scorer ignores what it does not know", _form(rf"{_ROLE}((,| and|, and) {_ROLE})*\.?")),
    "letter_jumble": Guard("its scorer ignores further words", _same(lambda text: text.lower().split())),
    "n_queens": Guard(_EVALUATES, lambda answer, entry: answer in entry["metadata"]["valid_answers"]),
    "number_sorting": Guard("its scorer pays for nan, and for numbers that are off by 1", _same(_number_list)),
    "polynomial_equations": Guard("its scorer ignores what is no number", _form(rf"{_DECIMAL}(, *{_DECIMAL})*")),
    "pool_matrix": Guard("its scorer ignores comments", _form(r"[0-9.\s-]+")),
    "puzzle24": Guard(
        "its scorer evaluates the answer, rounds it down, and pays whichever numbers make 24",
        _reaches(lambda entry: 24),
        True,
    ),
    "quantum_lock": Guard("its scorer reads the letters A, B and C of any text", _form(r"[ABC→>,\s-]+")),
    "simple_integration": Guard("its scorer evaluates the answer", _polynomial, True),
    "sokoban": Guard("its scorer ignores what is no move", _form("[UDLR]+")),
    "spiral_matrix": Guard(_EVALUATES, _same(str)),
    "string_insertion": Guard(_EVALUATES, _same(str)),
    "survo": Guard("its scorer ignores what is no number", _form(r"[0-9\s]+")),
    "time_intervals": Guard(
        "its scorer ignores what follows the interval", _form(rf"-?[0-9]+( days?)?(, {_TIME})?|{_TIME}")
    ),
    "word_sorting": Guard(
        "its scorer ignores further words", _same(lambda text: [word.strip() for word in text.split(",")])
    ),
}
