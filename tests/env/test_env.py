import random

import numpy as np
import pytest

import neuromas_env
from neuromas_env import (
    EpisodeOverError,
    InvalidMessageError,
    Message,
    Position,
    TextNetworkEnv,
    UnknownNameError,
    UsageError,
)


@pytest.fixture
def env(spell) -> TextNetworkEnv:
    return neuromas_env.parallel_env(spell, topology="2-1", split="test", render_mode="ansi")


def test_one_episode_message_by_message(env: TextNetworkEnv) -> None:
    observations, infos = env.reset(options={"question": 1})
    assert env.agents == ["node_0", "node_1", "node_2"]
    assert infos["node_0"]["question"] == "spell/test/1"
    assert [o["active"] for o in observations.values()] == [1, 1, 0]
    assert observations["node_2"]["messages"] == ({"sender": "node_0", "text": ""}, {"sender": "node_1", "text": ""})
    first, second = env.requests()
    assert (first.agent, second.agent, first.task, first.messages) == ("node_0", "node_1", "word 1: green", ())
    assert second.position == Position(1, 2)
    assert first.max_tokens == 5
    assert first.task_instruction == "Answer with a colon and the word."

    observations, rewards, terminations, truncations, infos = env.step({"node_0": "it is", "node_1": Message("green")})
    assert rewards == dict.fromkeys(env.agents, 0.0)
    assert not any(terminations.values())
    (request,) = env.requests()
    assert [(m.slot, m.sender, m.text) for m in request.messages] == [(1, "node_0", "it is"), (2, "node_1", "green")]
    assert request.prompt.endswith("word 1: green\n[1] it is\n[2] green\noutput layer node 1:")
    assert observations["node_2"]["active"] == 1
    assert "green" in env.render()

    observations, rewards, terminations, truncations, infos = env.step({"node_2": ":green"})
    assert rewards == {"node_0": 1.0, "node_1": 1.0, "node_2": 1.0}
    assert all(terminations.values())
    assert not any(truncations.values())
    assert infos["node_0"]["status"] == "correct"
    assert env.agents == []
    assert env.requests() == []
    assert set(observations) == {"node_0", "node_1", "node_2"}
    assert env.step({}) == ({}, {}, {}, {}, {})
    with pytest.raises(EpisodeOverError):
        env.step({"node_2": ":green"})


def test_observations_lie_in_their_space(env: TextNetworkEnv) -> None:
    observations, _ = env.reset(seed=0)
    while env.agents:
        for agent, observation in observations.items():
            assert env.observation_space(agent).contains(observation)
        observations, *_ = env.step(dict.fromkeys(env.agents, "水" * 50))
    assert env.observation_space("node_0") == env.observation_space("node_2")


def test_sampling_for_one_agent_does_not_depend_on_another(env: TextNetworkEnv) -> None:
    env.action_space("node_0").seed(1)
    alone = [env.action_space("node_0").sample() for _ in range(3)]
    env.action_space("node_0").seed(1)
    env.action_space("node_1").seed(2)
    together = [(env.action_space("node_0").sample(), env.action_space("node_1").sample()) for _ in range(3)]
    assert [first for first, _ in together] == alone


def test_no_request_and_no_observation_holds_the_answer(env: TextNetworkEnv) -> None:
    env.reset(options={"question": neuromas_env.Question("q", "what?", "secret", metadata={"hint": "secret"})})
    while env.agents:
        assert "secret" not in repr(env.requests())
        observations, *_, infos = env.step({})
        assert "secret" not in repr(observations) + repr(infos)


def test_bad_messages_are_flagged_for_their_sender_only(env: TextNetworkEnv) -> None:
    env.reset(seed=0)
    *_, infos = env.step({"node_0": "x" * 41, "node_2": "\ud800"})
    assert infos["node_0"]["flags"] == ("cut",)
    assert infos["node_1"]["flags"] == ("missing",)
    assert infos["node_2"]["flags"] == ()  # it does not speak yet
    assert env.requests()[0].messages[0].text == "x" * 40
    *_, infos = env.step({"node_2": "\ud800"})
    assert infos["node_2"]["flags"] == ("surrogates",)
    assert env.answer == "\ufffd"


def test_wrong_calls_are_errors(env: TextNetworkEnv) -> None:
    with pytest.raises(EpisodeOverError, match="reset"):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(KeyError, match="node_9"):
        env.step({"node_9": "hello"})
    with pytest.raises(TypeError, match="node_1: a message must be a str"):
        env.step({"node_0": "a", "node_1": 3})  # type: ignore[dict-item]
    assert env.engine.step == 0
    env.step({"node_0": "a"})


def test_on_invalid_raise(spell) -> None:
    env = neuromas_env.parallel_env(spell, topology="1-1", on_invalid="raise")
    env.reset(seed=0)
    for message in (None, "x" * 41, "\udc00"):
        with pytest.raises(InvalidMessageError, match="node_0"):
            env.step({"node_0": message})
    env.step({"node_0": "fine"})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"split": "validation"}, "unknown split"),
        ({"on_invalid": "ignore"}, "'flag' or 'raise'"),
        ({"render_mode": "rgb_array"}, "human, ansi"),
        ({"instructions": {"node_7": "x"}}, "node_7"),
        ({"topology": "2-2"}, "width 1"),
        ({"difficulty": "3"}, "already made"),
    ],
)
def test_bad_settings_are_usage_errors(spell, options: dict, named: str) -> None:
    for make in (neuromas_env.parallel_env, neuromas_env.vector_env, neuromas_env.env):
        if make is neuromas_env.vector_env and "render_mode" in options:
            continue
        with pytest.raises(UsageError, match=named):
            make(spell, **options)


def test_instructions_reach_only_their_node(spell) -> None:
    env = neuromas_env.parallel_env(spell, topology="2-1", instructions={"node_1": "Answer directly."})
    env.reset(seed=0)
    assert [r.node_instruction for r in env.requests()] == ["", "Answer directly."]
    assert "Answer directly.\nlayer 1 node 2:" in env.requests()[1].prompt


def test_seeds_decide_the_questions_and_global_generators_stay_untouched(spell) -> None:
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()
    env = neuromas_env.parallel_env(spell, topology="1")
    drawn = []
    for seed in (7, None, None, 7, None, None):
        env.reset(seed=seed)
        drawn.append(env.question.id)
        env.step({"node_0": "x"})
    assert drawn[:3] == drawn[3:]
    assert len(set(drawn)) == 3
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_human_rendering_prints_no_control_characters(spell, capsys) -> None:
    env = neuromas_env.parallel_env(spell, topology="1", render_mode="human")
    env.reset(seed=0)
    env.step({"node_0": "\x1b[2J\u202eevil"})
    assert env.render() is None
    out = capsys.readouterr().out
    assert "⟨U+001B⟩[2J⟨U+202E⟩evil" in out
    assert "\x1b" not in out


def test_unknown_tasks_are_named_with_close_matches() -> None:
    with pytest.raises(UnknownNameError, match="did you mean chain") as caught:
        neuromas_env.parallel_env("chian")
    assert isinstance(caught.value, KeyError)
    with pytest.raises(UsageError, match="takes no option 'colour'"):
        neuromas_env.make_task("chain", colour="red")


def test_import_is_light() -> None:
    """No torch, no tyro, no task is imported with the package."""
    import subprocess
    import sys

    code = (
        "import sys, neuromas_env; "
        "print([m for m in ('torch', 'transformers', 'tyro', 'rich', 'algorithms', 'neuromas_env.tasks.chain') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
