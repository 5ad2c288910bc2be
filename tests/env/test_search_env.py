"""Topologies as actions: what each action builds, what it earns, and that the environments are what gymnasium asks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from neuromas_env import EpisodeOverError, Message, NodeRequest, Topology, UsageError, make_task, run_episodes
from neuromas_env.growth import renumbered, restrict
from neuromas_env.search import (
    EdgeSpace,
    Evaluation,
    GrowthEnv,
    Played,
    Recorded,
    ShapeSpace,
    Stage,
    TemplateSpace,
    TopologyEnv,
    hashed_words,
    space_from_json,
)
from neuromas_env.transcripts import TranscriptWriter

CHAIN = make_task("chain")
SPACES: dict[str, dict[str, Any]] = {
    "edges": {},
    "edges, layerwise": {"layerwise": True},
    "shape": {},
    "shape, layerwise": {"layerwise": True},
    "templates": {},
}


class Talker:
    """Says the sum of what it hears, and how long it is; it notes what it was asked at once."""

    def __init__(self) -> None:
        self.batches: list[list[NodeRequest]] = []

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        self.batches.append(list(requests))
        return [Message(self.say(request), token_ids=(1,) * (1 + len(request.messages))) for request in requests]

    def say(self, request: NodeRequest) -> str:
        heard = sum(int(message.text.split()[1]) for message in request.messages)
        return f"= {(heard + len(request.task) + len(request.agent)) % 10}"


def made(name: str, **options: Any) -> TopologyEnv:
    space = name.partition(",")[0]
    env = gymnasium.make(
        f"neuromas/Topology{space.title()}-v0", task="chain", policy=Talker(), **SPACES[name], **options
    )
    assert isinstance(env.unwrapped, TopologyEnv)
    return env.unwrapped


def played(env: TopologyEnv, seed: int, episodes: int = 4) -> list[Any]:
    """What happens in some episodes of random actions."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    seen: list[Any] = [observation, info["question"]]
    for _ in range(episodes):
        over = False
        while not over:
            observation, reward, over, _, info = env.step(env.action_space.sample())
            seen += [observation, reward, info]
        seen.append(env.reset()[0])
    return seen


@pytest.mark.parametrize("name", SPACES)
def test_gymnasium_accepts_the_environment(name: str) -> None:
    check_env(made(name), skip_render_check=True)


@pytest.mark.parametrize("name", SPACES)
def test_episodes_are_a_function_of_the_seed(name: str) -> None:
    one, again, other = played(made(name), 3), played(made(name), 3), played(made(name), 4)
    assert repr(one) == repr(again)
    assert repr(one) != repr(other)


def test_every_edge_mask_is_a_network_of_the_nodes_that_are_heard() -> None:
    space = EdgeSpace("1-1-1-1/all")
    for mask in itertools.product([0, 1], repeat=6):
        topology = space.build(np.array(mask))  # which checks that it is acyclic, and that every node is of use
        edges = {edge for edge, on in zip(space.base.edges, mask, strict=True) if on}
        heard = {"node_3"}
        for node in ("node_2", "node_1", "node_0"):
            heard |= {node} if any((node, receiver) in edges for receiver in heard) else set()
        assert set(topology.nodes) == heard
        assert set(topology.edges) == {edge for edge in edges if edge[0] in heard and edge[1] in heard}
    assert str(space.build([1, 0, 1, 0, 0, 1])) == "1-1-1-1"
    assert space.build([0] * 6).nodes == ("node_3",)


def test_a_part_keeps_what_its_nodes_are_told_and_can_be_numbered_anew() -> None:
    base = Topology.parse("1-1-1-1/all")
    part = restrict(base, [("node_0", "node_2"), ("node_2", "node_3")])
    assert part.position("node_2", 1) == base.position("node_2", 2)
    assert renumbered(part) == Topology.parse("1-1-1")
    for text in ("2-2-1", "3-2-1/all", "4-4-1/sparse2", "1"):
        assert renumbered(Topology.parse(text)) == Topology.parse(text)
    with pytest.raises(UsageError, match="no edge 'node_3' → 'node_0'"):
        restrict(base, [("node_3", "node_0")])


@pytest.mark.parametrize(
    ("action", "text"),
    [((0, 2, 1), "1"), ((1, 0, 0), "1-1"), ((2, 1, 2), "2-2-1"), ((3, 2, 0), "3-3-3-1/sparse1"), ((2, 2, 2), "3-3-1")],
)  # fmt: skip
def test_a_shape_is_rounds_width_and_fan_in(action: tuple[int, ...], text: str) -> None:
    assert ShapeSpace(3, 3).build(np.array(action)) == Topology.parse(text)


