"""The procedural tasks: every question held against an oracle of its own, splits frozen, answers read as told."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromas_env import Question, Task, make_task
from neuromas_env.errors import UsageError
from neuromas_env.tasks import boolean, dyck, listops, multi_hop, sorting, tree
from neuromas_env.tasks.generated import GeneratedTask, between, pick, several, shuffled, split_of
from neuromas_env.tasks.navigate import Navigate

MODULES = (tree, boolean, listops, dyck, multi_hop, sorting)
SOLVERS = {module.__name__.split(".")[-1]: module.solve for module in MODULES}
NAMES = tuple(SOLVERS)
# What difficulty counts, as the metadata of a question calls it, and its range.
LEVELS = {
    "tree": ("depth", 1, 6),
    "boolean": ("values", 3, 12),
    "listops": ("depth", 1, 6),
    "dyck": ("open", 1, 12),
    "multi_hop": ("steps", 1, 8),
    "sorting": ("length", 3, 16),
}
# All answers, where they are few.
DOMAINS = {"tree": "0123456789", "listops": "0123456789", "multi_hop": multi_hop.LETTERS, "boolean": ("True", "False")}

# Raised together with a task's version, or the splits of published results have silently changed.
FROZEN = {
    "tree": ("347905d9a051e480608c67f26abe9bda", "bb8c06fa444ef55a47daa4a94ef29cd3"),
    "boolean": ("aaf25df299db7aed018c236c03ef6e6c", "ed32f37b325bb84eea23f2b56c78d57f"),
    "listops": ("1526001000f3fbfb99bdb889a178eba3", "a308650e81df10115d0edab381cd81a0"),
    "dyck": ("4943164ab38edf12f302546697910fac", "aaa84940f3e959489877adce391da031"),
    "multi_hop": ("3f51ae14a3ebf5473b228453ca7af2f6", "41f4d1096bb166e45d0df3d4eb87c8fe"),
    "sorting": ("d6b47ccd9afaaa7b1ca6263cd9400eb6", "5ef2fca207cf3eea0d2b4b6614f6f936"),
    "navigate face": ("0c9a4971e73eed00b6a5055a676f10e2", "d8d96ff4d163defe0453b4c27c552e5e"),
    "navigate turns": ("ffdb0e69c4b10827464d33bcc2b9120d", "d1bda738444c01270db68bfa407fc483"),
}


def hashes(task: Task) -> tuple[str, str]:
    """The first half of the hashes of both finite splits."""
    return task.split_hash("validation")[:32], task.split_hash("test")[:32]


# --- oracles that share no line with the tasks ---


def tree_oracle(prompt: str) -> str:
    """Innermost brackets first, over all whole numbers; the remainder is taken once, at the end."""
    text = prompt
    while "(" in text:
        text = re.sub(r"\( ([^()]+) \)", lambda m: str(whole_number(m[1])), text)
    return str(int(text) % 10)


def whole_number(inside: str) -> int:
    if "&" in inside:
        return sum(int(a) * int(b) for a, b in combinations(inside.split(" & "), 2))
    return int(eval(inside))


def listops_oracle(prompt: str) -> str:
    """The question as one Python expression."""
    call = re.sub(r"\[([A-Z]+) ", r"\1([", prompt).replace(" ]", "])").replace(" ", ", ")

    def median(digits: list[int]) -> int:
        while len(digits) > 2:
            digits = sorted(digits)[1:-1]
        return sum(digits) // len(digits)

    return str(eval(call, {"MAX": max, "MIN": min, "MED": median, "SM": lambda digits: sum(digits) % 10}))


def dyck_oracle(prompt: str) -> str:
    """Pairs are rubbed out until none is left."""
    text = prompt.replace(" ", "")
    while (shorter := re.sub(r"\(\)|\[\]|\{\}|<>", "", text)) != text:
        text = shorter
    assert not re.search(r"[)\]}>]", text)
    return " ".join(text[::-1].translate(str.maketrans("([{<", ")]}>")))


def multi_hop_oracle(prompt: str) -> str:
    *facts, ending = prompt.removesuffix(".").split(". ")
    pairs = [fact.split(" leads to ") for fact in facts]
    words = ending.split()
    letter = words[2]
    for _ in range(int(words[5])):
        (letter,) = [to for start, to in pairs if start == letter]
    return letter


def sorting_oracle(prompt: str) -> str:
    """Counting sort."""
    counts = Counter(int(number) for number in prompt.split())
    return " ".join(str(number) for number in range(100) for _ in range(counts[number]))


ORACLES = {
    "tree": tree_oracle,
    "boolean": lambda prompt: str(eval(prompt.removesuffix(" is"))),
    "listops": listops_oracle,
    "dyck": dyck_oracle,
    "multi_hop": multi_hop_oracle,
    "sorting": sorting_oracle,
}


def nesting(prompt: str) -> int:
    """How many brackets are open within each other at most."""
    depth = deepest = 0
    for character in prompt:
        depth += (character in "([{<") - (character in ")]}>")
        deepest = max(deepest, depth)
    return deepest


def measured(name: str, prompt: str) -> dict[str, int]:
    """What the metadata of a question must say, from its text."""
    words = prompt.split()
    match name:
        case "tree":
            inner = re.search(r"\( (\d [^()]*\d) \)", prompt)
            assert inner is not None
            arity = len(re.findall(r"\d", inner[1]))
            return {"arity": arity, "depth": nesting(prompt), "leaves": len(re.findall(r"\d", prompt))}
        case "boolean":
            return {"values": words.count("True") + words.count("False")}
        case "listops":
            return {"depth": nesting(prompt)}
        case "dyck":
            return {"open": len(dyck_oracle(prompt).split()), "length": len(words)}
        case "multi_hop":
            return {"steps": int(words[-2]), "facts": prompt.count(" leads to ")}
        case _:
            return {"length": len(words)}


def other_answers(name: str, answer: str) -> list[str]:
    """Wrong answers in the task's own format."""
    if name in DOMAINS:
        return [other for other in DOMAINS[name] if other != answer]
    parts = answer.split()
    others = [parts[::-1], parts[:-1], [*parts, parts[0]], [*parts[1:], parts[0]]]
    return [" ".join(other) for other in others if other and other != parts]


