"""Credit assignment on networks whose answers are known functions of their messages: against enumeration by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from algorithms.algorithm import make_algorithm
from algorithms.config import TrainConfig
from algorithms.credit import CREDITS, Credit
from algorithms.diagnostics import information, node_statistics
from algorithms.replay import Replay, Variant
from algorithms.rollout import Rollout, SamplingPolicy, default_branching, leaves_of, roll_out
from algorithms.shaping import Shaping
from neuromas_env.budget import Meter
from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.node import Message, NodeRequest
from neuromas_env.task import Question, Score, Task
from neuromas_env.topology import Topology


class Count(Task):
    """The answer is a text; a letter of it earns 1/8 each, and `!` nothing."""

    name, version, summary = "count", "1", "letters"
    instruction, max_message_tokens, max_message_chars = "", 8, 64

    def size(self, split: str) -> int | None:
        return None

    def question(self, split: str, index: int) -> Question:
        return Question(f"count/{index}", f"question {index}", "x")

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return text or None

    def score(self, question: Question, text: str) -> Score:
        value = text.count("x") / 8
        return Score(value, text or None, "correct" if value else "missing", value)


@dataclass
class Scripted:
    """A network whose node adds its own letters to all that it hears. `speak` gives its letters; calls are counted."""

    topology: Topology
    speak: Any
    calls: Counter[str] = field(default_factory=Counter)

    def sample(self, requests: Sequence[NodeRequest], temperature: float = 1.0, seed: int = 0) -> list[Message]:
        self.calls.update(request.agent for request in requests)
        texts = [
            "".join(message.text for message in request.messages) + self.speak(request, seed) for request in requests
        ]
        return [Message(text, (1,) * (len(text) + 1), (-1.0,) * (len(text) + 1), (1, 2)) for text in texts]


def played(network: Any, questions: int = 1, samples: int = 2, **options: Any) -> tuple[Rollout, Replay, Meter]:
    meter, task = Meter(), Count()
    rollout = roll_out(
        network, task, [task.question("train", i) for i in range(questions)], samples,
        temperature=1.0, seed=3, meter=meter, **options,
    )  # fmt: skip
    return rollout, Replay(task, SamplingPolicy(network, 1.0, 5), None, meter), meter


def one_letter(request: NodeRequest, seed: int) -> str:
    return "x"


# ---------------------------------------------------------------------- counterfactual, leave-one-out, shapley


def test_a_node_is_credited_with_what_is_lost_without_its_message():
    network = Scripted(Topology.parse("1-1-1"), one_letter)
    rollout, replay, meter = played(network)
    assert rollout.rewards_QG.tolist() == [[3 / 8, 3 / 8]]
    network.calls.clear()
    credit_QGC = Credit("counterfactual").rewards(rollout, rollout.rewards_QG, replay, 0)
    assert credit_QGC.tolist() == [[[1 / 8, 2 / 8, 3 / 8]] * 2]
    # Only what lies downstream of the silence speaks again, and the meter shows it.
    assert network.calls == {"node_1": 2, "node_2": 4}
    assert meter.calls == 6 + 6


def test_what_nobody_notices_costs_nothing_and_earns_nothing():
    network = Scripted(Topology.parse("1-1"), lambda request, seed: "" if request.agent == "node_0" else "x")
    rollout, replay, meter = played(network)
    credit_QGC = Credit("counterfactual").rewards(rollout, rollout.rewards_QG, replay, 0)
    assert credit_QGC.tolist() == [[[0.0, 1 / 8]] * 2]
    assert meter.calls == 4


def test_another_samples_message_takes_the_place_of_the_own():
    letters = {0: "xxx", 1: "", 2: "x"}
    speak = lambda request, seed: letters[request.episode % 3] if request.agent == "node_0" else ""  # noqa: E731
    network = Scripted(Topology.parse("1-1"), speak)
    rollout, replay, _ = played(network, samples=3)
    credit_QGC = Credit("counterfactual", replacement="sample").rewards(rollout, rollout.rewards_QG, replay, 0)
    assert (8 * credit_QGC[0, :, 0]).tolist() == [3 - 0, 0 - 1, 1 - 3]
    assert (8 * credit_QGC[0, :, 1]).tolist() == [3 - 0, 0 - 1, 1 - 3]


def test_leave_one_out_plays_the_rest_of_the_network_anew():
    network = Scripted(Topology.parse("2-1"), lambda request, seed: "x" * (1 if seed % 2 else 2))
    rollout, replay, meter = played(network, samples=1)
    network.calls.clear()
    credit_QGC = Credit("leave-one-out").rewards(rollout, rollout.rewards_QG, replay, 0)
    assert network.calls == {"node_0": 2, "node_1": 2, "node_2": 2}  # each is left out of one of three replays
    assert meter.calls == 3 + 6
    assert credit_QGC[0, 0, 2] == rollout.rewards_QG[0, 0]  # without the output there is no answer


def team(request: NodeRequest, seed: int) -> str:
    """The output's answer needs both hidden nodes: their letters count only together."""
    if request.agent != "node_2":
        return {"node_0": "a", "node_1": "b"}[request.agent]
    heard = "".join(message.text for message in request.messages)
    return "xxxx" if {"a", "b"} <= set(heard) else "x" if heard else ""


