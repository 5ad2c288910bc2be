"""Curricula: levels rise by measured success alone, one at a time, and no question of another split is trained on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neuromas_env import UnknownNameError, UsageError, make_task, register_task, registry
from neuromas_env.curriculum import Curriculum, Progress
from neuromas_env.registry import task_factory, task_options
from neuromas_env.tasks.catalog import SINGLE
from neuromas_env.tasks.chain import Chain

PLAN = Curriculum(("1", "2", "2-3"), threshold=0.75, window=2)
GRADED = ["boolean", "chain", "dyck", "listops", "multi_hop", "navigate", "sorting", "tree"]


class Ungraded(Chain):
    def __init__(self) -> None:
        super().__init__()


class Lenient(Chain):
    """Takes whatever it is given, as some users write their tasks."""

    def __init__(self, **options: str) -> None:
        super().__init__(options["difficulty"])


@pytest.fixture
def other_tasks() -> Iterator[None]:
    register_task(Ungraded, "tests/ungraded")
    register_task(Lenient, "tests/lenient")
    yield
    registry.TASKS.forget("tests/ungraded")
    registry.TASKS.forget("tests/lenient")


shares = st.one_of(st.sampled_from([0.0, 0.5, 0.7, 0.75, 0.8, 1.0]), st.floats(0, 1), st.booleans())
curricula = st.builds(
    Curriculum,
    st.lists(st.integers(1, 9).map(str), min_size=1, max_size=4, unique=True).map(tuple),
    st.one_of(st.sampled_from([0.7, 0.75, 1.0]), st.floats(0, 1, exclude_min=True)),
    st.integers(1, 4),
)


def path(curriculum: Curriculum, successes: list[float]) -> list[Progress]:
    stages = [curriculum.start()]
    for success in successes:
        stages.append(stages[-1].record(success))
    return stages


def test_a_level_rises_when_the_mean_of_a_whole_window_reaches_the_threshold():
    levels = [progress.level for progress in path(PLAN, [1.0, 0.4, 1.0, 0.5, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0])]
    #        one is no window │ 0.7  0.7  0.75: rises, and counts anew
    assert levels == ["1", "1", "1", "1", "2", "2", "2-3", "2-3", "2-3", "2-3", "2-3"]


@given(curricula, st.lists(shares, max_size=30))
def test_levels_never_fall_never_skip_and_change_only_after_a_window_that_is_good_enough(curriculum, successes):
    stages = path(curriculum, successes)
    entered = 0
    for step, (before, after) in enumerate(pairwise(stages), start=1):
        window = [float(success) for success in successes[entered:step]][-curriculum.window :]
        reached = float(sum(map(Fraction, window)) / len(window)) >= curriculum.threshold
        rises = len(window) == curriculum.window and reached and before.index + 1 < len(curriculum.levels)
        assert after.index - before.index == rises
        assert after.level == curriculum.levels[after.index]
        assert list(after.recent) == ([] if rises else window)
        entered = step if rises else entered


@given(st.sampled_from([0.1, 0.3, 0.55, 0.7, 0.95, 1.0]), st.integers(1, 9))
@example(0.7, 3)
def test_a_steady_success_equal_to_the_threshold_is_enough(threshold, window):
    curriculum = Curriculum(("1", "2"), threshold, window)
    assert [stage.level for stage in path(curriculum, [threshold] * window)] == ["1"] * window + ["2"]


@given(curricula, st.lists(shares, max_size=20), st.data())
def test_what_was_written_down_goes_on_as_if_never_interrupted(curriculum, successes, data):
    whole = path(curriculum, successes)
    cut = data.draw(st.integers(0, len(successes)))
    written = json.dumps([dataclasses.asdict(curriculum), whole[cut].to_json()])
    plan, progress = json.loads(written)
    again = Curriculum(tuple(plan["levels"]), plan["threshold"], plan["window"])
    assert again == curriculum
    stages = [again.resume(progress)]
    for success in successes[cut:]:
        stages.append(stages[-1].record(success))
    assert stages == whole[cut:]


def test_recording_leaves_what_was_there():
    start = PLAN.start()
    start.record(1.0)
    assert start == PLAN.start() == Progress(PLAN, 0, ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        start.index = 1


@given(curricula)
def test_text_and_levels_say_the_same(curriculum):
    assert Curriculum.parse(str(curriculum), curriculum.threshold, curriculum.window) == curriculum


@pytest.mark.parametrize("text", ["1,2,2-3", "1, 2 , 2-3", " 1 2  2-3 "])
def test_levels_stand_between_commas_or_spaces(text):
    assert Curriculum.parse(text).levels == ("1", "2", "2-3")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curriculum(()), "no levels"),
        (lambda: Curriculum.parse(""), "level 1 cannot be ''"),
        (lambda: Curriculum.parse("1,,2"), "level 2 cannot be ''"),
        (lambda: Curriculum.parse("1,2,"), "level 3 cannot be ''"),
        (lambda: Curriculum(("1", "2 3")), "level 2 cannot be '2 3'"),
        (lambda: Curriculum.parse("1,2,1"), "level '1' is there twice"),
        (lambda: Curriculum.parse("1", threshold=0.0), r"threshold cannot be 0.0 \(accepted: more than 0, at most 1\)"),
        (lambda: Curriculum.parse("1", threshold=1.01), "threshold cannot be 1.01"),
        (lambda: Curriculum.parse("1", threshold=float("nan")), "threshold cannot be nan"),
        (lambda: Curriculum.parse("1", window=0), "window cannot be 0"),
        (lambda: PLAN.start().record(1.5), r"success cannot be 1.5 \(accepted: a share"),
        (lambda: PLAN.start().record(float("nan")), "success cannot be nan"),
        (lambda: PLAN.resume({}), "does not say where the curriculum 1,2,2-3 stands"),
        (lambda: PLAN.resume({"level": "3", "recent": []}), "does not say where"),
        (lambda: PLAN.resume({"level": "2", "recent": ["a"]}), "does not say where"),
        (lambda: PLAN.resume({"level": "2", "recent": [0.1, 0.1, 0.1]}), "more successes than the 2"),
        (lambda: PLAN.make_tasks("tests/ungraded"), "task 'tests/ungraded' takes no difficulty"),
        (lambda: Curriculum(("1", "7")).make_tasks("chain"), "level '7': difficulty '7' is not a range .* within 1-6"),
        (lambda: PLAN.make_tasks("chain", shots=3), "takes no option 'shots'"),
    ],
)
def test_what_makes_no_curriculum_is_refused_by_name(other_tasks, make, message):
    with pytest.raises(UsageError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_an_unknown_task_is_named_before_any_level():
    with pytest.raises(UnknownNameError, match=r"^unknown task 'chian'; did you mean chain\?"):
        PLAN.make_tasks("chian")


def test_each_level_is_the_task_at_that_difficulty(other_tasks):
    tasks = Curriculum(("2", "3-4")).make_tasks("navigate", style="turns")
    assert {level: task.variant for level, task in tasks.items()} == {"2": "2-2-turns", "3-4": "3-4-turns"}
    assert [task.variant for task in PLAN.make_tasks("tests/lenient").values()] == ["1-1", "2-2", "2-3"]


def test_the_list_of_graded_tasks_is_whole():
    assert [name for name in sorted(SINGLE) if "difficulty" in (task_options(task_factory(name)) or ())] == GRADED


@pytest.mark.parametrize("name", GRADED)
def test_no_level_trains_on_a_question_of_another_split(name):
    """At the easiest levels, where questions are so few that splits would meet by chance, and at the task's own."""
    lowest = next(n for n in range(1, 10) if _takes(name, str(n)))
    ranged = f"{lowest}-{lowest + 1}"
    tasks = Curriculum((str(lowest), str(lowest + 1), ranged)).make_tasks(name)
    trained = {task.question("train", index).prompt for task in tasks.values() for index in range(500)}
    for task in (tasks[ranged], make_task(name)):
        validation, test = (
            {task.question(split, index).prompt for index in range(task.size(split))}
            for split in ("validation", "test")
        )
        assert validation
        assert test
        assert not validation & test
        assert not trained & (validation | test)


def _takes(name: str, difficulty: str) -> bool:
    try:
        make_task(name, difficulty=difficulty)
    except UsageError:
        return False
    return True
