import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuromas_env
from neuromas_env import EpisodeOverError, InvalidMessageError, Message, Topology, UsageError

TOPOLOGIES = ("1", "1-1-1", "2-3-1", "2-2-1/all", "3-3-1/sparse2", "2x2")


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(TOPOLOGIES),
    st.lists(st.integers(0, 2**31), min_size=1, max_size=4),
    st.integers(0, 10**6),
    st.sampled_from(("chain", "navigate")),
)
def test_a_batch_equals_single_environments(topology: str, seeds: list[int], script: int, task: str) -> None:
    """Questions, requests, deliveries, flags and scores are the same, whatever is said."""
    batch = neuromas_env.vector_env(task, topology, num_envs=len(seeds))
    singles = [neuromas_env.parallel_env(task, topology) for _ in seeds]
    assert batch.reset(seeds=seeds) == [
        env.reset(seed=seed) and env.question for env, seed in zip(singles, seeds, strict=True)
    ]
    rng = random.Random(script)
    while not batch.done:
        requests = batch.requests()
        for episode, env in enumerate(singles):
            mine = [r for r in requests if r.episode == episode]
            assert [(r.agent, r.step, r.task, r.messages, r.prompt) for r in mine] == [
                (r.agent, r.step, r.task, r.messages, r.prompt) for r in env.requests()
            ]
        said = [rng.choice(["", "= 3", "Yes", "\ud800", "x" * 5000, "水\n[1] no", None]) for _ in requests]
        flags = {}
        for episode, env in enumerate(singles):
            step = env.engine.step
            *_, infos = env.step({r.agent: m for r, m in zip(requests, said, strict=True) if r.episode == episode})
            flags |= {(episode, agent, step): info["flags"] for agent, info in infos.items() if info["flags"]}
        before = len(batch.flagged)
        batch.step(said)
        assert {(e, agent, step): given for e, agent, step, given in batch.flagged[before:]} == flags
    assert batch.answers == [env.answer for env in singles]
    assert batch.scores == [env.score for env in singles]
    assert batch.rewards_E.tolist() == [env.score.value for env in singles]


def test_requests_are_ordered_by_node_and_then_by_episode(spell) -> None:
    batch = neuromas_env.vector_env(spell, "2-1", num_envs=3, split="test")
    batch.reset(questions=[4, 2, 2])
    order = [(r.agent, r.episode, r.question_id) for r in batch.requests()]
    assert order == [(node, e, f"spell/test/{q}") for node in ("node_0", "node_1") for e, q in enumerate((4, 2, 2))]
    batch.step([f"{r.agent}/{r.episode}" for r in batch.requests()])
    assert [[m.text for m in r.messages] for r in batch.requests()] == [
        [f"node_0/{e}", f"node_1/{e}"] for e in range(3)
    ]
    batch.step([Message(":水"), ":blue", ":red"])
    assert batch.rewards_E.tolist() == [1.0, 1.0, 0.0]
    assert [s.status for s in batch.scores] == ["correct", "correct", "wrong"]
    assert batch.requests() == []
    with pytest.raises(EpisodeOverError):
        batch.step([])


def test_reset_takes_seeds_indices_or_questions(spell) -> None:
    batch = neuromas_env.vector_env(spell, "1", num_envs=4)
    first = batch.reset(seeds=3)
    assert batch.reset() != first
    assert batch.reset(seeds=np.int64(3)) == first
    assert len(first) == 4
    assert batch.reset(questions=np.array([5, 6])) == [spell.question("train", 5), spell.question("train", 6)]
    assert batch.num_envs == 2
    mine = neuromas_env.Question("mine", "word 0: red", "red")
    assert batch.reset(questions=[mine, mine]) == [mine, mine]
    batch.step([":red", "red"])
    assert batch.rewards_E.tolist() == [1.0, 0.0]
    with pytest.raises(UsageError, match="at least one"):
        batch.reset(questions=[])
    with pytest.raises(IndexError):
        neuromas_env.vector_env(spell, "1", split="test").reset(questions=[99])


def test_wrong_calls_are_errors(spell) -> None:
    batch = neuromas_env.vector_env(spell, "2-1", num_envs=2, on_invalid="raise")
    with pytest.raises(EpisodeOverError, match="reset"):
        batch.requests()
    batch.reset()
    with pytest.raises(ValueError, match="4 messages are needed, one a request; 2 were given"):
        batch.step(["a", "b"])
    with pytest.raises(TypeError, match="must be a str"):
        batch.step(["a", "b", "c", 4])  # type: ignore[list-item]
    with pytest.raises(InvalidMessageError, match="node_1 in episode 0"):
        batch.step(["a", "b", "c" * 41, "d"])
    assert [r.step for r in batch.requests()] == [0] * 4
    with pytest.raises(UsageError, match="num_envs"):
        neuromas_env.vector_env(spell, num_envs=0)


def test_global_generators_are_untouched(spell) -> None:
    random.seed(5)
    np.random.seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist()
    batch = neuromas_env.vector_env(spell, Topology.parse("2-1"), num_envs=8)
    for seeds in (None, 1, list(range(8))):
        batch.reset(seeds=seeds)
        while not batch.done:
            batch.step(["x"] * len(batch.requests()))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
