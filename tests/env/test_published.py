"""Published benchmark files: every row loads, and earns 1 for its gold answer and 0 for anything else."""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import cache
from pathlib import Path
from string import ascii_uppercase

import pytest

from neuromas_env import Message, Question, Task, make_task, run_episodes
from neuromas_env.errors import DataFileError, UsageError

DATA = Path(os.environ.get("NEUROMAS_DATA", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    "NEUROMAS_DATA" not in os.environ, reason="NEUROMAS_DATA names no folder with benchmark files"
)

# Task, file, split that a folder gives the file, rows. Programs are judged in test_programs.py.
FILES = [
    ("arc_challenge", "arc_challenge/ARC-Challenge-Dev.jsonl", "validation", 294),
    ("bbh/boolean_expressions", "bbh/boolean_expressions.json", "test", 250),
    ("bbh/logical_deduction_three_objects", "bbh/logical_deduction_three_objects.json", "test", 250),
    ("bbh/multistep_arithmetic_two", "bbh/multistep_arithmetic_two.json", "test", 250),
    ("bbh/navigate", "bbh/navigate_dev.json", None, 125),
    ("bbh/object_counting", "bbh/object_counting.json", "test", 250),
    ("gsm8k", "gsm8k/train_1000.jsonl", "train", 1000),
    ("humaneval", "humaneval/HumanEval.jsonl.gz", "test", 164),
    ("mmlu/abstract_algebra", "mmlu/abstract_algebra_dev.csv", "dev", 5),
    ("mmlu/abstract_algebra", "mmlu/abstract_algebra_test.csv", "test", 100),
    ("mmlu/college_physics", "mmlu/college_physics_dev.csv", "dev", 5),
    ("mmlu/professional_medicine", "mmlu/professional_medicine_dev.csv", "dev", 5),
]
JUDGED_BY_READING = [(name, file) for name, file, _, _ in FILES if name != "humaneval"]
JUNK = ("", " ", "\n", ".", "?", "I do not know.", "Answer:", "The answer is", "yes or no", "none of the above", "####")


@cache
def load(name: str, file: str) -> Task:
    return make_task(name, data=DATA / file)


@cache
def rows(name: str, file: str) -> list[Question]:
    task = load(name, file)
    return [task.question("test", index) for index in range(task.size("test") or 0)]


class Says:
    """A node that says what a function of the question makes."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def act(self, requests):
        return [Message(self.texts[request.question_id]) for request in requests]


def ask(name: str, file: str, say) -> list[float]:
    """What the answers `say(question)` earn, through the environment that a model's answers go through."""
    questions = rows(name, file)
    policy = Says({question.id: say(question) for question in questions})
    return run_episodes(load(name, file), "1", policy, questions).rewards_E.tolist()


def test_every_benchmark_file_is_known_here():
    there = {str(path.relative_to(DATA)) for path in DATA.rglob("*") if path.is_file()}
    assert {name for name in there if not name.endswith(("LICENSE", ".md"))} == {file for _, file, _, _ in FILES}


@pytest.mark.parametrize(("name", "file", "split", "count"), FILES)
def test_files_are_those_of_the_list_of_sources_and_load_whole(name, file, split, count):
    sources = (DATA / "SOURCES.md").read_text(encoding="utf-8")
    (digest,) = re.findall(rf"^\| {re.escape(file)} \|.*\| (\w{{64}}) \|$", sources, re.MULTILINE)
    assert hashlib.sha256((DATA / file).read_bytes()).hexdigest() == digest
    questions = rows(name, file)
    assert len(questions) == count
    assert len({question.id for question in questions}) == count
    if split in ("train", "validation", "test"):  # the folder gives the same rows under their own split
        folder = make_task(name, data=(DATA / file).parent)
        assert folder.size(split) == count
        assert [folder.question(split, i).prompt for i in range(count)] == [q.prompt for q in questions]


@pytest.mark.parametrize(("name", "file"), JUDGED_BY_READING)
def test_gold_scores_one_for_every_row(name, file):
    for form in ("Answer: {}", "Let me think.\n\nSo the answer is **{}**.", "\\boxed{{{}}}"):
        assert set(ask(name, file, lambda q, form=form: form.format(q.answer))) == {1.0}, form


@pytest.mark.parametrize(("name", "file"), JUDGED_BY_READING)
def test_junk_the_question_and_all_options_score_nothing(name, file):
    task = load(name, file)
    for text in JUNK:
        assert set(ask(name, file, lambda q, text=text: text)) == {0.0}, text
    recitals = {
        "the question": lambda q: q.prompt,
        "the question twice": lambda q: f"{q.prompt}\n{q.prompt}",
        "the question and a marker": lambda q: f"{q.prompt}\nAnswer:",
        "the instruction": lambda q: task.instruction,
        "all letters": lambda q: "Answer: " + " or ".join(ascii_uppercase[: len(q.choices)] or "?"),
        "all letters in a row": lambda q: " ".join(f"({c})" for c in ascii_uppercase[: len(q.choices)]),
        "all options": lambda q: "Answer: " + ", ".join(q.choices),
    }
    for what, say in recitals.items():
        assert set(ask(name, file, say)) == {0.0}, what


@pytest.mark.parametrize(("name", "file"), JUDGED_BY_READING)
def test_a_wrong_option_scores_nothing(name, file):
    def others(question: Question) -> list[str]:
        letters = list(ascii_uppercase[: len(question.choices)])
        options = letters if question.answer in letters else list(question.choices)
        wrong = [option for option in options if option != question.answer]
        return wrong or [f"{question.answer}1", f"1{question.answer}"]

    most = max(len(others(question)) for question in rows(name, file))
    for place in range(most):
        for form in ("Answer: {}", "{}"):
            say = lambda q, place=place, form=form: form.format(others(q)[place % len(others(q))])  # noqa: E731
            assert set(ask(name, file, say)) == {0.0}


@pytest.mark.parametrize(("name", "file"), [case for case in JUDGED_BY_READING if case[0].startswith(("arc", "mmlu"))])
def test_options_are_shuffled_and_the_right_one_stays_right(name, file):
    published = make_task(name, data=DATA / file, seed=None)
    other = make_task(name, data=DATA / file, seed=1)
    moved = 0
    for index, question in enumerate(rows(name, file)):
        plain, again = published.question("test", index), other.question("test", index)
        gold = {q.choices[ascii_uppercase.index(q.answer)] for q in (plain, question, again)}
        assert len(gold) == 1
        assert sorted(plain.choices) == sorted(question.choices) == sorted(again.choices)
        moved += plain.choices != question.choices
    assert moved > 0.5 * len(rows(name, file))


def test_gold_letters_of_arc_are_spread_evenly():
    letters = [question.answer for question in rows("arc_challenge", "arc_challenge/ARC-Challenge-Dev.jsonl")]
    assert all(0.17 < letters.count(letter) / len(letters) < 0.33 for letter in "ABCD")


def test_lettered_rows_of_bbh_keep_their_wording_but_for_the_order_of_options():
    file = "bbh/logical_deduction_three_objects.json"
    plain = make_task("bbh/logical_deduction_three_objects", data=DATA / file, seed=None)
    published = json.loads((DATA / file).read_text())["examples"]
    for index, row in enumerate(published):
        question = plain.question("test", index)
        assert question.prompt == row["input"]
        assert f"({question.answer})" == row["target"]
        shuffled = load("bbh/logical_deduction_three_objects", file).question("test", index)
        assert sorted(re.sub(r"\([A-C]\) ", "", shuffled.prompt).splitlines()) == sorted(
            re.sub(r"\([A-C]\) ", "", row["input"]).splitlines()
        )


def test_complete_files_are_known_as_published_and_changed_ones_are_not(tmp_path):
    for name, file, _, count in FILES:
        task = load(name, file)
        if count == task.rows.get("test") or (name == "mmlu/abstract_algebra" and count == 100):
            assert task.origin("test") == "as published", name
    text = (DATA / "bbh/object_counting.json").read_text()
    changed = tmp_path / "object_counting.json"
    changed.write_text(text.replace('"target": "8"', '"target": "9"', 1))
    assert make_task("bbh/object_counting", data=changed).origin("test") == "not as published"


def test_a_partition_divides_the_rows_without_overlap_and_whatever_their_order():
    name, file = "bbh/object_counting", "bbh/object_counting.json"
    task = make_task(name, data=DATA / file, partition="60-20-20")
    parts = {s: {task.question(s, i).prompt for i in range(task.size(s))} for s in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 250
    assert 120 < len(parts["train"]) < 180
    assert min(map(len, parts.values())) > 25
    with pytest.raises(UsageError, match="partition"):
        make_task(name, data=DATA / file, partition="60-40")


def test_solved_examples_come_from_the_development_rows_only():
    task = make_task("mmlu/abstract_algebra", data=DATA / "mmlu", shots=5)
    development = rows("mmlu/abstract_algebra", "mmlu/abstract_algebra_dev.csv")
    prompt = task.question("test", 0).prompt
    for question in development:
        assert f"{question.prompt}\nAnswer: {question.answer}\n\n" in prompt
    assert prompt.endswith(rows("mmlu/abstract_algebra", "mmlu/abstract_algebra_test.csv")[0].prompt)
    gsm = make_task("gsm8k", data=DATA / "gsm8k", shots=4)
    assert gsm.size("train") == 996
    examples = gsm.question("train", 0).prompt.count("#### ")
    assert examples == 4
    with pytest.raises(UsageError, match="development"):
        make_task("mmlu/abstract_algebra", data=DATA / "mmlu/abstract_algebra_test.csv", shots=5).question("test", 0)


def test_a_folder_without_files_of_the_task_is_refused(tmp_path):
    with pytest.raises(DataFileError, match="holds no file of gsm8k"):
        make_task("gsm8k", data=tmp_path).size("test")
