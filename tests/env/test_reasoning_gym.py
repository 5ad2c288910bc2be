"""The tasks of reasoning_gym: sound scores, frozen splits, nothing left behind; and the sweep that admits datasets."""

from __future__ import annotations

import decimal
import json
import os
import random
import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromas_env import Question, make_task, task_names
from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.task import questions_hash
from neuromas_env.tasks import rg, rg_sweep
from neuromas_env.tasks.generated import split_of
from neuromas_env.tasks.rg import ReasoningGym, Source, read_answer, register

needs_reasoning_gym = pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="reasoning_gym is not installed")
pytestmark = needs_reasoning_gym
ADMITTED = sorted(register()["admitted"])
THOROUGH = (
    "basic_arithmetic",
    "acre",
    "game_of_life",
    "letter_jumble",
    "n_queens",
    "pool_matrix",
    "tsumego",
)
HOSTILE = (
    *("\x00", "\ud800\udfff", "\u202e\u2066evil\u2069\u202c", "\u0301" * 300, "{" * 500, "(" * 3000, "١٢٣"),
    *("x" * 20_000, "= " * 10_000, "No " * 7_000, "水" * 20_000, "9" * 20_000, "9**" * 7_000, "1," * 10_000),
    *("nan", "inf", "1e999999999", "[NaN]", "[[]]", "{}", "<|im_end|></s>", "[1] = 3\n[2] Yes\noutput layer node 1:"),
)
JUNK = ("", " ", "\n\t ", ".", "?", "I do not know.", "the answer", "answer:", "None", "=", "yes or no", "Yes/No")


@cache
def known(name: str) -> ReasoningGym:
    return ReasoningGym(name)


def some_questions(task: ReasoningGym, count: int) -> list[Question]:
    """Questions of every split."""
    sizes = {split: task.size(split) or count for split in ("train", "validation", "test")}
    return [task.question(split, index) for split, size in sizes.items() for index in range(min(count, size))]


# Reading and judging.


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("42", "42"),
        ("  42 \n", "42"),
        ("Answer: 42", "42"),
        ("answer:42", "42"),
        ("**Answer:** 42", "42"),
        ("**Answer**: 42", "42"),
        ("Answer: 41. No!\nAnswer: 42", "42"),
        ("I add.\nAnswer:\n1 2\n3 4\n", "1 2\n3 4"),
        ("<answer>42</answer>", "42"),
        ("Answer: 7 <answer> 42\n</answer> Answer: 8", "42"),
        ("<answer>41</answer> no, <answer>42</answer>", "42"),
        ("<answer>42", "<answer>42"),
        ("42</answer>", "42</answer>"),
        ("the answer is 42", "the answer is 42"),
        ("", None),
        ("\n ", None),
        ("Answer:", None),
        ("<answer> </answer>", None),
        ("42\nAnswer: ", None),
    ],
)
def test_one_answer_is_read_from_a_message(text: str, answer: str | None) -> None:
    assert read_answer(text) == answer


@given(st.text())
def test_what_stands_in_tags_is_read_whatever_comes_before_it(before: str) -> None:
    assert read_answer(f"{before}<answer>x y</answer>") == "x y"


def test_strict_wants_the_answer_alone_and_flexible_takes_the_last_lines() -> None:
    task = known("spiral_matrix")
    one = task.question("test", 0)
    assert task.score(one, f"I walk inwards.\n{one.answer}").value == 0.0
    assert task.score(one, f"I walk inwards.\n{one.answer}").flexible == 1.0
    assert task.score(one, f"{one.answer}\nI walked inwards.").flexible == 0.0
    task = known("rotate_matrix")
    grid = next(q for q in some_questions(task, 20) if "\n" in q.answer)
    score = task.score(grid, f"I turn it.\n{grid.answer}")
    assert (score.value, score.flexible) == (0.0, 1.0)
    assert task.parse(grid, f"I turn it.\n{grid.answer}", strict=False) == grid.answer


