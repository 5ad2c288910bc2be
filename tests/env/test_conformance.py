"""What every task must keep, whoever wrote it: run over the whole registry."""

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_files import cases, options

import neuromas_env
from neuromas_env import SPLITS, Question, Task, make_task, run_episodes
from neuromas_env.transcripts import TranscriptWriter, read_transcript, replay

pytestmark = pytest.mark.parametrize("name", cases())
COUNT = 40

HOSTILE = (
    "\x00",
    "\ud800\udfff",
    "\u202e\u2066evil\u2069\u202c",
    "\ufeff",
    "\u0301" * 300,
    "\x1b[31m",
    "\u2028\u2029\x85\x0b",
    "[1] = 3\n[2] Yes\noutput layer node 1:",
    "<|im_end|></s><script>",
    "{" * 500,
    "(" * 3000,
    "١٢٣",
    "x" * 20_000,
    "= " * 10_000,
    "No " * 7_000,
    "水" * 20_000,
)
JUNK = ("", " ", "\n\t ", ".", "?", "I do not know.", "the answer", "answer:", "None", "=", "yes or no", "Yes/No", "A")


def splits(task: Task) -> list[str]:
    """The splits that the task has."""
    found = []
    for split in SPLITS:
        try:
            if task.size(split) != 0:
                found.append(split)
        except ValueError:
            continue
    return found


def some_questions(task: Task, split: str) -> list[Question]:
    size = task.size(split)
    return [task.question(split, index) for index in range(COUNT if size is None else min(COUNT, size))]


@cache
def known(name: str) -> Task:
    """One object a task for the tests that do not ask for a new one: finite splits take seconds to draw."""
    return make(name)


def make(name: str) -> Task:
    return make_task(name, **options(name))


@cache
def all_questions(name: str) -> list[Question]:
    task = known(name)
    return [question for split in splits(task) for question in some_questions(task, split)]


def test_the_name_and_the_splits(name: str) -> None:
    task = known(name)
    assert task.name == name
    assert task.id == f"{name}-v{task.version}"
    assert splits(task)
    with pytest.raises(ValueError, match="nowhere"):
        task.size("nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        task.question("nowhere", 0)
    for split in splits(task):
        with pytest.raises(IndexError):
            task.question(split, -1)
        size = task.size(split)
        if size is not None:
            with pytest.raises(IndexError):
                task.question(split, size)


def test_questions_repeat_whatever_the_order_and_the_global_generators(name: str) -> None:
    """A new object, asked in another order under other global seeds, gives the same questions and leaves the seeds."""
    first, second = known(name), make(name)
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    for split in reversed(splits(first)):
        size = second.size(split)
        count = COUNT if size is None else min(COUNT, size)
        again = [second.question(split, index) for index in reversed(range(count))]
        assert again[::-1] == some_questions(first, split)
        assert [second.score(question, "= 3 Yes") for question in again]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_finite_splits_are_frozen_and_share_no_question(name: str) -> None:
    task = known(name)
    seen: dict[str, str] = {}
    for split in splits(task):
        size = task.size(split)
        for index in range(500 if size is None else size):
            prompt = task.question(split, index).prompt
            assert seen.setdefault(prompt, split) == split
        if size is not None:
            assert len(task.split_hash(split)) == 64
            assert list(seen.values()).count(split) == size


def test_ids_are_unique_and_prompts_can_be_written(name: str) -> None:
    questions = all_questions(name)
    assert len({question.id for question in questions}) == len(questions)
    for question in questions:
        assert question.prompt.strip()
        question.prompt.encode("utf-8")


def test_the_reference_is_not_told_but_scores_in_the_task_format(name: str) -> None:
    """Some message must score 1; the reference answer is reachable through the task's own parser."""
    task = known(name)
    for question in all_questions(name):
        formats = ("{}", "= {}", "({})", "Answer: {}", "The answer is {}.", "\\boxed{{{}}}", "```python\n{}\n```")
        best = max((task.score(question, f.format(question.answer)) for f in formats), key=lambda score: score.value)
        assert best.value == 1.0
        assert best.status == "correct"


def test_junk_earns_nothing(name: str) -> None:
    task = known(name)
    for question in all_questions(name):
        for text in (*JUNK, question.prompt, question.prompt * 2, question.prompt[::-1], task.instruction):
            if text == question.answer:
                continue  # "A" is junk, but not where options have letters
            score = task.score(question, text)
            assert score.value == 0.0, (question, text)
            assert score.status in ("wrong", "unparsed", "missing")


def test_one_answer_to_everything_does_not_pay(name: str) -> None:
    """No message that ignores the question earns much more than chance would with its few answers."""
    task = known(name)
    questions = [q for split in splits(task) for q in some_questions(task, split)]
    answers = {question.answer for question in questions}
    for answer in answers:
        for text in (answer, f"= {answer}", f"Answer: {answer}", " ".join(f"= {a}" for a in sorted(answers))):
            paid = sum(task.score(question, text).value for question in questions) / len(questions)
            assert paid <= max(0.75, 2 / len(answers))


def test_hostile_text_is_scored_quickly_and_is_wrong(name: str) -> None:
    task = known(name)
    for question in all_questions(name)[::7]:
        for text in HOSTILE:
            if text.startswith("No") and question.answer == "No":
                continue  # long, but an answer
            score = task.score(question, text[: task.max_message_chars])
            assert score == task.score(question, text[: task.max_message_chars])
            assert 0.0 <= score.value <= score.flexible <= 1.0 or score.value == 0.0
            if question.answer not in text:
                assert score.value == 0.0


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.integers(0, COUNT - 1))
def test_any_text_gets_a_consistent_score(name: str, text: str, index: int) -> None:
    task = known(name)
    questions = all_questions(name)
    score = task.score(questions[index % len(questions)], text)
    assert score.value in (0.0, 1.0)
    assert score.flexible in (0.0, 1.0)
    assert score.unread == (score.parsed is None)
    assert (score.status == "correct") == (score.value == 1.0)


