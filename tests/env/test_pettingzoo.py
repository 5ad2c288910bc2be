"""PettingZoo's own tests, with no warning beyond those that it gives every environment whose spaces are no arrays."""

import types
import warnings
from collections.abc import Iterator
from typing import Any

import pettingzoo
import pytest
from gymnasium.utils.env_checker import data_equivalence
from made_files import cases, options
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, parallel_seed_test, render_test, seed_test

import neuromas_env
from neuromas_env import TextNetworkEnv, register_task, task_names

NOT_AN_ARRAY = (
    "Observation is not a NumPy array",
    "Observation space for each agent probably should be",
    "Action space for each agent probably should be",
)
TOPOLOGIES = ("1", "1-1-1", "2-2-1", "3x2")


@pytest.fixture(autouse=True)
def only_known_warnings() -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    unexpected = [str(w.message) for w in caught if not str(w.message).startswith(NOT_AN_ARRAY)]
    assert unexpected == []


def setting(task: str) -> dict[str, Any]:
    """The options of the environment: published tasks have test questions only, on a file made on the spot."""
    return {"split": "test", **options(task)} if options(task) else {}


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("task", cases())
def test_parallel_api(task: str, topology: str) -> None:
    parallel_api_test(neuromas_env.parallel_env(task, topology, **setting(task)), num_cycles=20)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("task", cases())
def test_aec_api(task: str, topology: str) -> None:
    api_test(neuromas_env.env(task, topology, **setting(task)), num_cycles=20)


@pytest.mark.parametrize("task", cases())
def test_seeds_of_one_step(task: str) -> None:
    parallel_seed_test(lambda: neuromas_env.parallel_env(task, "2-2-1", **setting(task)))
    seed_test(lambda: neuromas_env.env(task, "2-2-1", **setting(task)))


def test_max_cycles() -> None:
    """PettingZoo asks for episodes of a given length; here the length is that of the network."""

    def topology(max_cycles: int) -> str:
        return "-".join(["2"] * (max_cycles - 1) + ["1"])

    module = types.SimpleNamespace(
        parallel_env=lambda max_cycles: neuromas_env.parallel_env("chain", topology=topology(max_cycles)),
        env=lambda max_cycles: neuromas_env.env("chain", topology=topology(max_cycles)),
    )
    max_cycles_test(module)


def test_render(capsys: pytest.CaptureFixture[str]) -> None:
    render_test(lambda render_mode: neuromas_env.env("chain", topology="2-2-1", render_mode=render_mode))
    assert "node_4" in capsys.readouterr().out


@pytest.mark.parametrize("task", cases())
def test_whole_episodes_repeat_from_a_seed(task: str) -> None:
    """PettingZoo's seed test looks at one step; this one at every step of several episodes."""
    envs = [neuromas_env.parallel_env(task, "2-2-1", **setting(task)) for _ in range(2)]
    for seed in (11, None, None):
        starts = [env.reset(seed=seed) for env in envs]
        assert data_equivalence(*starts)
        for env in envs:
            for agent in env.agents:
                env.action_space(agent).seed(3)
        steps = 0
        while envs[0].agents:
            actions = [{agent: env.action_space(agent).sample() for agent in env.agents} for env in envs]
            assert data_equivalence(*actions)
            results = [env.step(messages) for env, messages in zip(envs, actions, strict=True)]
            assert data_equivalence(*results)
            steps += 1
        assert steps == 3
    others = {
        neuromas_env.parallel_env(task, "1", **setting(task)).reset(seed=s)[0]["node_0"]["task"] for s in range(20)
    }
    assert len(others) > (10 if env.task.size(env.split) != 3 else 1)


@pytest.mark.parametrize("task", cases())
def test_registered_with_pettingzoo(task: str) -> None:
    env_id = f"neuromas/{task.replace('/', ':')}-v0"
    env = pettingzoo.make("parallel", env_id, topology="2-1", split="test", **options(task))
    assert isinstance(env, TextNetworkEnv)
    assert (env.task.name, str(env.topology), env.split) == (task, "2-1", "test")
    assert str(pettingzoo.make("aec", env_id, **setting(task)).unwrapped) == str(env) == f"neuromas/{task}-v0"


def test_a_users_task_is_registered_too(spell) -> None:
    register_task(type(spell), "tests/spell")
    env = pettingzoo.make("parallel", "neuromas/tests:spell-v0", topology="1")
    assert env.reset(seed=0)[0]["node_0"]["task"].startswith("word")
    assert "tests/spell" in task_names()
    register_task(type(spell), "tests/spell")  # the same again is no error, as when a notebook cell runs twice
    with pytest.raises(neuromas_env.UsageError, match="taken"):
        register_task(type(spell), "chain")
    with pytest.raises(neuromas_env.UsageError, match="bad task name"):
        register_task(type(spell), "a/b/c")