@st.composite
def tasks(draw: st.DrawFn, name: str) -> GeneratedTask:
    _, low, high = LEVELS[name]
    options = {}
    if name == "tree":
        options["arity"] = draw(st.sampled_from(sorted(tree.DEEPEST)))
        high = tree.DEEPEST[options["arity"]]
    first = draw(st.integers(low, high))
    task = make_task(name, difficulty=f"{first}-{draw(st.integers(first, high))}", **options)
    assert isinstance(task, GeneratedTask)
    return task


# --- questions ---


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_question_has_the_answer_of_an_independent_oracle(name: str, data: st.DataObject) -> None:
    task = data.draw(tasks(name))
    draft = task.generate(random.Random(data.draw(st.integers(0, 2**64))))
    assert draft.answer == ORACLES[name](draft.prompt) == SOLVERS[name](draft.prompt)
    assert draft.metadata == measured(name, draft.prompt)
    low, high = map(int, task.variant.split("-")[:2])
    assert low <= draft.metadata[LEVELS[name][0]] <= high
    if name == "tree":
        assert draft.metadata["leaves"] == task.arity ** draft.metadata["depth"]
        assert task.arity == draft.metadata["arity"]
    question = Question("q", draft.prompt, draft.answer)
    for text in (f"= {draft.answer}", f"{draft.prompt} = {draft.answer}\n", f"= {draft.answer} so = {draft.answer}"):
        score = task.score(question, text)
        assert score.value == score.flexible == 1.0
    for wrong in other_answers(name, draft.answer):
        assert task.score(question, f"= {wrong}").status == "wrong"
        assert task.score(question, f"= {draft.answer} no, = {wrong}").flexible == 0.0
    for recited in (draft.prompt, f"{draft.prompt} {draft.prompt}", draft.prompt[::-1], f"{draft.prompt} ="):
        assert task.score(question, recited).value == 0.0
    if name == "sorting":
        assert task.score(question, draft.prompt).flexible == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_every_level_has_finite_splits_that_share_nothing(name: str) -> None:
    _, low, high = LEVELS[name]
    levels = [{"difficulty": str(level)} for level in (low, low + 1, high)]
    if name == "tree":
        levels += [{"difficulty": str(level), "arity": a} for a in (3, 4) for level in (1, 2, tree.DEEPEST[a])]
    for options in levels:
        task = make_task(name, **options)
        assert isinstance(task, GeneratedTask)
        for split, full in (("validation", 500), ("test", 1000)):
            size = task.size(split)
            questions = [task.question(split, index) for index in range(size)]
            assert 20 <= size <= full
            assert size == full or task.scarce
            assert len({question.prompt for question in questions}) == size
            assert {split_of(question.prompt) for question in questions} == {split}
            if task.balanced:
                assert set(Counter(q.answer for q in questions).values()) == {size // len(task.balanced)}
        assert {split_of(task.question("train", index).prompt) for index in range(200)} == {"train"}


@pytest.mark.parametrize("name", NAMES)
def test_splits_are_frozen(name: str) -> None:
    assert hashes(make_task(name)) == FROZEN[name]


@pytest.mark.parametrize("style", ["face", "turns"])
def test_the_styles_of_navigate_are_frozen(style: str) -> None:
    assert hashes(Navigate("2-6", style)) == FROZEN[f"navigate {style}"]


def test_questions_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from neuromas_env import make_task\n"
        f"for name in {NAMES}:\n"
        "    task = make_task(name)\n"
        "    print([task.question(s, i) for s in ('train', 'validation') for i in (9, 2)])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = [[make_task(name).question(s, i) for s in ("train", "validation") for i in (9, 2)] for name in NAMES]
    assert output.splitlines() == [str(questions) for questions in here]


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_split_is_drawn_only_when_a_question_of_it_is_asked_for(name: str, monkeypatch) -> None:
    drawn = []
    draw = GeneratedTask._draw_split
    monkeypatch.setattr(GeneratedTask, "_draw_split", lambda self, *split: drawn.append(split) or draw(self, *split))
    task = make_task(name)
    assert (task.size("train"), task.size("validation"), task.size("test")) == (None, 500, 1000)
    task.question("train", 10**9)
    assert drawn == []
    task.question("test", 3)
    task.question("test", 4)
    assert drawn == [("test", 1000)]


@pytest.mark.parametrize("name", NAMES)
def test_answers_of_training_are_evenly_spread(name: str) -> None:
    task = make_task(name)
    counts = Counter(task.question("train", index).answer for index in range(4000))
    if name in DOMAINS:
        expected = 4000 / len(DOMAINS[name])
        assert set(counts) == set(DOMAINS[name])
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())
    else:
        assert max(counts.values()) < 4000 * 0.03


