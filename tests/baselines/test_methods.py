"""Names of methods, the vote, and what each method costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from algorithms import Backbone, Network
from algorithms.config import TrainConfig
from baselines.base import Context, Method, MethodName, System, make_method, register_method
from baselines.compare import resolve_method
from baselines.self_consistency import SelfConsistency, majority, samples_within, vote_topology
from baselines.single_rl import SingleRL
from baselines.workflow import Reader
from neuromas_env import Message, Meter, NodeRequest, UnknownNameError, UsageError, make_task, run_episodes
from neuromas_env.errors import NeuromasError
from neuromas_env.topology import Topology
from neuromas_env.transcripts import TranscriptWriter, read_transcript, replay

CHAIN = make_task("chain")
QUESTIONS = [CHAIN.question("test", index) for index in range(6)]


def context(backbone: Backbone, out: Path = Path("unused"), **changes: object) -> Context:
    training = TrainConfig("chain")
    whole = Context(CHAIN, QUESTIONS, 0, backbone, backbone.weight_hash(), training, training, out)
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def cost(system: System) -> dict[str, float]:
    meter = Meter()
    run_episodes(
        CHAIN, system.topology, system.policy, range(len(QUESTIONS)), instructions=system.instructions, meter=meter
    )
    return meter.per_question(len(QUESTIONS))


class Scripted:
    """Says what `words` holds for a node."""

    def __init__(self, words: dict[str, str]) -> None:
        self.words = words

    def act(self, requests: Sequence[NodeRequest]) -> list[Message]:
        return [Message(self.words[r.agent], token_ids=(1, 2, 3), prompt_ids=(4, 5)) for r in requests]


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "text",
    [
        "direct",
        "self-consistency@8",
        "self-consistency@8:temperature=0.5:instruction=cot",
        "neuromas:2-2-1/all",
        "single-rl:learning_rate=1e-3",
        "neuromas:1-1-1:updates=40:baseline=group",
    ],
)
def test_a_name_is_put_together_as_it_was_taken_apart(text: str) -> None:
    assert str(make_method(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("diret", "direct"),
        ("neuromas", "neuromas:1-1-1"),
        ("neuromas:1-2", "width 1"),
        ("untrained:banana", "banana"),
        ("direct@3", "@3"),
        ("direct:1-1", "1-1"),
        ("self-consistency@0", "number of samples"),
        ("self-consistency@many", "number of samples"),
        ("self-consistency:temperature=-1", "above 0"),
        ("self-consistency:instruction=shout", "cot"),
        ("self-consistency:colour=red", "temperature"),
        ("single-rl:learning_rat=1", "learning_rate"),
        ("single-rl:updates=many", "whole number"),
        ("single-rl:updates=0", "updates"),
        ("neuromas:1-1-1:normalize=perhaps", "true or false"),
        ("neuromas:1-1-1:", "NAME=VALUE"),
        ("", "no name"),
    ],
)
def test_a_bad_name_is_refused_with_what_is_accepted(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=r".") as refused:
        make_method(text)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_methods_are_found_by_exact_name_only() -> None:
    for near in ("Direct", "direct ", "dir", "self_consistency", "cot2"):
        with pytest.raises(UnknownNameError):
            make_method(MethodName(near))


def test_a_registered_method_is_made_and_a_taken_name_refused() -> None:
    class Silent(Method):
        name = "silent-for-a-test"

        def prepare(self, context: Context) -> System:
            return System(Topology.parse("1"), Scripted({"node_0": ""}))

    register_method(Silent.name, Silent)
    assert isinstance(make_method("silent-for-a-test"), Silent)
    with pytest.raises(UsageError, match="taken"):
        register_method("direct", Silent)


# ---------------------------------------------------------------------- votes


def parse(text: str) -> str | None:
    return text.removeprefix("= ") if text.startswith("= ") else None


@pytest.mark.parametrize(
    ("texts", "winner"),
    [
        (["= 1", "= 2", "= 2"], "= 2"),
        (["= 2", "= 1", "= 1", "= 2"], "= 2"),  # a tie: the answer that was given first
        (["= 1", "= 2", "= 2", "= 1"], "= 1"),
        (["junk", "junk", "junk", "= 3"], "= 3"),  # what cannot be read abstains
        (["junk", "= 4", "= 5", "= 5"], "= 5"),
        (["junk", "", "other"], "junk"),  # nobody answers: the first text, unparsed
        (["", "= 7"], "= 7"),
    ],
)
def test_the_majority_decides(texts: list[str], winner: str) -> None:
    assert majority(texts, parse) == winner


def test_votes_are_counted_on_the_environment_and_replayed(tmp_path: Path, backbone: Backbone) -> None:
    question = QUESTIONS[0]
    right, wrong = f"= {question.answer}", f"= {(int(question.answer) + 1) % 10}"
    topology = vote_topology(5)
    votes = dict(zip(topology.nodes, ["junk", wrong, right, right, wrong], strict=False))  # a tie, wrong came first
    for last, accuracy in ((wrong, 0.0), (right, 1.0)):
        votes["node_4"] = last
        method = SelfConsistency(MethodName("self-consistency"))
        system = method.system(context(backbone), 5, lambda temperature: Scripted(votes))
        meter = Meter()
        file = tmp_path / f"{accuracy}.jsonl"
        with TranscriptWriter(file) as transcript:
            batch = run_episodes(
                CHAIN,
                system.topology,
                system.policy,
                [0],
                instructions=system.instructions,
                meter=meter,
                transcript=transcript,
            )
        assert batch.accuracy == accuracy
        assert (meter.calls, meter.sampled_tokens, meter.prompt_tokens) == (5, 15, 10)  # the vote is free
        assert [score.value for score in replay(file, task=CHAIN)] == [accuracy]
        assert read_transcript(file).episodes[0].calls[-1].text == (right if accuracy else wrong)


def test_the_vote_never_holds_a_reference_answer() -> None:
    reader = Reader(CHAIN, QUESTIONS)
    assert {question.answer for question in reader._questions.values()} == {""}


# ---------------------------------------------------------------------- cost and budgets


@pytest.mark.parametrize(
    ("name", "calls"),
    [("direct", 1), ("cot", 1), ("self-consistency@4", 4), ("self-consistency", 8), ("untrained:2-2-1", 5)],
)
def test_calls_are_what_the_definition_says(backbone: Backbone, name: str, calls: int) -> None:
    system = make_method(name).prepare(context(backbone))
    assert cost(system)["calls"] == calls
    assert system.trainable_parameters == 0


def test_samples_are_draws_of_the_prompt_that_a_single_call_gets(backbone: Backbone) -> None:
    def prompts(name: str, seed: int = 0) -> tuple[set[str], list[str]]:
        system = make_method(name).prepare(context(backbone, seed=seed))
        batch = run_episodes(CHAIN, system.topology, system.policy, [0], instructions=system.instructions)
        asked = [turn for turn in batch.turns if turn.message.calls]
        return {turn.request.prompt for turn in asked}, [turn.message.text for turn in asked]

    alone, _ = prompts("direct")
    many, texts = prompts("self-consistency@6")
    assert many == alone
    assert len(set(texts)) > 1  # drawn at a temperature, each by itself
    assert prompts("self-consistency@6")[1] == texts
    assert prompts("self-consistency@6", seed=1)[1] != texts
    assert prompts("self-consistency@6:instruction=cot")[0] == prompts("cot")[0]


@pytest.mark.parametrize(
    ("budget", "length", "samples"), [(24.0, 3.0, 8), (23.9, 3.0, 7), (2.0, 3.0, 1), (24.0, 8.0, 3), (5.0, 0.0, 5)]
)
def test_as_many_samples_as_fit_the_budget(budget: float, length: float, samples: int) -> None:
    assert samples_within(budget, length) == samples


def test_bare_self_consistency_stays_within_the_tokens_of_the_network(backbone: Backbone) -> None:
    budget = 50.0
    system = make_method("self-consistency").prepare(context(backbone, token_budget=budget))
    samples, spent = system.notes["samples"], cost(system)["sampled_tokens"]
    assert spent <= budget * 1.02
    assert spent * (samples + 1) / samples > budget * 0.98  # one sample more would not fit


@pytest.mark.parametrize("topology", ["1-1-1", "2-2-1", "3x2"])
def test_single_rl_has_the_parameters_and_the_calls_of_the_network(backbone: Backbone, topology: str) -> None:
    network = TrainConfig("chain", topology=topology, rank=4, updates=10, learning_rate=0.123)
    single = SingleRL(MethodName("single-rl")).training_config(TrainConfig("chain"), network)
    graph = Topology.parse(topology)
    assert (
        Network.create("1", backbone, rank=single.rank).trainable_parameters
        == Network.create(graph, backbone, rank=network.rank).trainable_parameters
    )
    assert single.alpha / single.rank == network.alpha / network.rank
    per_update = (single.questions, single.samples)
    assert per_update == (network.questions, network.samples)
    assert single.updates == network.updates * graph.calls
    assert single.learning_rate != network.learning_rate  # its own


def test_an_option_of_a_name_wins_over_the_comparison_and_the_method() -> None:
    method = make_method("single-rl:learning_rate=2e-4:updates=7:baseline=group")
    assert isinstance(method, SingleRL)
    config = method.training_config(TrainConfig("chain", learning_rate=1.0), TrainConfig("chain"))
    assert (config.learning_rate, config.updates, config.options) == (2e-4, 7, {"baseline": "group"})


def test_a_folder_that_is_called_like_a_method_is_none(tmp_path, monkeypatch):
    """As after `neuromas leaderboard pack … --method debate --out debate`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "debate").mkdir()
    (tmp_path / "mine").mkdir()
    assert str(resolve_method("debate")) == "debate"
    with pytest.raises(NeuromasError, match="mine is not a training run"):
        resolve_method("mine")