def test_the_status_says_how_it_ended() -> None:
    task = known("chain_sum")
    question = task.question("test", 0)
    assert task.score(question, "").status == "missing"
    assert task.score(question, "Answer: ").status == "unparsed"
    assert task.score(question, "Answer: no").status == "wrong"
    assert task.score(question, f"Answer: {question.answer}").status == "correct"


WRONG_BUT_PAID_BY_THE_SCORER = {
    "advanced_geometry": lambda q: f"{q.answer}, or not" if "," in q.answer else None,
    "complex_arithmetic": lambda q: "nan",
    "figlet_font": lambda q: None,
    "fraction_simplification": lambda q: q.answer.strip("$") + " and more" if "frac" in q.answer else None,
    "game_of_life": lambda q: q.answer[:-1] + ",[1,1]]",
    "gsm_symbolic": lambda q: f"{q.answer} or 17",
    "letter_jumble": lambda q: f"{q.answer} {q.answer}",
    "number_sorting": lambda q: "[" + ", ".join(["NaN"] * len(q.answer.split(","))) + "]",
    "polynomial_equations": lambda q: f"{q.answer}, who knows",
    "puzzle24": lambda q: "4*6*1*1",
    "sokoban": lambda q: f"{q.answer} hooray",
    "time_intervals": lambda q: f"{q.answer} or so" if q.answer.endswith("days") else None,
}


@pytest.mark.parametrize("name", WRONG_BUT_PAID_BY_THE_SCORER)
def test_guards_refuse_what_the_scorer_would_pay(name: str) -> None:
    """The scorer itself is asked first: where it no longer pays, the guard is of no use any more."""
    task, source, paid = known(name), Source(name), 0
    for question in some_questions(task, 12):
        text = WRONG_BUT_PAID_BY_THE_SCORER[name](question)
        if text is None or text == question.answer:
            continue
        entry = source.entry(question.metadata["number"])
        assert entry is not None
        paid += float(source._dataset(0).score_answer(text, {**entry, "metadata": dict(entry["metadata"])})) == 1.0
        assert task.score(question, text).flexible == 0.0, text
        assert task.score(question, question.answer).value == 1.0
    assert paid or name == "figlet_font"


def test_a_full_score_is_exactly_one() -> None:
    """spell_backward adds up sixths to 0.9999999999999999 for a right beginning."""
    task = known("spell_backward")
    question = next(q for q in some_questions(task, 50) if len(q.answer) == 6)
    assert task.score(question, f"{question.answer}zzz").value == 0.0


@pytest.mark.parametrize(
    ("name", "answer", "metadata", "allowed"),
    [
        ("countdown", "(7 - 3)*2", {"numbers": [2, 3, 7], "target": 8}, True),
        ("countdown", "7 - 3*2", {"numbers": [2, 3, 7], "target": 8}, False),
        ("countdown", "3**2 - 1", {"numbers": [1, 2, 3], "target": 8}, False),
        ("countdown", "17//2", {"numbers": [2, 17], "target": 8}, False),
        ("countdown", "2(3)", {"numbers": [2, 3], "target": 6}, False),
        ("countdown", "8/(1 - 1)", {"numbers": [1, 1, 8], "target": 8}, False),
        ("countdown", "(" * 400 + "8" + ")" * 400, {"numbers": [8], "target": 8}, False),
        ("countdown", "__import__('os')", {"numbers": [], "target": 8}, False),
        ("puzzle24", "49/2 + 0", {"numbers": [0, 2, 49]}, False),
        ("puzzle24", "4*6*1*1", {"numbers": [1, 1, 4, 6]}, True),
        ("puzzle24", "4*6*1*1", {"numbers": [1, 2, 4, 6]}, False),
        ("simple_integration", "-3*X**2/7 + 2*X - C", {"variable": "X"}, True),
        ("simple_integration", "(3/7)*X**2 + 1/2", {"variable": "X"}, True),
        ("simple_integration", "X**9**9", {"variable": "X"}, False),
        ("simple_integration", "X**999", {"variable": "X"}, False),
        ("simple_integration", "sin(X)", {"variable": "X"}, False),
        ("simple_integration", "X.__class__", {"variable": "X"}, False),
        ("simple_integration", "Y**2", {"variable": "X"}, False),
        ("simple_integration", "+".join("X" * 21), {"variable": "X"}, False),
        ("n_queens", "[['Q']]", {"valid_answers": ["Q _"]}, False),
    ],
)
def test_no_scorer_runs_what_a_model_writes(name: str, answer: str, metadata: dict, allowed: bool) -> None:
    assert rg.GUARDS[name].allows(answer, {"answer": "", "metadata": metadata}) is allowed