@pytest.mark.parametrize(("name", "words"), [("tree", "+-*&"), ("listops", ("[MAX", "[MIN", "[MED", "[SM"))])
def test_the_operation_at_the_root_does_not_tell_the_answer(name: str, words: str) -> None:
    task = make_task(name, difficulty="1", **({"arity": 4} if name == "tree" else {}))
    for word in words:
        questions = (task.question("train", index) for index in range(8000))
        counts = Counter(q.answer for q in questions if word in q.prompt.split())
        assert len(counts) == 10
        assert max(counts.values()) < 1.3 * sum(counts.values()) / 10


def test_operations_of_a_tree_depend_on_every_operand_and_one_of_them_on_all_at_once() -> None:
    """Some digits of a group fix a function of the others; where those functions are more than ten, no single digit can
    stand for the group, and the operation is not made of smaller ones."""
    for arity in (2, 3, 4):
        inputs = list(product(range(10), repeat=arity))
        for operation in tree.operations(arity):
            value = {digits: tree.FUNCTIONS[operation](digits) for digits in inputs}
            for place in range(arity):
                assert any(value[d] != value[(*d[:place], 1, *d[place + 1 :])] for d in inputs if d[place] == 0)
            for group in range(2, arity):
                rests = list(product(range(10), repeat=arity - group))
                functions = {tuple(value[head + rest] for rest in rests) for head in product(range(10), repeat=group)}
                assert (len(functions) > 10) == (operation == "&")


def test_the_median_is_rounded_down_and_ties_are_kept() -> None:
    assert listops.solve("[MED 2 3 ]") == "2"
    assert listops.solve("[MED 9 [SM 7 8 ] 1 4 ]") == "4"
    assert sorting.solve("7 10 7 2") == "2 7 7 10"
    means = Counter(sum(listops.draw_arguments(random.Random(seed), "MED", 4, 2)) for seed in range(400))
    assert set(means) == {8, 9}


