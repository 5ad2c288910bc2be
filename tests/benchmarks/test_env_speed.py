"""How fast the environment is when nothing is generated: scripted messages on 2-2-2-1, seven messages an episode.

    pytest tests/benchmarks -n 0 --benchmark-enable --benchmark-only

The rate in episodes a second is kept in `extra_info` of the JSON report (`--benchmark-json FILE`). Nothing is asserted
about time.
"""

import pytest

import neuromas_env
from neuromas_env import Question, run_episodes
from neuromas_env.node import Message

EPISODES = 2_000
MESSAGE = ". . . . 3 +5 -6"


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    task = neuromas_env.make_task("chain")
    return [task.question("train", index) for index in range(EPISODES)]


def rate(benchmark, episodes: int) -> None:
    if benchmark.enabled:
        benchmark.extra_info["episodes_per_second"] = round(episodes / benchmark.stats["median"])


def test_vector_env(benchmark, questions: list[Question]) -> None:
    env = neuromas_env.vector_env("chain", "2-2-2-1", num_envs=EPISODES)

    def play() -> None:
        env.reset(questions=questions)
        while not env.done:
            env.step([MESSAGE] * len(env.requests()))

    benchmark(play)
    assert len(env.scores) == EPISODES
    rate(benchmark, EPISODES)


def test_vector_env_with_new_questions(benchmark) -> None:
    env = neuromas_env.vector_env("chain", "2-2-2-1", num_envs=EPISODES)

    def play() -> None:
        env.reset()
        while not env.done:
            env.step([MESSAGE] * len(env.requests()))

    benchmark(play)
    rate(benchmark, EPISODES)


def test_run_episodes(benchmark, questions: list[Question]) -> None:
    class Scripted:
        def act(self, requests):
            return [Message(MESSAGE)] * len(requests)

    task = neuromas_env.make_task("chain")
    benchmark(lambda: run_episodes(task, "2-2-2-1", Scripted(), questions))
    rate(benchmark, EPISODES)


def test_prompts_of_all_requests(benchmark, questions: list[Question]) -> None:
    env = neuromas_env.vector_env("chain", "2-2-2-1", num_envs=EPISODES)

    def play() -> None:
        env.reset(questions=questions)
        while not env.done:
            env.step([MESSAGE if request.prompt else "" for request in env.requests()])

    benchmark(play)
    rate(benchmark, EPISODES)


def test_single_env(benchmark, questions: list[Question]) -> None:
    env = neuromas_env.parallel_env("chain", "2-2-2-1")

    def play() -> None:
        for question in questions[:200]:
            env.reset(options={"question": question})
            while env.agents:
                env.step({request.agent: MESSAGE for request in env.requests()})

    benchmark(play)
    rate(benchmark, 200)