def test_numbers_are_read_in_plain_notation_only() -> None:
    assert rg._number("-12.50") == -12.5
    for text in ("nan", "inf", "1e9", "1_000", "١٢", "", "--1", "1.", "9" * 41):
        with pytest.raises(ValueError):
            rg._number(text)


# All that are admitted.


def check_soundness(name: str, count: int) -> None:
    """The reference is right in each way to write it; nothing else is."""
    task = known(name)
    questions = some_questions(task, count)
    for question, other in zip(questions, [*questions[1:], questions[0]], strict=True):
        for form in ("{}", "\n  {} \n", "Answer: {}", "So.\n\n**Answer:**\n{}", "<answer>\n{}\n</answer>"):
            score = task.score(question, form.format(question.answer))
            assert (score.value, score.flexible, score.status) == (1.0, 1.0, "correct"), (question, form)
        texts = [*JUNK, question.prompt, question.prompt * 2, question.prompt[::-1], task.instruction]
        for text in (*texts, *(text for text in HOSTILE if question.answer not in text)):
            score = task.score(question, text)
            assert score.value == 0.0, (question, text)
            assert score.unread == (score.parsed is None)
        if task.score(question, other.answer).value == 0.0:
            assert task.score(question, f"{question.answer}\n{other.answer}").value == 0.0
            assert task.score(question, f"{other.answer} or {question.answer}").value == 0.0
        assert len(question.answer.encode()) <= task.max_message_tokens
        assert len(question.answer) <= task.max_message_chars


@pytest.mark.parametrize("name", ADMITTED)
def test_the_reference_is_right_and_nothing_else(name: str) -> None:
    check_soundness(name, 2)


@pytest.mark.parametrize("name", THOROUGH)
def test_the_reference_is_right_and_nothing_else_for_many_questions(name: str) -> None:
    check_soundness(name, 25)


@pytest.mark.parametrize("name", THOROUGH)
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=100), index=st.integers(0, 30))
def test_any_text_gets_a_consistent_score(name: str, text: str, index: int) -> None:
    task = known(name)
    score = task.score(task.question("test", index), text)
    assert score.value in (0.0, 1.0)
    assert score.value <= score.flexible <= 1.0
    assert score.unread == (score.parsed is None)
    assert (score.status == "correct") == (score.value == 1.0)


@pytest.mark.parametrize("name", ADMITTED)
def test_the_head_of_the_test_split_is_the_recorded_one(name: str) -> None:
    task, record = known(name), register()["admitted"][name]
    if rg.installed_version() != register()["reasoning_gym"]:
        pytest.skip(f"reasoning_gym {rg.installed_version()} is installed; {register()['reasoning_gym']} is recorded")
    count = rg_sweep.HEAD
    assert questions_hash(task.question("test", index) for index in range(count))[:16] == record["head"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ADMITTED)
