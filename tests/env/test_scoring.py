"""Readers of answers and the judge of mathematics: what people would read, and what hostile text must not do."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from answers_in_the_wild import ABCD, EQUAL, ORGANELLES, ROWS, UNEQUAL, YES_NO, Row
from hypothesis import given
from hypothesis import strategies as st

from neuromas_env.errors import UsageError
from neuromas_env.scoring import (
    MathJudge,
    MathVerdict,
    mathematics,
    process,
    read_boxed,
    read_choice,
    read_number,
    read_text,
    read_word,
    shared_math_judge,
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


# -------------------------------------------------------------------------------------------------------- mathematics


@pytest.fixture(scope="module")
def judge() -> Iterator[MathJudge]:
    with MathJudge(seconds=60) as judge:  # the verdicts below must not depend on how busy the machine is
        yield judge


@needs_math_verify
@pytest.mark.parametrize(("reference", "texts"), EQUAL, ids=[reference for reference, _ in EQUAL])
def test_equal_expressions_are_equal(judge: MathJudge, reference: str, texts: list[str]) -> None:
    for text in [reference, f"\\boxed{{{reference}}}", f"The answer is ${reference}$.", *texts]:
        assert judge.judge(reference, text).status == "correct", text
        assert judge.judge(reference, text, strict=False).status == "correct", text


@needs_math_verify
@pytest.mark.parametrize(("reference", "texts"), UNEQUAL, ids=[reference for reference, _ in UNEQUAL])
def test_unequal_expressions_are_not(judge: MathJudge, reference: str, texts: list[str]) -> None:
    for text in texts:
        verdict = judge.judge(reference, text)
        assert verdict.status == "wrong", text
        assert verdict.parsed


@needs_math_verify
@pytest.mark.parametrize(
    "text",
    ["", "   ", "no answer here", "The answer is unclear to all of us.", "\\boxed{}", "What is 2 + 3?", "Answer:"],
)
def test_texts_without_an_answer_are_unparsed(judge: MathJudge, text: str) -> None:
    assert judge.judge("5", text) == MathVerdict("unparsed", None)


@needs_math_verify
def test_flexible_takes_what_stands_in_the_text_unless_it_is_a_list(judge: MathJudge) -> None:
    text = "Adding both sides gives $x = 5$ for the first unknown"
    assert judge.judge("5", text).status == "unparsed"
    assert judge.judge("5", text, strict=False).status == "correct"
    assert judge.judge("6", text, strict=False).status == "wrong"
    for recited in ("It may be one of these: 1, 2, 3, 4, 5", "We find that it is 4 or 5"):
        assert judge.judge("5", recited, strict=False).status != "correct"
    assert judge.judge("70", "\\boxed{35 + 35}", strict=False).status == "correct"  # math-verify's own rule


@needs_math_verify
def test_many_are_judged_in_order(judge: MathJudge) -> None:
    pairs = [("5", "\\boxed{5}"), ("5", "\\boxed{6}"), ("x + 1", "\\boxed{1 + x}"), ("5", ""), ("5", "\\boxed{6}")]
    assert [verdict.status for verdict in judge.judge_all(pairs)] == [
        "correct",
        "wrong",
        "correct",
        "unparsed",
        "wrong",
    ]


@needs_math_verify
def test_hostile_expressions_run_nothing_and_leave_the_judge_working(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    call = f"__import__('os').system('touch {mark}')"
    forms = [
        "\\boxed{{{}}}",
        "\\boxed{{\\text{{{}}}}}",
        "\\boxed{{\\{{\\text{{{}}}, 1\\}}}}",
        "we see 1 + {} here",
        "{}",
    ]
    endless = ["9^{9^{9^{9}}}", "10^{10^{10}}", "99999999999!", "(" * 900, "\ud800", "\x00", "(x+1)^{10000}"]
    with MathJudge(seconds=0.5) as judge:
        judge.judge("x^2 + y", "\\boxed{z}")
        for text in [*[form.format(call) for form in forms], *[f"\\boxed{{{text}}}" for text in endless]]:
            assert judge.judge("x^2 + y", text, strict=False).status in ("wrong", "failed", "unparsed")
        assert judge.judge("x^2 + y", "we find 10**10**10 here, see", strict=False).status == "failed"
        assert not mark.exists()
        assert judge.judge("3x", "\\boxed{x + 2x}").status in ("correct", "failed")
        judge.seconds = 60
        assert judge.judge("4x", "\\boxed{2x + 2x}").status == "correct"


@needs_math_verify
def test_a_killed_worker_is_started_again(judge: MathJudge) -> None:
    judge.judge("x", "\\boxed{y}")
    first = judge._process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    statuses = [judge.judge("x", f"\\boxed{{y + {n}}}").status for n in range(2)]
    assert statuses in (["failed", "wrong"], ["wrong", "wrong"])
    assert judge._process.pid != first


WORKERS = {
    "dead": "",
    "garbage": "import sys\nprint('{\"ready\": true}', flush=True)\nfor _ in sys.stdin: print('no json', flush=True)",
    "late": "import sys, time\nprint('{\"ready\": true}', flush=True)\nfor _ in sys.stdin: time.sleep(600)",
}


@needs_math_verify
def test_a_worker_that_does_not_answer_costs_the_time_limit_and_no_more() -> None:
    with MathJudge(0.2, worker=[sys.executable, "-c", WORKERS["late"]]) as judge:
        assert judge.judge("x", "\\boxed{y}") == MathVerdict("failed", "y")
        assert judge._process.pid is None  # killed, not left behind


@needs_math_verify
@pytest.mark.parametrize("worker", ["dead", "garbage"])
def test_a_broken_worker_is_reported(worker: str) -> None:
    with MathJudge(5, worker=[sys.executable, "-c", WORKERS[worker]]) as judge, pytest.raises((UsageError, ValueError)):
        judge.judge("x", "\\boxed{y}")
    assert judge._process.pid is None


def test_without_math_verify_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'neuromas\[tasks\]'"):
        MathJudge()
    with pytest.raises(UsageError, match="time limit"):
        MathJudge(seconds=0)


@needs_math_verify
def test_threads_take_turns(judge: MathJudge) -> None:
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        pairs = [(f"{number}x + {n}", f"\\boxed{{{n} + {number + n % 2} x}}") for n in range(8)]
        found[number] = [verdict.status for verdict in judge.judge_all(pairs)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: ["correct", "wrong"] * 4 for number in range(2, 6)}


def run(program: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": f"{ROOT}"}
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        cwd=cwd,
        env=os.environ | path,
        capture_output=True,
        text=True,
        timeout=300,
    )


@needs_math_verify
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_has_its_own_worker(tmp_path: Path) -> None:
    program = """