@pytest.mark.skipif("NEUROMAS_DATA" not in os.environ, reason="NEUROMAS_DATA names no folder with benchmark files")
def test_published_boolean_expressions_are_solved() -> None:
    rows = json.loads((Path(os.environ["NEUROMAS_DATA"]) / "bbh" / "boolean_expressions.json").read_text())["examples"]
    assert len(rows) == 250
    assert [boolean.solve(row["input"]) for row in rows] == [row["target"] for row in rows]


def test_a_sequence_that_closes_wrongly_has_no_answer() -> None:
    for prompt in (")", "( ]", "( ) }"):
        with pytest.raises(ValueError, match="closes nothing"):
            dyck.solve(prompt)


def test_a_trail_of_multi_hop_lies_in_a_ring_longer_than_twice_its_length() -> None:
    task = make_task("multi_hop", difficulty="1-8")
    for index in range(300):
        question = task.question("train", index)
        leads_to = dict(re.findall(r"(\w) leads to (\w)\.", question.prompt))
        letter = start = re.findall(r"Start at (\w)", question.prompt)[0]
        ring = [letter := leads_to[letter] for _ in leads_to]
        assert ring[-1] == start
        assert len(set(ring)) == len(leads_to) > 2 * question.metadata["steps"] + 1


# --- drawing ---


@given(st.integers(0, 2**64), st.integers(-5, 20), st.integers(0, 30))
def test_numbers_are_drawn_within_their_bounds(seed: int, low: int, span: int) -> None:
    one, many = random.Random(seed), random.Random(seed)
    numbers = [between(one, low, low + span) for _ in range(20)]
    assert numbers == several(many, 20, low, low + span)
    assert all(low <= number <= low + span for number in numbers)
    assert sorted(shuffled(one, numbers)) == sorted(numbers)
    assert pick(one, numbers) in numbers


def test_drawing_reaches_both_bounds_and_every_order() -> None:
    rng = random.Random(0)
    assert set(several(rng, 500, 2, 4)) == {2, 3, 4}
    assert len({tuple(shuffled(rng, "abc")) for _ in range(200)}) == 6
    assert {pick(rng, "xyz") for _ in range(100)} == set("xyz")


# --- reading answers ---

DIGIT_READINGS = [
    ("= 7", "7", "7"),
    ("( 3 + 4 ) = 7", "7", "7"),
    ("=7\n", "7", "7"),
    ("= 3 = 7", "7", "7"),
    ("= 3, no: = 7", "7", "7"),
    ("7", None, "7"),
    ("**7**", None, "7"),
    ("The answer is 7.", None, "7"),
    ("= 7 .", None, "7"),
    ("= 7 + 5", None, "5"),
    ("= 17", None, None),
    ("7 of 10", None, None),
    ("= -7", None, None),
    ("= 7.5", None, None),
    ("= ٧", None, None),
    ("7 ٧", None, None),
    ("= 7 =", None, "7"),
    ("= seven", None, None),
    ("", None, None),
]
READINGS = {
    "tree": DIGIT_READINGS,
    "listops": DIGIT_READINGS,
    "boolean": [
        ("= True", "True", "True"),
        ("=False\n", "False", "False"),
        ("= True, but then = False", "False", "False"),
        ("not ( True ) = False", "False", "False"),
        ("False", None, "False"),
        ("The answer is **true**.", None, "True"),
        ("= true", None, "True"),
        ("= True.", None, "True"),
        ("= True is wrong", None, "True"),
        ("True or False", None, None),
        ("= True and False", None, None),
        ("not ( True", None, None),
        ("= not False", None, None),
        ("= Truely", None, None),
        ("= 1", None, None),
        ("", None, None),
    ],
    "dyck": [
        ("= ] )", "] )", "] )"),
        ("( [ = ] )\n", "] )", "] )"),
        ("= }  ]\t)", "} ] )", "} ] )"),
        ("= ] = > )", "> )", "> )"),
        ("] )", None, "] )"),
        ("The answer is ])", None, "] )"),
        ("= ])", None, "] )"),
        ("= ] ) .", None, "] )"),
        ("= ] ) ok >", None, ">"),
        ("= ( ]", None, "]"),
        ("( [ => ] )", None, "] )"),
        ("so =>", None, None),
        ("( [", None, None),
        ("=", None, None),
        ("", None, None),
    ],
    "multi_hop": [
        ("= K", "K", "K"),
        ("M leads to K. = K", "K", "K"),
        ("=K ", "K", "K"),
        ("= M = K", "K", "K"),
        ("K", None, "K"),
        ("It is **K**.", None, "K"),
        ("= K.", None, "K"),
        ("= K, not M", None, "M"),
        ("= k", None, None),
        ("= A", None, None),
        ("= KM", None, None),
        ("= К", None, None),  # the Cyrillic letter
        ("I", None, None),
        ("", None, None),
    ],
    "sorting": [
        ("= 7 28 43", "7 28 43", "7 28 43"),
        ("43 7 28 = 7 28 43\n", "7 28 43", "7 28 43"),
        ("=7  28\n43", "7 28 43", "7 28 43"),
        ("= 7 43 28 = 7 28 43", "7 28 43", "7 28 43"),
        ("7 28 43", None, "7 28 43"),
        ("Sorted: [7, 28, 43].", None, "7 28 43"),
        ("= 7, 28, 43", None, "7 28 43"),
        ("= 7 28 43 done in 2 steps", None, "7 28 43"),
        ("= 07 28 43", "07 28 43", "07 28 43"),
        ("= 7", "7", None),
        ("= ٧ 28", None, None),
        ("= 7 x 28", None, None),
        ("= -7 28", None, "7 28"),
        ("=", None, None),
        ("", None, None),
    ],
}