def test_the_test_split_is_the_recorded_one(name: str) -> None:
    assert known(name).split_hash("test") == register()["admitted"][name]["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ADMITTED)
def test_finite_splits_hold_no_question_twice_and_none_of_another_split(name: str) -> None:
    task = known(name)
    for split in ("validation", "test"):
        size = task.size(split)
        assert size
        prompts = [task.question(split, index).prompt for index in range(size)]
        assert len(set(prompts)) == size >= (rg_sweep.LEAST if split == "test" else 1)
        assert {split_of(prompt) for prompt in prompts} == {split}


@pytest.mark.parametrize("name", THOROUGH)
def test_training_questions_are_in_no_other_split(name: str) -> None:
    task = known(name)
    assert {split_of(task.question("train", index).prompt) for index in range(200)} == {"train"}
    assert split_of(task.question("validation", 0).prompt) == "validation"
    assert split_of(task.question("test", 0).prompt) == "test"


# Reproducibility.


def test_questions_and_scores_are_the_same_in_another_process() -> None:
    """Another hash seed, another order, other global states; the questions themselves travel as text."""
    code = """
import json, random, sys
import numpy as np
from neuromas_env import Question
from neuromas_env.tasks.rg import ReasoningGym
random.seed(5), np.random.seed(5)
names, sent = json.loads(sys.stdin.read())
found = {}
for name in reversed(names):
    task = ReasoningGym(name)
    drawn = {(s, i): task.question(s, i) for s in ("test", "train", "validation") for i in (5, 2, 0)}
    found[name] = [[q.id, q.prompt, q.answer, dict(q.metadata)] for _, q in sorted(drawn.items())]
    for question in (Question(id, prompt, answer, metadata=metadata) for id, prompt, answer, metadata in sent[name]):
        assert task.score(question, question.answer).value == 1.0
print(json.dumps(found, sort_keys=True))
"""
    mine = {}
    for name in ADMITTED:
        task = ReasoningGym(name)
        keys = sorted((split, index) for split in ("train", "validation", "test") for index in (0, 2, 5))
        questions = [task.question(split, index) for split, index in keys]
        mine[name] = [[q.id, q.prompt, q.answer, dict(q.metadata)] for q in questions]
    outputs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            input=json.dumps([ADMITTED, mine]),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("3", "4")
    ]
    assert json.loads(outputs[0]) == json.loads(json.dumps(mine))
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("name", ADMITTED)
def test_global_states_are_left_alone_and_do_not_matter(name: str, capsys) -> None:
    first = some_questions(known(name), 2)
    random.seed(1), np.random.seed(1)
    decimal.getcontext().prec = 7
    try:
        before = random.getstate(), np.random.get_state()[1].tolist()
        task = ReasoningGym(name)
        assert some_questions(task, 2) == first
        assert [task.score(question, question.answer).value for question in first] == [1.0] * len(first)
        assert [task.score(question, "Move disk 1 from Peg 9 to Peg 8").value for question in first] == [0.0] * len(
            first
        )
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before
        assert decimal.getcontext().prec == 7
    finally:
        decimal.setcontext(decimal.Context())
    assert capsys.readouterr().out == ""


def test_questions_carry_plain_data() -> None:
    for name in THOROUGH:
        for question in some_questions(known(name), 2):
            assert json.loads(json.dumps(dict(question.metadata))) == dict(question.metadata)


def test_a_question_of_another_version_is_not_scored() -> None:
    task = known("chain_sum")
    question = task.question("test", 0)
    foreign = Question(question.id, question.prompt + "?", question.answer, metadata=question.metadata)
    with pytest.raises(UsageError, match="makes another question"):
        task.score(foreign, foreign.answer)


def test_another_version_shows_in_ids_and_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = known("chain_sum")
    monkeypatch.setattr(rg, "installed_version", lambda: "9.9.9")
    monkeypatch.setitem(rg.SIZES, "test", 8)
    other = ReasoningGym("chain_sum")
    assert "9.9.9" in other.variant
    assert "9.9.9" in other.source
    assert register()["reasoning_gym"] in other.source
    assert "9.9.9" in other.question("train", 0).id
    assert other.size("test") == 8
    questions = [recorded.question("test", index) for index in range(8)]
    assert [other.question("test", index).prompt for index in range(8)] == [question.prompt for question in questions]
    assert other.split_hash("test") != questions_hash(questions)


# Difficulty.


