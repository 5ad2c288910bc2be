"""Readers of answers and the judge of mathematics: what people would read, and what hostile text must not do."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from answers_in_the_wild import ABCD, ORGANELLES, ROWS, YES_NO, Row
from hypothesis import given
from hypothesis import strategies as st

from neuromas_env.scoring import (
    read_boxed,
    read_choice,
    read_number,
    read_text,
    read_word,
)
from neuromas_env.scoring.latex import explicit_answer, left_undone, other_base, same_text, to_latex

DATA = Path(os.environ.get("NEUROMAS_DATA", "/nonexistent"))
needs_data = pytest.mark.skipif(
    "NEUROMAS_DATA" not in os.environ, reason="NEUROMAS_DATA names no folder with benchmark files"
)
needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)
ROOT = Path(__file__).parents[2]


def read(kind: str, row: Row, text: str, strict: bool) -> str | None:
    match kind:
        case "choice":
            return read_choice(text, row.accepted, row.options, strict=strict)
        case "word":
            return read_word(text, row.accepted, strict=strict)
        case "number":
            return read_number(text, strict=strict)
        case _:
            return read_text(text, strict=strict)


# ------------------------------------------------------------------------------------------------ answers in the wild


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=[f"{kind}-{row.text[:40]!r}" for kind, row in ROWS])
def test_answers_in_the_wild_are_read_as_people_read_them(kind: str, row: Row) -> None:
    assert (read(kind, row, row.text, True), read(kind, row, row.text, False)) == (row.strict, row.flexible)


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=[f"{kind}-{row.text[:40]!r}" for kind, row in ROWS])
def test_surrounding_white_space_and_bold_do_not_matter(kind: str, row: Row) -> None:
    for around in ("{}\n", "\n\n  {}  \n", "\r\n{}\r\n", "\t{}", "\ufeff{}", "**{}**"):
        assert read(kind, row, around.format(row.text), True) == row.strict, around


FORMS = [
    "{}",
    "({})",
    "**{}**",
    "Answer: {}",
    "ANSWER:{}",
    "answer - {}",
    "**Answer:** ({})",
    "Answer:\n\n{}",
    "### Final Answer\n{}",
    "The answer is {}.",
    "the final answer is: **{}**",
    "The correct option is {}",
    "The correct choice is ({}).",
    "#### {}",
    "\\boxed{{{}}}",
    "The answer is $\\boxed{{\\text{{{}}}}}$.",
    "\\fbox{{{}}}",
    "<answer>{}</answer>",
    "<answer>\n{}\n</answer>",
    '{{"answer": "{}"}}',
    "We add them up, so it's {}.",
    "Therefore, {}.",
    "Some steps first.\n\n{}",
    "Answer: 77 and no Yes E\n\nNo, wait. The answer is {}",
]


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_an_answer_is_read_back_from_every_explicit_form(form: str, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from("ABCDEFGHIJ"))
    for spelled in (label, label.lower()):
        assert read_choice(form.format(spelled), "ABCDEFGHIJ") == label
    words = data.draw(st.sampled_from([YES_NO, ("True", "False"), ("valid", "invalid"), ("plausible", "implausible")]))
    for word in words:
        assert read_word(form.format(word), words) == word
        assert read_word(form.format(word.upper()), words) == word
    number = data.draw(st.decimals(min_value=-(10**9), max_value=10**9, places=data.draw(st.integers(0, 3))))
    found = read_number(form.format(f"{number:,}"))
    assert found is not None
    assert Decimal(found) == number


@given(st.sampled_from(FORMS), st.integers(0, 3))
def test_an_option_is_read_back_from_its_own_text(form: str, place: int) -> None:
    assert read_choice(form.format(ORGANELLES[place]), ABCD, ORGANELLES) == ABCD[place]
    assert read_choice(form.format(f"{ABCD[place]}) {ORGANELLES[-1]}"), ABCD, ORGANELLES) == ABCD[place]


@given(
    st.lists(st.sampled_from("ABCDEF"), min_size=2, max_size=6, unique=True),
    st.sampled_from([", ", "/", " or ", " and ", " ", "\n", ") (", " | "]),
    st.sampled_from(["{}", "Answer: {}", "({})", "**{}**", "\\boxed{{{}}}", "The answer is {}.", "So it's {}."]),
)
def test_recited_options_are_no_answer(labels: list[str], separator: str, form: str) -> None:
    if "\n" in separator and form not in ("{}", "({})", "**{}**"):
        return  # behind a marker the first line is an answer, and the lines below are others
    text = form.format(separator.join(labels))
    assert read_choice(text, "ABCDEF") is None
    assert read_choice(text, "ABCDEF", strict=False) is None
    words = ("Yes", "No", "Maybe")
    recited = form.format(separator.join(words[: len(labels)]))
    assert read_word(recited, words) is None
    assert read_word(recited, words, strict=False) is None
    if separator not in (" and ", "/", ") ("):
        numbers = form.format(separator.join(str(ord(label)) for label in labels))
        assert read_number(numbers) is None or "\n" in separator


LISTINGS = ["{}. {}\n", "({}) {}\n", "{}) {}\n", "{}: {}\n", "- {}. {}\n", "({}) {} "]


def multiple_choice_rows() -> Iterator[tuple[str, list[str], int]]:
    for line in (DATA / "arc_challenge" / "ARC-Challenge-Dev.jsonl").read_text().splitlines():
        question = json.loads(line)["question"]
        choices = question["choices"]
        answer = [choice["label"] for choice in choices].index(json.loads(line)["answerKey"])
        yield question["stem"], [choice["text"] for choice in choices], answer


@needs_data
def test_no_question_of_a_benchmark_answers_itself_and_every_answer_is_read() -> None:
    for stem, options, answer in multiple_choice_rows():
        labels = "ABCDE"[: len(options)]
        for listing in LISTINGS:
            recited = "".join(listing.format(label, text) for label, text in zip(labels, options, strict=True))
            for text in (recited, f"{stem}\n{recited}", f"{stem}\nOptions:\n{recited}\nAnswer:"):
                assert read_choice(text, labels, options) is None, text
                assert read_choice(text, labels) is None, text
        for separator in (", ", " or ", "; ", "\n"):
            assert read_choice(f"Answer: {separator.join(options)}", labels, options) is None or separator == "\n"
        right, spelled = labels[answer], options[answer]
        for form in ("{0}", "({0}) {1}", "Answer: {0}. {1}", "The answer is **{0}) {1}**", "{1}", "Answer: {1}"):
            assert read_choice(form.format(right, spelled), labels, options) == right, form.format(right, spelled)


@needs_data
def test_questions_in_numbers_and_words_do_not_answer_themselves() -> None:
    for line in (DATA / "gsm8k" / "train_1000.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert read_number(row["question"]) is None
        assert read_number(row["answer"]) == row["answer"].split("#### ")[1].replace(",", "")
    for name, words in (("navigate_dev", YES_NO), ("boolean_expressions", ("True", "False"))):
        for row in json.loads((DATA / "bbh" / f"{name}.json").read_text())["examples"]:
            assert read_word(row["input"], words) is None
    with open(DATA / "mmlu" / "abstract_algebra_test.csv", newline="") as file:
        for cells in list(csv.reader(file))[1:]:
            assert read_choice(cells[0], ABCD) is None


# ------------------------------------------------------------------------------------------------------- hostile text

FRAGMENTS = [
    *(
        "answer",
        "Answer:",
        " is ",
        "not ",
        "\\boxed{",
        "}",
        "{",
        "####",
        "<answer>",
        "</answer>",
        "so it's ",
        "therefore ",
    ),
    *("A", "B", "(C)", "I", "a dog", "Yes", "no", "True", "5", "-3.5", "1,000", "1e3", "3/4", "=", "+", "\\frac{1}{2}"),
    *(
        " or ",
        " and ",
        ",",
        ".",
        "?",
        ":",
        "-",
        "–",
        "$",
        "*",
        "**",
        "`",
        "_",
        "\n",
        " ",
        "\x00",
        "\ud800",
        "²",
        "٣",
        "\\",
    ),
    *(
        "nucleus",
        "cell wall",
        "is correct",
        "I choose ",
        "but",
        "\\text{",
        "\\(",
        "\\[",
        "$$",
        "^",
        "<<",
        ">>",
        '"',
        "'",
    ),
]
anything = st.one_of(st.text(), st.text(alphabet=st.characters()), st.lists(st.sampled_from(FRAGMENTS)).map("".join))


@given(anything)
def test_readers_never_raise_and_flexible_extends_strict(text: str) -> None:
    for options in ((), ORGANELLES):
        strict, flexible = (read_choice(text, ABCD, options, strict=rule) for rule in (True, False))
        assert strict in (None, *ABCD)
        assert flexible in (None, *ABCD)
        assert strict in (None, flexible)
    strict, flexible = (read_word(text, YES_NO, strict=rule) for rule in (True, False))
    assert strict in (None, *YES_NO)
    assert flexible in (None, *YES_NO)
    assert strict in (None, flexible)
    for number in (read_number(text), read_number(text, strict=False)):
        assert number is None or read_number(number) == number  # the spelling is canonical
    assert read_number(text) in (None, read_number(text, strict=False))
    assert read_text(text) in (None, read_text(text, strict=False))
    assert read_text(text, strict=False) != ""
    assert (box := read_boxed(text)) is None or box in text
    if answer := explicit_answer(text):
        to_latex(answer), same_text(answer, answer), left_undone("5", answer), other_base("5_8", answer)


@given(anything, anything)
def test_options_may_hold_anything(option: str, text: str) -> None:
    assert read_choice(text, "AB", (option, "other"), strict=False) in (None, "A", "B")


@given(anything)
def test_reading_ignores_white_space_around_the_text(text: str) -> None:
    padded = f" \n {text}\n \n"
    assert read_choice(text, ABCD) == read_choice(padded, ABCD)
    assert read_number(text) == read_number(padded)
    assert read_word(text, YES_NO, strict=False) == read_word(padded, YES_NO, strict=False)


PATTERNS = [
    *("answer ", "answer: ", "answer is ", "answer is not ", "Yes or ", "A or ", "A ", "A.\n", "(", "{", "}", "[", ")"),
    *(
        "\\boxed{",
        "\\boxed{1",
        "\\boxed{1} ",
        "\\boxed{1}" + " " * 38,
        "\\frac{1}{",
        "\\text{",
        "\\(",
        "answer: \\[",
        "$a",
    ),
    *("9", "1,", "1.", "1=", "1e", "1/", "1-", "1 ", "1 x 10^", "x=5, ", "- ", "5 a a a ", "= ", "^", "**", "2**"),
    *(
        "so ",
        "so it is ",
        "so 5 ",
        "is correct ",
        "B is correct, ",
        "not ",
        "not A but ",
        "<answer>",
        "#### ",
        "#",
        "<<1",
        "_",
    ),
    *(
        " ",
        "\n",
        " \n",
        "A) x ",
        "Option A is incorrect. ",
        "nucleus or ",
        "cell ",
        "I would ",
        '"',
        "'",
        "`",
        "\\",
        "\x00",
    ),
]
READERS: dict[str, Callable[[str], object]] = {
    "choice": lambda text: (read_choice(text, ABCD, ORGANELLES), read_choice(text, ABCD, strict=False)),
    "word": lambda text: read_word(text, YES_NO, strict=False),
    "number": lambda text: read_number(text, strict=False),
    "text": lambda text: read_text(text, strict=False),
    "boxed": read_boxed,
    "latex": explicit_answer,
}


@pytest.mark.parametrize("reader", READERS)
def test_time_grows_with_the_length_of_hostile_text_and_not_with_its_square(reader: str) -> None:
    def fastest(pattern: str, size: int) -> float:
        texts = [
            ending.format((pattern * size)[:size].replace("{", "{{").replace("}", "}}")) for ending in ("{}", "{} x")
        ]
        times = []
        for _ in range(2):
            start = time.process_time()
            for text in texts:
                READERS[reader](text)
            times.append(time.process_time() - start)
        return min(times)

    short = [fastest(pattern, 1_250) for pattern in PATTERNS]
    usual = sum(short) / len(short)  # so that a hiccup in a pattern that takes no time does not count
    for pattern, time_for_short in zip(PATTERNS, short, strict=True):
        # 8 times the length; a square would take 64 times as long, in every attempt
        assert any(fastest(pattern, 10_000) < 24 * max(time_for_short, usual) for _ in range(5)), pattern


def test_long_numbers_are_read_digit_for_digit() -> None:
    digits = "7" * 20_000
    assert read_number(digits) == digits
    assert read_number(f"The answer is {digits}.") == digits
    assert read_number(f"\\boxed{{{digits}}}") == digits
    assert read_number("Answer: 1e" + "9" * 20_000) is None
    assert read_number("Answer: 1e-" + "0" * 20_000 + "2") == "0.01"


def test_global_state_is_left_alone() -> None:
    random.seed(1)
    state = random.getstate()
    for _, row in ROWS:
        read_choice(row.text, ABCD, strict=False)
        read_number(row.text, strict=False)
    assert random.getstate() == state


# ------------------------------------------------------------------------------------------------------------ details


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("\\boxed{5}", "5"),
        ("\\boxed{\\frac{1}{2}} and \\fbox{ x_{1} }", "x_{1}"),
        ("\\boxed{1} \\boxed{2", "1"),
        ("\\boxed {\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\boxed{7}}", "7"),
        ("\\boxed{}", ""),
        ("\\boxed", None),
        ("no box", None),
    ],
)
def test_read_boxed(text: str, content: str | None) -> None:
    assert read_boxed(text) == content


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        *[
            ("1.50", "1.5"),
            ("007", "7"),
            ("-0.0", "0"),
            ("0/5", "0/5"),
            ("-3/04", "-3/4"),
            ("1,234,567.80", "1234567.8"),
        ],
        *[("2.5e2", "250"), ("25e-1", "2.5"), ("1.5 × 10^6", "1500000"), (".50", "0.5"), ("+3", "3"), ("12 %", "12")],
        *[("1,2,3", None), ("12,34", None), ("1.2.3", None), ("5/0", None), ("1e9999", None), ("５", None)],
    ],
)
def test_numbers_have_one_spelling(written: str, canonical: str | None) -> None:
    assert read_number(f"Answer: {written}") == canonical