def test_layers_are_chosen_one_by_one_until_one_ends_the_network() -> None:
    shape = ShapeSpace(3, 3)
    assert shape.completed([]) is None
    assert shape.completed([np.array([2, 0])]) is None
    assert shape.completed([np.array([0, 0])]) == Topology.parse("1")
    assert shape.completed([np.array([2, 0]), np.array([2, 2]), np.array([0, 0])]) == Topology.parse("2-2-1")
    mixed = shape.completed([np.array([2, 0]), np.array([3, 0]), np.array([1, 2])])
    assert mixed is not None
    assert [len(mixed.incoming(node)) for node in mixed.nodes] == [0, 0, 1, 1, 1, 3, 1]
    edges = EdgeSpace("1-1-1-1/all")  # bits: whom the next node hears, and whether it is the output
    assert edges.completed([np.array([1, 0, 0, 0])]) is None
    assert str(edges.completed([np.array([1, 0, 0, 1])])) == "1-1"
    assert str(edges.completed([np.array([1, 0, 0, 0]), np.array([0, 1, 0, 1])])) == "1-1-1"
    whole = [np.array([1, 0, 0, 0]), np.array([0, 1, 0, 0]), np.array([0, 0, 1, 0])]
    assert str(edges.completed(whole)) == "1-1-1-1"


@pytest.mark.parametrize("space", [EdgeSpace("2-2-1"), ShapeSpace(2, 4), TemplateSpace(["1", "2-1"])])
def test_spaces_are_written_and_read(space: Any) -> None:
    again = space_from_json(space.to_json())
    assert again.action_space == space.action_space
    space.action_space.seed(0)
    action = space.action_space.sample()
    assert again.build(action) == space.build(action)


def test_the_reward_is_the_score_less_the_price_of_the_tokens() -> None:
    env = made("templates", templates=("1-1", "2-1"), price=0.3)
    env.reset(seed=0, options={"question": 5})
    question = env.questions[5]
    _, reward, over, _, info = env.step(1)
    batch = run_episodes(CHAIN, "2-1", Talker(), [question], split="train")
    tokens = 1 + 1 + 3
    assert over
    assert (info["question"], info["score"], info["tokens"]) == (question.id, batch.accuracy, tokens)
    assert reward == pytest.approx(batch.accuracy - 0.3 * tokens / (3 * CHAIN.max_message_tokens))
    with pytest.raises(EpisodeOverError):
        env.step(1)


def test_the_observation_holds_question_choices_and_budget() -> None:
    env = made("shape, layerwise")
    observation, _ = env.reset(seed=1)
    assert env.question is not None
    assert (observation["question"] == hashed_words(env.question.prompt)).all()
    assert (observation["built"].tolist(), observation["budget"].tolist()) == ([0.0] * 6, [1.0])
    observation, reward, over, _, _ = env.step(np.array([2, 1]))
    assert (reward, over) == (0.0, False)
    assert observation["built"].tolist() == pytest.approx([2 / 3, 1 / 2, 0, 0, 0, 0])
    assert observation["budget"].tolist() == pytest.approx([1 - 2 / 10])


def test_a_bag_of_words_is_hashed_alike_everywhere() -> None:
    assert (hashed_words("Two words!") == hashed_words("words, two !".replace(",", ""))).all()
    assert float(np.linalg.norm(hashed_words("one two three"))) == pytest.approx(1.0)
    assert not hashed_words(" \n").any()
    assert np.flatnonzero(hashed_words("chain")).tolist() == [37]  # CRC-32 of the word, not Python's changing hash


def test_many_topologies_are_played_in_one_call_a_step() -> None:
    talker = Talker()
    topologies = [Topology.parse(text) for text in ("1", "2-1", "1-1-1", "2-1", "3-2-1/all")]
    questions = [CHAIN.question("train", index) for index in range(5)]
    found = Played(CHAIN, talker)(questions, topologies)
    assert len(talker.batches) == 3  # as deep as the deepest
    for question, topology, evaluation in zip(questions, topologies, found, strict=True):
        alone = run_episodes(CHAIN, topology, Talker(), [question], split="train")
        tokens = sum(turn.message.sampled_tokens for turn in alone.turns)
        assert evaluation == Evaluation(alone.accuracy, topology.calls, tokens)
    assert [len(batch) for batch in talker.batches] == [1 + 2 + 1 + 2 + 3, 1 + 1 + 1 + 2, 1 + 1]


def test_a_part_of_a_network_hears_under_the_labels_of_the_whole() -> None:
    base = Topology.parse("1-1-1/all")
    part = restrict(base, [("node_1", "node_2")])
    for whole, slot in ((None, 1), (base, 2)):
        talker = Talker()
        Played(CHAIN, talker, base=whole)([CHAIN.question("train", 0)], [part])
        assert [message.slot for message in talker.batches[-1][0].messages] == [slot]