def by_enumeration() -> dict[str, float]:
    """Shapley values of `team`: v(S) over all coalitions, written out."""

    def value(nodes: set[str]) -> float:
        if "node_2" not in nodes:
            return 0.0
        return {0: 0.0, 1: 1 / 8, 2: 4 / 8}[len(nodes - {"node_2"})]

    names = ["node_0", "node_1", "node_2"]
    total = dict.fromkeys(names, 0.0)
    for order in permutations(names):
        before: set[str] = set()
        for name in order:
            total[name] += value(before | {name}) - value(before)
            before.add(name)
    return {name: sum_ / 6 for name, sum_ in total.items()}


def test_shapley_values_are_those_of_the_enumeration():
    rollout, replay, _ = played(Scripted(Topology.parse("2-1"), team), samples=2)
    credit_QGC = Credit("shapley", orders=4000).rewards(rollout, rollout.rewards_QG, replay, 0)
    expected = list(by_enumeration().values())
    assert expected[0] == expected[1] != expected[2]
    np.testing.assert_allclose(credit_QGC[0], [expected, expected], atol=0.01)


@pytest.mark.parametrize("orders", [1, 3])
def test_shapley_credits_add_up_to_the_reward_whatever_the_orders(orders):
    noisy = lambda request, seed: "x" * (1 + (seed + request.episode) % 3)  # noqa: E731
    rollout, replay, _ = played(Scripted(Topology.parse("2-2-1"), noisy), questions=3)
    credit_QGC = Credit("shapley", orders=orders).rewards(rollout, rollout.rewards_QG, replay, 11)
    np.testing.assert_allclose(credit_QGC.sum(2), rollout.rewards_QG, atol=1e-12)
    again = Credit("shapley", orders=orders).rewards(rollout, rollout.rewards_QG, replay, 11)
    assert (credit_QGC == again).all()


def test_every_call_of_a_node_has_its_credit_and_is_silenced_with_it():
    network = Scripted(Topology.rounds(2, 2), one_letter)
    rollout, replay, _ = played(network, samples=1)
    assert len(rollout.leaves_C) == 5
    credit_QGC = Credit("counterfactual").rewards(rollout, rollout.rewards_QG, replay, 0)
    speakers = [turn.request.agent for turn in rollout.turns]
    by_node = {
        node: {float(v) for v, s in zip(credit_QGC[0, 0], speakers, strict=True) if s == node} for node in speakers
    }
    assert all(len(values) == 1 for values in by_node.values())
    alone = replay.rewards(rollout, [Variant(0, {c: "" for c, s in enumerate(speakers) if s == "node_0"})])
    assert by_node["node_0"] == {float(rollout.rewards_QG[0, 0] - alone[0])}