import os, sys, threading
from neuromas_env.scoring import shared_math_judge
judge = shared_math_judge()
judge.judge("x", "\\\\boxed{y}")
mine = judge._process.pid
held, done = threading.Event(), threading.Event()
def hold():  # as if another thread were waiting for a verdict
    with judge._process._lock:
        held.set()
        done.wait()
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    assert judge.judge("2x", "\\\\boxed{x + x}").status == "correct"
    assert judge._process.pid not in (None, mine)
    sys.exit(0)  # with all that an interpreter does in the end
done.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert judge.judge("3x", "\\\\boxed{x + 2x}").status == "correct"
assert judge._process.pid == mine
print(mine)
"""
    result = run(program, tmp_path)
    assert result.returncode == 0, result.stderr
    with pytest.raises(ProcessLookupError):  # nothing is left of it, not even a zombie
        os.kill(int(result.stdout), 0)


@needs_math_verify
def test_files_in_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("math_verify", "sympy", "json", "random", "number"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    program = """
from neuromas_env.scoring import MathJudge
with MathJudge() as judge:
    assert judge.judge("2x", "\\\\boxed{x + x}").status == "correct"
"""
    result = run(program, tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarms here")
def test_a_worker_that_nobody_kills_ends_itself(tmp_path: Path) -> None:
    endless = "class ExprExtractionConfig: pass\ndef parse(*_, **__):\n    while True: pass\ndef verify(): pass\n"
    config = "class LatexExtractionConfig:\n    def __init__(self, **_): pass\n"
    (tmp_path / "math_verify.py").write_text(endless + config)
    program = Path(mathematics.__file__).with_name("math_worker.py")
    command = [sys.executable, "-S", "-P", str(program), str(tmp_path), str(1 << 30), "0.1"]  # -S: hides the real one
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert json.loads(worker.stdout.readline()) == {"ready": True}
        worker.stdin.write(b'{"reference": "1", "answer": "1", "whole": false}\n')
        worker.stdin.flush()
        try:
            assert worker.wait(timeout=300) == -signal.SIGALRM
        finally:
            worker.kill()


@needs_math_verify
def test_an_interrupt_does_not_shift_the_replies(judge: MathJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    judge.judge("x", "\\boxed{y}")

    def interrupted(descriptor: int) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(process, "_read_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            judge.judge("x", "\\boxed{y + 11}")  # the reply, "wrong", is still to come
    assert judge.judge("11x", "\\boxed{10x + x}").status == "correct"


@needs_math_verify
def test_judging_leaves_signals_and_random_numbers_alone(judge: MathJudge) -> None:
    handler = signal.getsignal(signal.SIGINT)
    random.seed(2)
    state = random.getstate()
    judge.judge("x", "\\boxed{y + 7}")
    assert signal.getsignal(signal.SIGINT) is handler
    assert random.getstate() == state
    assert shared_math_judge() is shared_math_judge()