def test_what_was_recorded_is_searched_without_playing(tmp_path: Any) -> None:
    scores = {}
    for text in ("1", "2-1"):
        with TranscriptWriter(tmp_path / f"{text}.jsonl") as writer:
            batch = run_episodes(CHAIN, text, Talker(), range(4 if text == "1" else 6), transcript=writer)
        scores[text] = batch.rewards_E
    paths = [str(tmp_path / f"{text}.jsonl") for text in scores]
    env = gymnasium.make("neuromas/TopologyTemplates-v0", task="chain", transcripts=paths).unwrapped
    assert isinstance(env, TopologyEnv)
    assert len(env.questions) == 4  # those that both were asked
    for index, (action, text) in itertools.product(range(4), enumerate(scores)):
        env.reset(options={"question": index})
        *_, info = env.step(action)
        assert (info["score"], info["topology"]) == (scores[text][index], Topology.parse(text))
    record = Recorded.from_transcripts(paths)
    with pytest.raises(UsageError, match="the topology 3-1 was not recorded"):
        record(record.questions[:1], [Topology.parse("3-1")])
    with pytest.raises(UsageError, match="another transcript"):
        Recorded.from_transcripts([paths[0], paths[0]])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: EdgeSpace("1"), "the space of edges is empty"),
        (lambda: EdgeSpace("2x2"), "goes in rounds"),
        (lambda: ShapeSpace(0, 2), "the space of shapes is empty"),
        (lambda: TemplateSpace([]), "the space of templates is empty"),
        (lambda: TemplateSpace(["1", "1"]), "given twice"),
        (lambda: made("templates", layerwise=True), "not built layer by layer"),
        (lambda: made("edges", price=-1), "the price of tokens cannot be -1"),
        (lambda: TopologyEnv(ShapeSpace(), Played(CHAIN, Talker()), [], 1), "no questions"),
        (lambda: TopologyEnv(ShapeSpace(), Played(CHAIN, Talker()), [CHAIN.question("train", 0)], 0), "impossible"),
        (lambda: gymnasium.make("neuromas/TopologyEdges-v0", task="chain"), "give a policy, or transcripts"),
        (lambda: GrowthEnv(trained, 3), "impossible for 4 stages"),
        (lambda: GrowthEnv(trained, 30, stages=1), "nothing to decide"),
        (lambda: GrowthEnv(trained, 30, start="1"), "cannot start from 1"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(make: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make()


def trained(path: Sequence[Topology]) -> Stage:
    """Accuracy rises by 0.1 a stage, and by 0.02 a node more than before."""
    accuracies = [0.0]
    for before, after in itertools.pairwise([path[0], *path]):
        accuracies.append(accuracies[-1] + 0.1 + 0.02 * (after.num_nodes - before.num_nodes))
    return Stage(accuracies[-2], accuracies[-1], 25)


def growth(**options: Any) -> GrowthEnv:
    env = gymnasium.make("neuromas/Growth-v0", train=trained, token_budget=100, **options).unwrapped
    assert isinstance(env, GrowthEnv)
    return env


def test_growth_earns_the_accuracy_that_its_tokens_bought() -> None:
    env = growth(price=0.1)
    check_env(growth(), skip_render_check=True)
    observation, info = env.reset(seed=0)
    assert info == {"topology": Topology.parse("1-1-1"), "accuracy": pytest.approx(0.1)}
    assert observation.tolist() == pytest.approx([1 / 4, 3 / 9, 1 / 9, 0.1, 0.1, 0.75])
    _, reward, over, _, info = env.step(1)
    assert (str(info["topology"]), over) == ("2-1-1", False)
    assert reward == pytest.approx(0.12 / 0.25 - 0.1)
    _, reward, over, _, info = env.step(2)
    assert (str(info["topology"]), reward) == ("2-1-1-1", pytest.approx(0.12 / 0.25 - 0.1))
    _, reward, over, _, info = env.step(0)
    assert (str(info["topology"]), reward, over) == ("2-1-1-1", pytest.approx(0.1 / 0.25 - 0.1), True)
    with pytest.raises(EpisodeOverError):
        env.step(0)


def test_growth_can_stop_and_keeps_to_the_most_nodes() -> None:
    env = growth(most_nodes=4)
    env.reset()
    env.step(1)
    *_, info = env.step(1)
    assert info["refused"]
    assert str(info["topology"]) == "2-1-1"
    _, reward, over, _, _ = env.step(3)
    assert (reward, over) == (0.0, True)
