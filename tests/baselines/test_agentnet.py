"""AgentNet: reading decisions, the edge weights and memories by hand, and routing that is learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from algorithms.config import TrainConfig
from baselines.agentnet import AgentNet
from baselines.agentnet_team import Team, node, read_decision, similarity, worded
from baselines.base import Context, System, make_method
from neuromas_env import Message, Meter, NodeRequest, Question, Task, UsageError, run_episodes
from neuromas_env.episodes import EpisodeBatch
from neuromas_env.node import Incoming, Position

KINDS = ("sum the list", "name a city", "turn it round")


class Kinds(Task):
    """Questions of three kinds, in turn. Agent 1 knows the first kind, agent 2 the second, agent 3 the third."""

    name = "kinds"
    max_message_tokens = 2

    def size(self, split: str) -> int | None:
        return 60

    def question(self, split: str, index: int) -> Question:
        return Question(f"kinds/{split}/{index}", f"{KINDS[index % 3]} {split} {index}", "right")

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        return text or None


class Specialists:
    """Each is right on its own kind; `decide` says what the routers say."""

    def __init__(self, decide: Callable[[NodeRequest], str]) -> None:
        self.decide = decide
        self.heard: list[NodeRequest] = []

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        self.heard += requests
        return [Message(self.say(request), token_ids=(1, 2), prompt_ids=(3,)) for request in requests]

    def say(self, request: NodeRequest) -> str:
        agent, part = request.agent.split(".")
        if part.startswith("route"):
            return self.decide(request)
        return "right" if request.task.startswith(KINDS[int(agent[5:]) - 1]) else f"wrong by {agent}"


class Wordy(AgentNet):
    """In the words for chat models, without a backbone that could be asked which words it knows."""

    def worded(self, context: Context) -> dict[str, str]:
        return {name: wording.chat for name, wording in self.wordings.items()}


def context(out: Path, seed: int = 0) -> Context:
    training = TrainConfig("chain")
    return Context(Kinds(), [], seed, cast(Any, None), "none", training, training, out)


def prepared(out: Path, speaker: Specialists, name: str = "agentnet", seed: int = 0) -> System:
    return Wordy(make_method(name).spec).system(context(out, seed), lambda temperature: speaker)


def asked(system: System, meter: Meter | None = None, count: int = 30) -> EpisodeBatch:
    return run_episodes(
        Kinds(), system.topology, system.policy, range(count), instructions=system.instructions, meter=meter
    )


def team(**changes: Any) -> Team:
    values: dict[str, Any] = {"weights": [[1.0] * 3] * 3, "memory": [[]] * 3, "hops": 2, "seed": 0}
    return Team(**{**values, **changes})


def request(said: dict[str, str], question: str = "q", task: str = "sum the list") -> NodeRequest:
    heard = tuple(Incoming(slot, sender, text) for slot, (sender, text) in enumerate(said.items(), start=1))
    return NodeRequest("answer", 0, 0, question, task, heard, Position(1, 1))


# ---------------------------------------------------------------------- its parts


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("execute", ("execute", None)),
        ("Forward to agent 2.", ("forward", 1)),
        ("SPLIT 3: I do the first half, then execute", ("split", 2)),
        ("= 7", (None, 6)),
        ("forwards", (None, None)),
        ("", (None, None)),
    ],
)
def test_decisions_are_read(text: str, decision: tuple[str | None, int | None]) -> None:
    assert read_decision(text) == decision


def test_similarity_and_success_by_hand() -> None:
    assert similarity("a b c", "B c d") == 0.5
    assert similarity("a", "b") == 0.0
    remembers = [[("a b", "x", True), ("a c", "y", False)], [], []]
    assert team().success(0, "a b") == 0.5  # nothing is known
    assert team(memory=remembers).success(0, "a b") == pytest.approx((1 + 1) / (2 + 1 + 1 / 3))
    assert team(memory=remembers).success(0, "z") == 0.5  # nothing like it is known
    assert (
        team(memory=remembers).examples(0, "a c", "{task} = {answer} {else}") == "a b = x {else}"
    )  # the right one only
    assert worded("{agent}", agent="{task}", task="x") == "{task}"


def test_the_route_follows_what_routers_say() -> None:
    start = next(a for a in range(3) if team().route(request({}))[0] == (a, None))
    second, third = [a for a in range(3) if a != start]
    said = {node(start, "route", 0): f"split {third + 1}"}
    assert team().route(request(said)) == [(start, "split"), (third, None)]
    said[node(third, "route", 1)] = f"forward {start + 1}"  # had it: the one that is left gets it
    assert team().route(request(said)) == [(start, "split"), (third, "forward"), (second, "execute")]
    assert team(hops=1).route(request(said)) == [(start, "split"), (third, "execute")]
    weights = [[1.0] * 3 for _ in range(3)]
    weights[start][third] = 0.3  # pruned
    assert team(weights=weights).route(request(said))[:2] == [(start, "split"), (second, None)]
    weights[start][second] = 0.3
    assert team(weights=weights).route(request(said)) == [(start, "execute")]  # nobody is left


def test_without_a_decision_the_records_decide() -> None:
    start = team().route(request({}))[0][0]
    other = (start + 1) % 3
    said = {node(start, "route", 0): "what?"}
    assert team().route(request(said)) == [(start, "execute")]  # nobody is known to be better
    memory: list[list[tuple[str, str, bool]]] = [[], [], []]
    memory[other] = [("sum the list", "x", True)]
    assert team(memory=memory).route(request(said)) == [(start, "forward"), (other, None)]
    memory[start] = memory[other]
    assert team(memory=memory).route(request(said)) == [(start, "execute")]  # as good itself


def test_who_is_not_named_is_the_best_by_weight_and_success() -> None:
    start = team().route(request({}))[0][0]
    second, third = [a for a in range(3) if a != start]
    said = {node(start, "route", 0): "forward"}
    weights = [[1.0] * 3 for _ in range(3)]
    for weight, target in ((1.0, second), (1.1, third), (0.9, second)):
        weights[start][third] = weight
        assert team(weights=weights).route(request(said)) == [(start, "forward"), (target, None)]
    memory: list[list[tuple[str, str, bool]]] = [[], [], []]
    memory[third] = [("sum the list", "x", True)]  # 0.9 · 2/3 against 0.5
    assert team(weights=weights, memory=memory).route(request(said))[1] == (third, None)


def test_weights_and_memories_move_by_hand() -> None:
    route: list[tuple[int, str | None]] = [(0, "forward"), (1, "split"), (2, "execute")]
    work = [Incoming(1, "a", "half"), Incoming(2, "b", "whole")]
    right = team().learn(route, work, "t", True, 0.5)
    assert right.weights == [[1.0, 1.1, 1.0], [1.0, 1.0, 1.1], [1.0, 1.0, 1.0]]
    assert right.memory == [[], [("t", "half", True)], [("t", "whole", True)]]
    wrong = right.learn(route, work, "u", False, 2.0)  # twice the tokens allowed
    assert wrong.weights[0] == [1.0, pytest.approx(1.1 * 0.9 / 2), 1.0]
    assert wrong.memory[1] == [("t", "half", True), ("u", "half", False)]
    assert wrong.forget(1).memory == [[], [("u", "half", False)], [("u", "whole", False)]]
    for _ in range(50):
        right, wrong = right.learn(route, work, "t", True, 0.0), wrong.learn(route, work, "t", False, 0.0)
    assert (right.weights[0][1], wrong.weights[0][1]) == (2.0, 0.1)


# ---------------------------------------------------------------------- the whole


def by_the_records(request: NodeRequest) -> str:
    """As a model would that reads: the agent with the best record gets it."""
    shares = {text.split()[1][:1]: int(text.split()[2][:-1]) for text in (m.text for m in request.messages)}
    best = max(shares, key=lambda agent: shares[agent])
    return "execute" if request.agent.startswith(f"agent{best}.") else f"forward {best}"


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("decide", [by_the_records, lambda request: "no idea"], ids=["reads", "undecided"])
def test_routing_to_the_agent_that_knows_is_learnt(
    tmp_path: Path, decide: Callable[[NodeRequest], str], seed: int
) -> None:
    method = Wordy(make_method("agentnet").spec)
    speaker = Specialists(decide)
    blank = method.team_system(context(tmp_path, seed), team(seed=seed), lambda temperature: speaker)
    assert asked(blank).accuracy < 0.6
    assert asked(prepared(tmp_path, speaker, seed=seed)).accuracy == 1.0


def test_the_same_search_learns_the_same(tmp_path: Path) -> None:
    kept = []
    for run in "ab":
        prepared(tmp_path / run, Specialists(by_the_records))
        kept.append(next((tmp_path / run).rglob("*.json")).read_text())
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("says", "calls"), [("execute", 2), ("forward", 3), ("forward 1", 3), ("split 1", 5), ("split 2", 5), ("what?", 2)]
)
def test_calls_are_those_of_the_nodes_reached(tmp_path: Path, says: str, calls: int) -> None:
    speaker = Specialists(lambda request: says)
    method = Wordy(make_method("agentnet").spec)
    system = method.team_system(context(tmp_path), team(), lambda temperature: speaker)
    meter = Meter()
    batch = asked(system, meter, count=12)
    spent = [sum(t.message.calls for t in batch.turns if t.request.episode == e) for e in range(12)]
    assert spent == [calls] * 12
    assert meter.calls == len(speaker.heard) == 12 * calls
    assert method.topology.num_nodes == 6 + 3 * 5 + 1


def test_the_search_is_metered_apart(tmp_path: Path) -> None:
    speaker = Specialists(lambda request: "execute")
    system = prepared(tmp_path, speaker, "agentnet:questions=20:batch=7")
    assert len(speaker.heard) == 40
    assert system.notes == {"search_calls": 40, "search_prompt_tokens": 40, "search_sampled_tokens": 80}


def test_what_is_heard_and_remembered(tmp_path: Path) -> None:
    speaker = Specialists(lambda request: "split: the first half")
    method = Wordy(make_method("agentnet").spec)
    memory = [[(f"{KINDS[0]} {n}", f"t{n}", n > 1) for n in range(6)] for _ in range(3)]
    system = method.team_system(context(tmp_path), team(memory=memory), lambda temperature: speaker)
    answers = asked(system, count=1).answers
    route1, solve1, route2, solve2, solve3 = speaker.heard
    share = round(100 * (1 + 3 * 0.5) / (2 + 0.8 + 4 * 0.5))  # task 0 has 4 of 5 words, and the others 3 of 6
    assert [m.text for m in route1.messages] == [f"agent {n}: {share}% right" for n in (1, 2, 3)]
    examples = "\n".join(f"{KINDS[0]} {n}\nt{n}" for n in (2, 3, 4))
    assert [m.text for m in solve1.messages] == [examples, "split: the first half"]
    assert [m.slot for m in solve2.messages] == [1, 2, 3]
    assert [m.text for m in solve2.messages][1:] == [speaker.say(solve1), "split: the first half"]
    assert len(route2.messages) == 3  # two records, the first solver's part
    assert [m.text for m in solve3.messages][1:] == [speaker.say(solve1), speaker.say(solve2)]
    assert answers == [speaker.say(solve3)]  # the last one's, not a part
    assert len({speaker.say(solver) for solver in (solve1, solve2, solve3)}) == 3
    assert f"You are {route1.agent[:6].replace('agent', 'agent ')}" in route1.node_instruction


@pytest.mark.parametrize(("says", "tokens"), [("split", 10), ("forward", 6)])
def test_tokens_beyond_the_allowance_weaken_edges(tmp_path: Path, says: str, tokens: int) -> None:
    method = Wordy(make_method("agentnet").spec)
    speaker = Specialists(lambda request: says)
    question = [Kinds().question("train", 0)]
    found = method.search(context(tmp_path), question, lambda temperature: speaker, Meter())
    moved = [weight for row in found["weights"] for weight in row if weight != 1.0]
    right = speaker.say(speaker.heard[-1]) == "right"
    factor = (1.1 if right else 0.9) * 6 / tokens  # allowed are 3 messages of 2 tokens
    assert moved == pytest.approx([factor, factor], abs=1e-6)  # both edges of the route


def test_a_memory_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    speaker = Specialists(lambda request: "execute")
    method = Wordy(make_method("agentnet:memory=4").spec)
    questions = [Kinds().question("train", index) for index in range(60)]
    found = method.search(context(tmp_path), questions, lambda temperature: speaker, Meter())
    assert [len(entries) for entries in found["memory"]] == [4, 4, 4]
    for agent, entries in enumerate(found["memory"]):
        said = [r.task for r in speaker.heard if r.agent == node(agent, "solve", 0)]
        assert [task for task, _, _ in entries] == said[-4:]


@pytest.mark.parametrize(
    ("name", "told"),
    [("agentnet:agents=0", "whole number"), ("agentnet:memory=x", "whole number"), ("agentnet:depth=2", "hops")],
)
def test_bad_options_are_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        make_method(name)
    assert told in str(refused.value)
