"""HumanEval and MBPP as tasks: what is read as a program, who may run it, and what it earns."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
from made_files import options

from neuromas_env import Message, Task, make_task, run_episodes
from neuromas_env.errors import UsageError
from neuromas_env.sandbox import isolation
from neuromas_env.tasks.programs import compiles, read_program

needs_data = pytest.mark.skipif("NEUROMAS_DATA" not in os.environ, reason="NEUROMAS_DATA names no benchmark files")
needs_isolation = pytest.mark.skipif(not isolation().sufficient, reason=f"programs cannot be locked in: {isolation()}")


@cache
def humaneval() -> Task:
    data = Path(os.environ["NEUROMAS_DATA"]) / "humaneval/HumanEval.jsonl.gz"
    return make_task("humaneval", data=data, allow_code_execution=True)


@cache
def made(name: str) -> Task:
    return make_task(name, **options(name))


class Says:
    def __init__(self, say) -> None:
        self.say = say

    def act(self, requests):
        return [Message(self.say(request)) for request in requests]


@needs_data
@needs_isolation
def test_every_reference_solution_earns_one_through_the_environment():
    """Half of them as the body that continues the prompt, half as a whole function in a fenced block."""
    task = humaneval()
    questions = [task.question("test", index) for index in range(164)]
    texts = {
        q.id: f"Here it is:\n```python\n{q.prompt}{q.answer}\n```\nIt works." if place % 2 else q.answer
        for place, q in enumerate(questions)
    }
    batch = run_episodes(task, "1", Says(lambda request: texts[request.question_id]), questions)
    assert [q.id for q, score in zip(questions, batch.scores, strict=True) if score.value < 1] == []
    assert max(len(text) for text in texts.values()) < task.max_message_chars


@needs_data
@needs_isolation
@pytest.mark.parametrize("say", [lambda request: request.task, lambda request: "    pass\n"], ids=["prompt", "pass"])
def test_the_prompt_and_an_empty_body_earn_nothing(say):
    batch = run_episodes(humaneval(), "1", Says(say), range(164))
    assert batch.rewards_E.sum() == 0


def test_nothing_runs_unless_it_is_allowed(tmp_path):
    for name in ("humaneval", "mbpp"):
        task = make_task(name, data=options(name)["data"])
        question = task.question("test", 0)
        spy = f"open({str(tmp_path / 'spy')!r}, 'w')\n"
        with pytest.raises(UsageError, match="--allow-code-execution"):
            task.score(question, spy)
        with pytest.raises(UsageError, match="--allow-code-execution"):
            run_episodes(task, "1", Says(lambda request, spy=spy: spy), [question])
        assert not (tmp_path / "spy").exists()


BODY = "    return number + 2\n"
WHOLE = "def plus(number):\n    return number + 2"


@needs_isolation
@pytest.mark.parametrize(
    ("text", "value", "flexible", "status"),
    [
        (BODY, 1, 1, "correct"),
        (WHOLE, 1, 1, "correct"),
        (f"```python\n{WHOLE}\n```", 1, 1, "correct"),
        (f"Sure!\n\n```\n{WHOLE}\n```\nThis adds two.", 1, 1, "correct"),
        (f"```python\n{WHOLE}\n```\nUse it so:\n```python\nprint(plus(1))\n```", 1, 1, "correct"),
        (f"```python\ndef plus(number):\n    return 0\n```\nNo:\n```python\n{WHOLE}\n```", 1, 1, "correct"),
        (f"```python\n{WHOLE}\n```\nOr:\n```python\ndef plus(number):\n    return 0\n```", 0, 0, "wrong"),
        (f"```python\n{WHOLE}", 1, 1, "correct"),  # cut at the limit of tokens
        (f"The function:\n{WHOLE}\nThat is all.", 0, 1, "unparsed"),
        (f"import math\n\n{WHOLE}", 1, 1, "correct"),
        ("def minus(number):\n    return number + 2", 0, 0, "wrong"),
        ("    return number + 3\n", 0, 0, "wrong"),
        ("I cannot do that.", 0, 0, "unparsed"),
        ("", 0, 0, "missing"),
        ("   \n", 0, 0, "missing"),
        ("```python\n```", 0, 0, "unparsed"),
    ],
)
def test_what_is_read_as_the_program(text, value, flexible, status):
    task = made("humaneval")
    score = task.score(task.question("test", 0), text)
    assert (score.value, score.flexible, score.status) == (value, flexible, status)


@needs_isolation
def test_mbpp_runs_what_its_tests_call():
    task = made("mbpp")
    questions = [task.question("test", index) for index in range(3)]
    assert [score.value for score in task.score_all(questions, [q.answer for q in questions])] == [1.0] * 3
    cheats = [
        "times = 1",
        "def times(n): return Equal()\nclass Equal:\n    def __eq__(self, other): return True",
        "assert True",
    ]
    assert [score.value for score in task.score_all(questions, cheats)] == [0.0] * 3


@needs_isolation
def test_the_same_program_is_judged_alike_alone_and_among_many():
    task = made("humaneval")
    questions = [task.question("test", index) for index in (0, 1, 0, 2, 1)]
    texts = [BODY, BODY, "    return 0\n", "junk (", WHOLE]
    assert task.score_all(questions, texts) == [task.score(q, t) for q, t in zip(questions, texts, strict=True)]


def test_reading_programs():
    assert read_program("", "f") is None
    assert read_program("x = 1", None) == "x = 1"
    assert read_program("a\n```\none\n```\nb\n```py\ntwo\n```", None) == "two"
    assert read_program("```\ndef f(): pass\n```\n```\ng()\n```", "f") == "def f(): pass"
    assert not compiles("def f(:")
    assert not compiles("x = '\0'")
    assert not compiles("(" * 5000)
    assert compiles("x = 1")