def test_difficulty_is_a_level_of_the_curriculum() -> None:
    easy, hard, both = (ReasoningGym("chain_sum", difficulty=text) for text in ("0", "3", "0-3"))
    assert max(q.prompt.count("+") + q.prompt.count(" - ") for q in some_questions(easy, 20)) < max(
        q.prompt.count("+") + q.prompt.count(" - ") for q in some_questions(hard, 20)
    )
    assert {q.metadata["level"] for q in some_questions(both, 20)} == {0, 1, 2, 3}
    assert {q.metadata["level"] for q in some_questions(hard, 5)} == {3}
    for task in (easy, hard, both):
        question = task.question("test", 1)
        assert known("chain_sum").score(question, question.answer).value == 1.0
    scarce = register()["admitted"]["chain_sum"]["scarce_levels"]
    assert (0 in scarce, 3 in scarce) == (True, False)
    assert 0 < easy.size("test") < 500 == hard.size("test")
    assert len({hard.question("test", index).prompt for index in range(30)}) == 30


def test_levels_that_run_out_of_questions_hold_what_there_is() -> None:
    name, level = next(
        (n, record["scarce_levels"][0])
        for n, record in register()["admitted"].items()
        if n == "tsumego" or record["scarce_levels"]
    )
    task = ReasoningGym(name, difficulty=str(level))
    size = task.size("test")
    assert size is not None
    assert len({task.question("test", index).prompt for index in range(size)}) == size
    with pytest.raises(IndexError):
        task.question("test", size)


@pytest.mark.parametrize("name", [name for name in ADMITTED if register()["admitted"][name]["levels"]])
def test_the_hardest_level_that_is_quick_has_questions(name: str) -> None:
    levels = register()["admitted"][name]["levels"]
    task = ReasoningGym(name, difficulty=str(levels[0] if name in rg.SLOW else levels[-1]))
    question = task.question("train", 0)
    assert task.score(question, f"Answer: {question.answer}").value == 1.0
    assert task.score(question, "I do not know.").value == 0.0


@pytest.mark.parametrize("text", ["99", "-1", "x", "3-1", "0-99", ""])
def test_a_difficulty_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="difficulty"):
        ReasoningGym("chain_sum", difficulty=text)


def test_levels_with_a_gap_are_refused() -> None:
    levels = register()["admitted"]["modulo_grid"]["levels"]
    gap = next(level for level in range(levels[0], levels[-1]) if level not in levels)
    with pytest.raises(UsageError, match=f"no level {gap}"):
        ReasoningGym("modulo_grid", difficulty=f"{levels[0]}-{levels[-1]}")


def test_a_dataset_without_a_curriculum_takes_no_difficulty() -> None:
    with pytest.raises(UsageError, match="no levels"):
        ReasoningGym("acre", difficulty="0")


# What can go wrong, and the catalogue.


def test_all_that_are_admitted_are_tasks_and_no_others() -> None:
    assert [name for name in task_names() if name.startswith("rg/")] == [f"rg/{name}" for name in ADMITTED]
    assert len(ADMITTED) >= 90
    assert not set(ADMITTED) & set(register()["refused"])
    task = make_task("rg/chain_sum", difficulty="1")
    assert (task.name, task.id, task.licence) == ("rg/chain_sum", "rg/chain_sum-v0", "Apache-2.0")


def test_a_refused_dataset_says_why() -> None:
    with pytest.raises(UsageError, match=r"rg/codeio is no task: .*exec"):
        ReasoningGym("codeio")
    with pytest.raises(UnknownNameError, match="did you mean rg/chain_sum"):
        ReasoningGym("chain_sun")


def test_every_guard_is_of_a_dataset_that_is_admitted() -> None:
    assert set(rg.GUARDS) <= set(ADMITTED)
    assert set(rg.SLOW) <= {*ADMITTED, *register()["refused"]}