def test_dropped_messages_are_replayed_as_they_were_heard():
    network = Scripted(Topology.parse("1-1-1"), one_letter)
    rollout, replay, meter = played(network, questions=8, dropout=0.5)
    lost = [key for key, text in rollout.heard.items() if not text]
    assert 4 < len(lost) < 28
    assert not any(call == 2 for _, call in lost)  # the output is always heard
    assert set((8 * rollout.rewards_QG).ravel()) == {1.0, 2.0, 3.0}
    before = meter.calls
    same = replay.rewards(rollout, [Variant(episode, {}) for episode in range(16)])
    assert same.tolist() == rollout.rewards_QG.ravel().tolist()
    assert meter.calls == before


# ---------------------------------------------------------------------- trees


def test_a_tree_samples_each_shared_message_once():
    network = Scripted(Topology.parse("1-2-1"), lambda request, seed: "xyz"[(request.episode + seed) % 3])
    rollout, _, meter = played(network, questions=2, samples=12, branching=[3, 2, 2])
    assert rollout.leaves_C == (4, 2, 2, 1)
    assert network.calls == {"node_0": 6, "node_1": 12, "node_2": 12, "node_3": 24}
    assert meter.calls == len(rollout.turns) == 54
    texts = {(turn.request.agent, turn.request.episode): turn.message.text for turn in rollout.turns}
    for turn in rollout.turns:  # what is heard was said on the way from the root
        for message in turn.request.messages:
            leaves = 4 if message.sender == "node_0" else 2
            assert message.text == texts[message.sender, turn.request.episode // leaves * leaves]
    values_QGC = Credit("tree", branching="3-2-2").rewards(rollout, rollout.rewards_QG, None, 0)
    for call, leaves in enumerate(rollout.leaves_C):
        means = rollout.rewards_QG.reshape(2, 12 // leaves, leaves).mean(2)
        assert values_QGC[:, ::leaves, call].tolist() == means.tolist()
    values_M = np.arange(54.0)
    by_call_QGC = rollout.by_call(values_M)
    assert rollout.by_message(by_call_QGC).tolist() == values_M.tolist()
    for call, leaves in enumerate(rollout.leaves_C):  # episodes that share a message have its value
        assert by_call_QGC[..., call].tolist() == by_call_QGC[:, ::leaves, call].repeat(leaves, axis=1).tolist()


def test_messages_of_a_tree_are_compared_as_often_as_they_were_sampled():
    network = Scripted(Topology.parse("1-1"), one_letter)
    rollout, _, _ = played(network, samples=6, branching=[3, 2])
    terminal_QG = np.array([[1.0, 0.0, 1.0, 1.0, 0.0, 0.0]])
    credit = Credit("tree", branching="3-2")
    advantages_QGC = credit.advantages(make_algorithm("rloo"), rollout, credit.rewards(rollout, terminal_QG, None, 0))
    values = [0.5, 1.0, 0.0]  # three messages of the first node; its baseline must not hold their own copies
    expected = [values[i] - (sum(values) - values[i]) / 2 for i in range(3)]
    np.testing.assert_allclose(advantages_QGC[0, ::2, 0], expected)
    np.testing.assert_allclose(advantages_QGC[0, :, 1], make_algorithm("rloo").advantages(terminal_QG)[0])


def test_branchings_that_do_not_fit_are_refused():
    topology = Topology.parse("1-1-1")
    assert leaves_of([2, 2, 2], 8, topology) == [4, 2, 1]
    for branching in ([2, 2], [2, 2, 3], [8, 1, 0], []):
        with pytest.raises(UsageError, match=r"does not make 8 samples.*such as 2-2-2"):
            leaves_of(branching, 8, topology)
    assert default_branching(8, 4) == [2, 2, 2, 1]
    assert default_branching(12, 2) == [6, 2]
    assert default_branching(7, 3) == [7, 1, 1]
    assert default_branching(1, 2) == [1, 1]


# ---------------------------------------------------------------------- what an algorithm makes of it


def test_shared_credit_is_the_algorithms_own_and_normalising_per_node_or_over_all_is_then_the_same():
    network = Scripted(Topology.parse("2-1"), lambda request, seed: "x" * ((request.episode * 7 + seed) % 3))
    rollout, replay, _ = played(network, questions=4, samples=4)
    rewards_QGC = Credit().rewards(rollout, rollout.rewards_QG, replay, 0)
    for name in ("reinforce", "grpo", "rloo", "magrpo"):
        algorithm = make_algorithm(name)
        own = Credit().advantages(algorithm, rollout, rewards_QGC)
        assert (own == algorithm.advantages(rollout.rewards_QG)[..., None]).all()
        over_all = Credit(normalize_by="network").advantages(algorithm, rollout, rewards_QGC)
        cosine = (own * over_all).sum() / np.linalg.norm(own) / np.linalg.norm(over_all)
        assert cosine == pytest.approx(1.0, abs=1e-3)


def test_normalising_over_the_network_is_something_else_where_credits_differ():
    network = Scripted(Topology.parse("1-1-1"), lambda request, seed: "x" * ((request.episode * 7 + seed) % 3))
    rollout, replay, _ = played(network, questions=4, samples=4)
    rewards_QGC = Credit("counterfactual").rewards(rollout, rollout.rewards_QG, replay, 0)
    per_node, over_all = (
        Credit("counterfactual", normalize_by=by).advantages(make_algorithm("reinforce"), rollout, rewards_QGC)
        for by in ("node", "network")
    )
    np.testing.assert_allclose(per_node.mean(axis=(0, 1)), 0.0, atol=1e-12)
    assert np.abs(over_all.mean(axis=(0, 1))).max() > 0.1
    assert over_all.mean() == pytest.approx(0.0, abs=1e-12)


def test_every_two_credit_assignments_differ():
    noisy = lambda request, seed: "x" * ((seed + 5 * request.episode + len(request.messages)) % 4)  # noqa: E731
    found = {}
    for name in CREDITS:
        branching = [2, 2, 1] if name == "tree" else None
        rollout, replay, _ = played(
            Scripted(Topology.parse("1-1-1"), noisy), questions=3, samples=4, branching=branching
        )
        terminal_QG = np.arange(12.0).reshape(3, 4) % 5
        credit = Credit(name, branching="2-2-1" if branching else "")
        found[name] = credit.rewards(rollout, terminal_QG, replay, 1)
    names = list(found)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            assert not np.allclose(found[first], found[second]), (first, second)


def test_what_does_not_go_together_is_refused():
    def of(algorithm: str = "reinforce", options: dict[str, str] | None = None, **fields: Any) -> Credit:
        config = TrainConfig("chain", algorithm=algorithm, **fields)
        return Credit.of(config, make_algorithm(algorithm, options))

    assert of("malt").name == "tree"
    assert of(credit="shapley", credit_options={"orders": "2"}).orders == 2
    with pytest.raises(UnknownNameError, match=r"shaply'.*did you mean shapley"):
        of(credit="shaply")
    with pytest.raises(UnknownNameError, match=r"'orders'"):
        of(credit="tree", credit_options={"orders": "2"})
    with pytest.raises(UsageError, match="accepted: silence, sample"):
        of(credit="counterfactual", credit_options={"replacement": "noise"})
    with pytest.raises(UsageError, match="search tree"):
        of("malt", credit="shared")
    with pytest.raises(UsageError, match="one baseline for all nodes"):
        of(options={"baseline": "running"}, credit="counterfactual")
    with pytest.raises(UsageError, match="one baseline for all nodes"):
        of(options={"baseline": "running"}, silence_cost=0.1)
    with pytest.raises(UsageError, match="samples cannot be 1"):
        of(credit="counterfactual", credit_options={"replacement": "sample"}, samples=1)
    with pytest.raises(UsageError, match="whole number from 1"):
        of(credit="shapley", credit_options={"orders": "0"})


# ---------------------------------------------------------------------- shaping and diagnostics


def test_costs_are_the_senders_own_and_the_format_is_everybodys():
    silent = lambda request, seed: "" if request.agent == "node_0" and request.episode % 2 else "xx"  # noqa: E731
    rollout, _, _ = played(Scripted(Topology.parse("1-1"), silent), samples=2)
    shaping = Shaping(format_reward=0.5, length_cost=0.8, silence_cost=0.25, max_tokens=8)
    assert (shaping.terminal(rollout) - rollout.rewards_QG).tolist() == [[0.5, 0.5]]
    np.testing.assert_allclose(shaping.costs(rollout)[0], [[0.3, 0.5], [0.1 + 0.25, 0.3]])
    mute, _, _ = played(Scripted(Topology.parse("1-1"), lambda request, seed: ""), samples=2)
    assert Shaping(silence_cost=0.25).costs(mute)[0].tolist() == [[0.25, 0.0]] * 2  # the output earns nothing anyway
    assert not Shaping().costs(rollout).any()
    assert Shaping().terminal(rollout) is rollout.rewards_QG


def test_information_is_that_of_known_joint_distributions():
    rng = np.random.default_rng(0)
    question = rng.integers(4, size=4000)
    assert information(question.tolist(), question.tolist()) == pytest.approx(np.log(4), abs=0.01)
    assert information(question.tolist(), rng.integers(4, size=4000).tolist()) == pytest.approx(0.0, abs=0.005)
    assert information(question.tolist(), (question // 2).tolist()) == pytest.approx(np.log(2), abs=0.01)
    # Where all values are distinct the plug-in estimate is ln M, and says nothing.
    assert information(list(range(64)), rng.integers(2, size=64).tolist()) == pytest.approx(0.0, abs=1e-9)
    few = [information(rng.integers(8, size=64).tolist(), rng.integers(8, size=64).tolist()) for _ in range(50)]
    assert abs(float(np.mean(few))) < 0.05  # the plug-in estimate would be about 0.4


def test_a_silent_channel_shows_in_the_columns_of_its_node():
    speak = lambda request, seed: "" if request.agent == "node_0" else "xyz"[int(request.question_id[-1]) % 3]  # noqa: E731
    rollout, _, _ = played(Scripted(Topology.parse("2-1"), speak), questions=9, samples=4)
    columns = node_statistics(rollout, rollout.topology.nodes)
    assert columns["node_0"]["empty"] == 1.0
    assert columns["node_0"]["about_question"] == columns["node_0"]["about_answer"] == pytest.approx(0.0)
    assert columns["node_1"]["empty"] == 0.0
    assert columns["node_1"]["about_question"] > 0.5
    assert columns["node_1"]["about_answer"] > 0.5
    assert "about_answer" not in columns["node_2"]


# ---------------------------------------------------------------------- verifier


@pytest.mark.parametrize("discount", [0.0, 0.5, 1.0])
def test_a_message_earns_its_own_score_and_what_is_said_after_it(discount: float) -> None:
    """`2x2`: two agents and two rounds, then the output; here a node says its letters alone."""
    said = {("node_0", 0): 2, ("node_1", 0): 4, ("node_0", 1): 0, ("node_1", 1): 8, ("node_2", 2): 1}

    class Alone(Scripted):
        def sample(self, requests: Sequence[NodeRequest], temperature: float = 1.0, seed: int = 0) -> list[Message]:
            texts = ["x" * said[request.agent, request.step] or "!" for request in requests]
            return [Message(text, (1,), (-1.0,), (1, 2)) for text in texts]

    rollout, replay, meter = played(Alone(Topology.parse("2x2"), one_letter))
    calls, terminal = meter.calls, 0.5  # of shaped rewards the last step has the shaped one
    credit = Credit("verifier", discount=discount).rewards(rollout, np.full((1, 2), terminal), replay, 0)
    g, second = discount, 0.5
    expected = [
        (2 / 8 + g * second + g**2 * terminal) / (1 + g + g**2),
        (4 / 8 + g * second + g**2 * terminal) / (1 + g + g**2),
        (0 / 8 + g * terminal) / (1 + g),
        (8 / 8 + g * terminal) / (1 + g),
        terminal,
    ]
    np.testing.assert_allclose(credit, np.broadcast_to(expected, (1, 2, 5)))
    assert meter.calls == calls  # no message is sampled for it
    with pytest.raises(UsageError, match="accepted: 0 to 1"):
        Credit("verifier", discount=1.5)