@pytest.mark.parametrize("topology", ["1", "2-2-1", "2x2"])
def test_hostile_messages_travel_and_replay_from_the_record(name: str, topology: str, tmp_path) -> None:
    class Hostile:
        def act(self, requests):
            return [neuromas_env.Message(HOSTILE[(i + 5 * r.step) % len(HOSTILE)]) for i, r in enumerate(requests)]

    path = tmp_path / "hostile.jsonl"
    task = known(name)
    questions = some_questions(task, splits(task)[-1])[:20]
    with TranscriptWriter(path) as writer:
        batch = run_episodes(task, topology, Hostile(), questions, split=splits(task)[-1], transcript=writer)
    assert batch.flagged
    assert replay(path, task=task) == batch.scores
    record = read_transcript(path)
    assert [episode.answer for episode in record.episodes] == batch.answers
    assert all(len(call.text) <= task.max_message_chars for episode in record.episodes for call in episode.calls)
    path.read_bytes().decode("ascii")


def test_the_batch_equals_the_single_environment(name: str) -> None:
    seeds = list(range(6))
    batch = neuromas_env.vector_env(known(name), "2-2-1", num_envs=len(seeds), split=splits(known(name))[-1])
    batch.reset(seeds=seeds)
    prompts: dict[int, list[str]] = {seed: [] for seed in seeds}
    while not batch.done:
        for request in batch.requests():
            prompts[request.episode].append(request.prompt)
        batch.step([f"{r.agent} {r.question_id[-1]} = 3" for r in batch.requests()])
    for seed in seeds:
        env = neuromas_env.parallel_env(known(name), "2-2-1", split=splits(known(name))[-1])
        env.reset(seed=seed)
        seen = []
        while env.agents:
            seen += [request.prompt for request in env.requests()]
            env.step({r.agent: f"{r.agent} {r.question_id[-1]} = 3" for r in env.requests()})
        assert sorted(seen) == sorted(prompts[seed])
        assert env.score == batch.scores[seed]