def test_splits_are_numbered_from_zero() -> None:
    task = known("chain_sum")
    for split, size in (("train", None), ("validation", 200), ("test", 500)):
        assert task.size(split) == size
        with pytest.raises(IndexError):
            task.question(split, -1)
        if size is not None:
            with pytest.raises(IndexError):
                task.question(split, size)
    with pytest.raises(ValueError, match="nowhere"):
        task.size("nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        task.question("nowhere", 0)


def test_without_reasoning_gym_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise rg.PackageNotFoundError(name)

    monkeypatch.setattr(rg, "version", missing)
    rg.installed_version.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'neuromas\[tasks\]'"):
        ReasoningGym("chain_sum")
    rg.installed_version.cache_clear()


def test_nothing_of_reasoning_gym_is_imported_before_a_question_is_asked() -> None:
    code = (
        "import sys; from neuromas_env import make_task; task = make_task('rg/chain_sum');"
        "assert task.size('test') == 500 and 'reasoning_gym' not in sys.modules;"
        "task.question('train', 0); assert 'reasoning_gym' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_packed_numbers_come_back() -> None:
    numbers = (rg.FINITE + 3, rg.FINITE + 4, rg.FINITE + 4000)
    assert rg.pack(numbers) == "3 1 3996"
    assert rg._numbers(rg.pack(numbers)) == numbers
    assert rg._numbers("") == ()


# The sweep.


def test_the_sweep_admits_and_refuses_for_the_right_reasons(capsys) -> None:
    names = ("gsm_symbolic", "rush_hour", "ransom_note", "coin_flip", "codeio")
    rg_sweep.rg_sweep(datasets=names)
    out = capsys.readouterr().out
    table = {
        line.split()[0]: " ".join(line.split()[1:]) for line in out.partition("\ndataset ")[2].splitlines() if line
    }
    assert table["gsm_symbolic"].startswith("admitted")
    assert "no reference answer" in table["rush_hour"]
    assert "another process" in table["ransom_note"]
    assert "it pays for" in table["coin_flip"]
    assert "exec" in table["codeio"]
    assert "1 admitted, 4 refused" in out


def test_the_sweep_finds_what_guards_are_there_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without their guards these datasets fail."""
    monkeypatch.setattr(rg, "GUARDS", {})
    monkeypatch.setattr(rg_sweep, "GUARDS", {})
    sys.addaudithook(rg_sweep._audit)  # for good: it does nothing but in a trial
    for name in ("game_of_life_halting", "puzzle24", "letter_jumble", "gsm_symbolic", "sokoban", "word_sorting"):
        assert "pays for" in rg_sweep.try_level(name, None, 20).reason or name == "puzzle24"
    for name in ("binary_matrix", "n_queens", "spiral_matrix", "string_insertion", "countdown", "simple_integration"):
        assert "evaluates the answer" in rg_sweep.try_level(name, None, 20).reason


def test_a_worker_that_hangs_or_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = rg_sweep.Worker("1", disguised=False)
    try:
        worker.send(rg_sweep.repeat, "futoshiki", 3, list(range(100_000)))
        with pytest.raises(rg_sweep.UnsoundError, match="longer than"):
            worker.receive(3.0)
        worker.send(rg_sweep.repeat, "no such dataset", None, [0])
        with pytest.raises(rg_sweep.UnsoundError, match="KeyError"):
            worker.receive(60.0)
        worker._process.kill()
        with pytest.raises(rg_sweep.UnsoundError, match="ends the process"):
            worker.receive(60.0)
        worker.send(rg_sweep.repeat, "chain_sum", None, [0, 1])
        assert set(worker.receive(60.0)) == {0, 1}
    finally:
        worker.stop()


def test_the_sweep_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UsageError, match="--write"):
        rg_sweep.rg_sweep(write="out.json", datasets=("chain_sum",))
    with pytest.raises(UnknownNameError, match="chain_sum"):
        rg_sweep.rg_sweep(datasets=("chain_sun",))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_whole_sweep_gives_what_is_recorded(tmp_path) -> None:
    path = tmp_path / "rg.json"
    rg_sweep.rg_sweep(write=str(path))
    found, recorded = json.loads(path.read_text()), register()
    assert set(found["admitted"]) == set(recorded["admitted"])
    assert {name: record["sha256"] for name, record in found["admitted"].items()} == {
        name: record["sha256"] for name, record in recorded["admitted"].items()
    }
