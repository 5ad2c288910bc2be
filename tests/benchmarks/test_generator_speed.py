"""How fast procedural questions are drawn, on one core: endless training questions one by one, and whole finite splits.

    pytest tests/benchmarks/test_generator_speed.py -n 0 --benchmark-enable --benchmark-only

A finite split keeps one draw in ten, for the others belong to other splits. The rate in questions a second is kept in
`extra_info` of the JSON report (`--benchmark-json FILE`). Nothing is asserted about time.
"""

import pytest

from neuromas_env import make_task

QUESTIONS = 2_000
NAMES = ("chain", "navigate", "tree", "boolean", "listops", "dyck", "multi_hop", "sorting")
HARDEST = {
    "chain": "6",
    "navigate": "10",
    "tree": "6",
    "boolean": "12",
    "listops": "6",
    "dyck": "12",
    "multi_hop": "8",
    "sorting": "16",
}


def rate(benchmark, questions: int) -> None:
    if benchmark.enabled:
        benchmark.extra_info["questions_per_second"] = round(questions / benchmark.stats["median"])


@pytest.mark.parametrize("level", ["default", "hardest"])
@pytest.mark.parametrize("name", NAMES)
def test_training_questions_one_by_one(benchmark, name: str, level: str) -> None:
    task = make_task(name, difficulty=HARDEST[name] if level == "hardest" else None)
    drawn = benchmark(lambda: [task.question("train", index) for index in range(QUESTIONS)])
    assert len({question.id for question in drawn}) == QUESTIONS
    rate(benchmark, QUESTIONS)


@pytest.mark.parametrize("level", ["default", "hardest"])
@pytest.mark.parametrize("name", NAMES)
def test_a_finite_split(benchmark, name: str, level: str) -> None:
    def draw() -> int:
        task = make_task(name, difficulty=HARDEST[name] if level == "hardest" else None)
        size = task.size("test")
        assert size is not None
        for index in range(size):
            task.question("test", index)
        return size

    rate(benchmark, benchmark(draw))
