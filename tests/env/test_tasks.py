"""Chain and navigate: exact oracles, frozen splits that never overlap, readings of answers, and file errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from neuromas_env.errors import DataFileError, UsageError
from neuromas_env.task import Question
from neuromas_env.tasks.chain import Chain
from neuromas_env.tasks.navigate import DIRECTIONS, TURNS, Instruction, Navigate, render, walk

# Raised together with a task's version, or the splits of published results have silently changed.
FROZEN = {
    "chain": "bb29a3a26095e914fa293b76014c0096a8ca7c8c69f463ee8be39f08b9272a38",
    "navigate": "4c0a51d8eca87dcea9b48e621dcf58e3535dcc26e5c8cd9049884a98fb4a51af",
}
DATA = os.environ.get("NEUROMAS_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="NEUROMAS_DATA names no folder with benchmark files")


def published() -> Navigate:
    return Navigate(data=Path(str(DATA)) / "bbh" / "navigate_dev.json")


def read_walk(prompt: str) -> list[Instruction]:
    body = prompt.split("point? ")[1].split("\nOptions")[0]
    found = []
    for text in re.findall(r"(Take \d+ steps?(?: \w+)?|Turn \w+)\.", body):
        parts = text.split()
        if parts[0] == "Turn":
            found.append(Instruction(0, TURNS[parts[1]]))
        else:
            named = len(parts) > 3
            found.append(Instruction(int(parts[1]), DIRECTIONS.index(parts[3]) if named else 0, named))
    return found


def evaluate_chain(prompt: str) -> int:
    """An independent oracle: one Python expression."""
    expression = "0"
    for word in prompt.split():
        if word != ".":
            expression = word if word.isdigit() else f"(({expression}) {word[0]} {word[1:]}) % 10"
    return eval(expression)


@pytest.mark.parametrize("task", [Chain(), Navigate()])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_finite_splits_hold_no_question_twice_and_none_of_training(task, split):
    prompts = [task.question(split, index).prompt for index in range(task.size(split))]
    assert len(set(prompts)) == len(prompts)
    other = "test" if split == "validation" else "validation"
    others = {task.question(other, index).prompt for index in range(task.size(other))}
    training = {task.question("train", index).prompt for index in range(3000)}
    assert not set(prompts) & (others | training)


@pytest.mark.parametrize("task", [Chain(), Navigate()])
def test_splits_are_frozen(task):
    assert task.split_hash("test") == FROZEN[task.name]


def test_questions_do_not_depend_on_the_hash_seed_or_on_what_was_asked_before():
    code = (
        "from neuromas_env.tasks.chain import Chain; from neuromas_env.tasks.navigate import Navigate;"
        "print([t.question(s, i).prompt for t in (Chain(), Navigate()) for s in ('test', 'train') for i in (7, 3)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    here = [t.question(s, i).prompt for t in (Chain(), Navigate()) for s in ("train", "test") for i in (3, 7)]
    assert len(outputs) == 1
    assert sorted(here) == sorted(eval(outputs.pop()))


def test_chain_answers_agree_with_an_independent_oracle():
    task = Chain("1-6")
    for index in range(500):
        question = task.question("train", index)
        assert str(evaluate_chain(question.prompt)) == question.answer
        assert len(question.prompt.split()) == 7
        assert task.score(question, f". . . . . . 3 = {question.answer}").value == 1.0


@pytest.mark.parametrize("style", ["face", "turns", "both"])
def test_navigate_is_balanced_and_its_answers_follow_from_the_text(style):
    task = Navigate(style=style)
    answers = Counter(task.question("test", index).answer for index in range(1000))
    assert answers == {"Yes": 500, "No": 500}
    for index in range(1000):
        question = task.question("test", index)
        instructions = read_walk(question.prompt)
        end = walk(instructions)
        assert question.answer == ("Yes" if end.x == end.y == 0 else "No")
        assert render(instructions, "Always face forward." in question.prompt) == question.prompt


@needs_data
def test_published_navigate_rows_are_read_whole_and_our_wording_is_theirs():
    task = published()
    assert task.size("test") == 125
    assert Counter(task.question("test", i).answer for i in range(125)) == {"No": 68, "Yes": 57}
    for index in range(125):
        question = task.question("test", index)
        instructions = read_walk(question.prompt)
        assert render(instructions, "Always face forward." in question.prompt) == question.prompt
        end = walk(instructions)
        assert question.answer == ("Yes" if end.x == end.y == 0 else "No")
        assert task.score(question, question.answer).value == 1.0
        assert task.score(question, question.prompt).value == 0.0


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("= 7", "7", "7"),
        (". . . . . . 7 = 7", "7", "7"),
        ("= 3 = 7", "7", "7"),
        ("=7", "7", "7"),
        ("7", None, "7"),
        ("the answer is 7", None, "7"),
        ("= 7 +3", None, "7"),
        ("= 17", None, None),
        ("= 7 .", None, "7"),
        ("", None, None),
        (". . +7 -7", None, None),
    ],
)
def test_readings_of_chain_answers(text, strict, flexible):
    task, question = Chain(), Question("q", "", "7")
    assert task.parse(question, text) == strict
    assert task.parse(question, text, strict=False) == flexible


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("Yes", "Yes", "Yes"),
        ("3W +4 -2 No", "No", "No"),
        ("Yes. Wait, that is wrong, so: No.", "No", "No"),
        ("**No**", "No", "No"),
        ("the answer is yes", None, "Yes"),
        ("Yes or No", None, None),
        ("Options:\n- Yes\n- No", None, None),
        ("Yes No", None, None),
        ("None of it; Nothing", None, None),
        ("Yesterday", None, None),
        ("", None, None),
    ],
)
def test_readings_of_navigate_answers(text, strict, flexible):
    task, question = Navigate(), Question("q", "", "Yes")
    assert task.parse(question, text) == strict
    assert task.parse(question, text, strict=False) == flexible


@pytest.mark.parametrize("difficulty", ["0", "7", "3-2", "two", "1-", "-1"])
def test_impossible_difficulties_are_refused(difficulty):
    with pytest.raises(UsageError, match="difficulty"):
        Chain(difficulty)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"examples": [\n{"input": "a", "target": "Yes"},\n{"input": "b" "target": "No"}]}', "line 3"),
        (
            b'{"examples": [\n{"input": "a", "target": "Yes"},\n{"input": "b", "target": "Maybe"}]}',
            "line 3.*Maybe.*Yes, No",
        ),
        (b'{"examples": [{"input": "a"}]}', "example 1.*'target'"),
        (b'{"examples": []}', "examples"),
        (b"[1, 2]", "examples"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_malformed_files_are_refused_with_their_place(tmp_path, content, message):
    path = tmp_path / "navigate.json"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=message) as caught:
        Navigate(data=path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataFileError, match=r"nothing\.json"):
        Navigate(data=tmp_path / "nothing.json")


def test_a_file_with_one_row_is_the_whole_test_split(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"examples": [{"input": "Take 1 step.", "target": "No"}]}))
    task = Navigate(data=path)
    assert task.size("test") == 1
    assert task.size("train") is None
    with pytest.raises(IndexError):
        task.question("test", 1)