PIECES = (*"=79)]>K٣水.,-_ \n", "= ", "=> ", "9 ", "9,", ".9", ") ", "K ", "True ", "False", "not ", "or(", "True and ")


@pytest.mark.parametrize(
    ("name", "text", "strict", "flexible"), [(name, *reading) for name, table in READINGS.items() for reading in table]
)
def test_readings_of_answers(name: str, text: str, strict: str | None, flexible: str | None) -> None:
    task, question = make_task(name), Question("q", "", "")
    assert task.parse(question, text) == strict
    assert task.parse(question, text, strict=False) == flexible


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.lists(st.sampled_from(PIECES), max_size=3))
def test_a_strict_answer_is_what_stands_behind_the_last_equals_sign(
    name: str, before: list[str], after: list[str]
) -> None:
    text = f"{''.join(before)}={''.join(after)}"
    task, question = make_task(name), Question("q", "", "")
    parsed = task.parse(question, text)
    if parsed is not None:
        ending = text.rpartition("=")[2]
        assert parsed.split() == ending.split()
        assert parsed.isascii()
        assert task.parse(question, text, strict=False) == parsed or (name == "sorting" and " " not in parsed)
        assert task.parse(question, f"{text} and more") is None
        assert task.parse(question, f"{text} = ") is None
        assert task.parse(question, f"= {parsed}") == parsed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("piece", PIECES)
def test_reading_takes_time_in_proportion_to_the_text(name: str, piece: str) -> None:
    """Eight times the text may take eight times as long, with room for noise, but not sixty-four times."""
    task, question = make_task(name), Question("q", "", "7")

    def seconds(length: int) -> float:
        text = f"= 7 K ] True{piece * (length // len(piece))}x"
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            task.score(question, text)
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(40_000) < 30 * max(seconds(5_000), 0.0005)


# --- options ---


@pytest.mark.parametrize("name", NAMES)
def test_difficulties_out_of_range_are_refused(name: str) -> None:
    _, low, high = LEVELS[name]
    for difficulty in (str(low - 1), str(high + 1), f"{low}-{high + 1}", f"{high}-{low}", "hard", ""):
        with pytest.raises(UsageError, match=f"difficulty {difficulty!r} .*{low}-{high}"):
            make_task(name, difficulty=difficulty)


def test_arities_of_trees_are_read_and_refused() -> None:
    task = make_task("tree", arity="3")
    assert task.question("train", 0).id == "tree-v0/2-3-3/train/0"
    for arity in (1, 5):
        with pytest.raises(UsageError, match="2, 3, 4"):
            make_task("tree", arity=arity)
    with pytest.raises(UsageError, match="1-3"):
        make_task("tree", difficulty="4", arity=4)
