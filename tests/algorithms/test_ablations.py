"""Ablations: each kind takes away what it says and nothing else, and the network itself is left alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import tiny_models
import torch

from algorithms import Network, load_backbone
from algorithms.ablations import KINDS, Shuffled, Swapped, WithoutPositions, ablate, others, permuted
from algorithms.growth import grow
from algorithms.validation import GreedyPolicy
from neuromas_env import Message, Meter, make_task, run_episodes
from neuromas_env.errors import UnknownNameError, UsageError

ECHO = tiny_models.LongEcho()
QUESTIONS = list(range(12))


def awake(network: Network, scale: float = 0.3) -> Network:
    """With adapters that say something of their own."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.adapters.flat_NP.copy_(scale * torch.randn(network.adapters.flat_NP.shape, generator=generator))
    return network


def said(batch, nodes) -> dict:
    """Every prompt and message of `nodes` (the answers of random networks are often all alike)."""
    turns = [turn for turn in batch.turns if turn.request.agent in nodes]
    return {(t.request.agent, t.request.episode): (t.message.prompt_ids, t.message.text) for t in turns}


class Recorder:
    """Says its own name, the question, and four words, in a text with spaces of its own; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list = []

    def act(self, requests):
        self.asked += requests
        return [Message(f"{r.agent} {r.question_id}  one two\nthree four ") for r in requests]


def heard(policy: Recorder, wrap, topology: str = "2-2-1/all", questions=QUESTIONS):
    """What the policy was asked, beside what the environment asked, over one batch."""
    batch = run_episodes(ECHO, topology, wrap(policy), questions)
    return list(zip([turn.request for turn in batch.turns], policy.asked, strict=True))


@pytest.mark.parametrize("topology", ["2-2-1/all", "3x2"])
def test_shuffled_messages_keep_their_words_and_spaces_and_lose_their_order(topology):
    pairs = heard(Recorder(), lambda policy: Shuffled(policy, seed=3), topology)
    moved = 0
    for asked, given in pairs:
        assert replace(given, messages=asked.messages) == asked
        for said, got in zip(asked.messages, given.messages, strict=True):
            assert replace(got, text=said.text) == said
            assert Counter(got.text.split()) == Counter(said.text.split())
            assert [c for c in got.text if c.isspace()] == [c for c in said.text if c.isspace()]
            moved += got.text != said.text
    messages = sum(bool(said.text) for asked, _ in pairs for said in asked.messages)
    assert 0.9 * messages < moved <= messages
    again = heard(Recorder(), lambda policy: Shuffled(policy, seed=3), topology)
    assert again == pairs
    assert heard(Recorder(), lambda policy: Shuffled(policy, seed=4), topology) != pairs
    # Another order for each question, and for each sender.
    orders = {tuple(t.split().index(w) for w in ("one", "two", "three", "four")) for _, g in pairs
              for t in (m.text for m in g.messages) if t}  # fmt: skip
    assert len(orders) > 5


@pytest.mark.parametrize("topology", ["2-2-1/all", "3x2"])
def test_swapped_messages_are_what_the_same_sender_said_to_another_question(topology):
    questions = [index for index in QUESTIONS for _ in range(2)]
    pairs = heard(Recorder(), lambda policy: Swapped(policy, seed=3), topology, questions)
    by_place: dict = {}
    for asked, given in pairs:
        assert replace(given, messages=asked.messages) == asked
        for said, got in zip(asked.messages, given.messages, strict=True):
            assert replace(got, text=said.text) == said
            if said.text:
                assert got.text.split()[0] == said.sender
                assert got.text.split()[1] != asked.question_id
                by_place.setdefault((asked.agent, asked.step, said.sender), []).append((said.text, got.text))
    assert by_place
    for texts in by_place.values():  # every message is heard once
        assert sorted(said for said, _ in texts) == sorted(got for _, got in texts)
    assert heard(Recorder(), lambda policy: Swapped(policy, seed=3), topology, questions) == pairs
    assert heard(Recorder(), lambda policy: Swapped(policy, seed=4), topology, questions) != pairs


def test_pairings_are_of_different_questions_wherever_there_is_such_a_pairing():
    for questions in ("abcdef", "aabbcc", "aaab" + "bcd", "ab", "aaabbb", "abcabcabc"):
        question_of = dict(enumerate(questions))
        for seed in range(20):
            pairing = others(question_of, seed)
            assert sorted(pairing) == sorted(pairing.values()) == sorted(question_of)
            assert all(question_of[a] != question_of[b] for a, b in pairing.items())
    assert len({tuple(others(dict(enumerate("abcdef")), seed).items()) for seed in range(50)}) > 20
    for questions in ("a", "aab", "aa"):
        with pytest.raises(UsageError, match="more than half of the batch"):
            others(dict(enumerate(questions)), 0)


@pytest.mark.parametrize(("topology", "line"), [("2-2-1", "layer 1 node 1:"), ("3x2", "round 1 node 1:")])
def test_without_positions_all_prompts_end_alike(topology, line):
    pairs = heard(Recorder(), WithoutPositions, topology)
    assert len({asked.prompt.splitlines()[-1] for asked, _ in pairs}) >= 5
    for asked, given in pairs:
        assert given.prompt.splitlines()[-1] == line
        assert given.prompt.splitlines()[:-1] == asked.prompt.splitlines()[:-1]
        assert replace(given, position=asked.position) == asked


def test_permuting_gives_every_hidden_node_the_adapter_of_another(backbone):
    network = awake(Network.create("3-2-1", backbone, rank=2))
    before = network.adapters.flat_NP.clone()
    seen = set()
    for seed in range(10):
        rows = permuted(network, seed).adapters.flat_NP
        places = [int((before == row).all(1).nonzero()[0, 0]) for row in rows]
        assert sorted(places) == list(range(6))
        assert places[5] == 5  # the output
        assert not any(place == node for node, place in enumerate(places[:5]))
        seen.add(tuple(places))
    assert len(seen) > 3
    assert torch.equal(network.adapters.flat_NP, before)
    grown = grow(awake(Network.create("2-1-1", backbone, rank=2)), "4-1-1", seed=5)  # node_4 and node_5 are closed
    for seed in range(10):
        rows = permuted(grown, seed).adapters.flat_NP
        assert [torch.equal(row, old) for row, old in zip(rows, grown.adapters.flat_NP, strict=True)] == [
            *[False] * 3, *[True] * 3,
        ]  # fmt: skip
    for topology, rank, told in (("1-1", 2, "only 1 that speak"), ("1", 2, "only 0"), ("1-1-1", 0, "no adapters")):
        with pytest.raises(UsageError, match=told):
            permuted(Network.create(topology, backbone, rank=rank))


def test_permuting_equal_adapters_changes_nothing_and_other_ones_what_is_said(backbone):
    network = awake(Network.create("2-2-1", backbone, rank=2))
    nodes = network.topology.nodes
    whole = said(run_episodes(ECHO, "2-2-1", GreedyPolicy(network), QUESTIONS), nodes)
    assert said(ablate(network, ECHO, QUESTIONS, "permute"), nodes) != whole
    with torch.no_grad():
        network.adapters.flat_NP[:4] = network.adapters.flat_NP[0].clone()
    whole = said(run_episodes(ECHO, "2-2-1", GreedyPolicy(network), QUESTIONS), nodes)
    assert said(ablate(network, ECHO, QUESTIONS, "permute"), nodes) == whole


def test_silence_is_that_of_the_hidden_nodes_or_of_those_that_are_named(backbone):
    network = awake(Network.create("2-2-1", backbone, rank=2))
    for nodes, silenced in ((None, ["node_0", "node_1", "node_2", "node_3"]), (["node_1"], ["node_1"])):
        batch = ablate(network, ECHO, QUESTIONS, "silence", nodes=nodes)
        expected = run_episodes(ECHO, "2-2-1", GreedyPolicy(network), QUESTIONS, silence=silenced)
        assert batch.turns == expected.turns
        empty = {m.sender for turn in batch.turns for m in turn.request.messages if not m.text}
        assert empty == set(silenced)
    with pytest.raises(UnknownNameError, match="node in silence"):
        ablate(network, ECHO, QUESTIONS, "silence", nodes=["node_9"])
    with pytest.raises(UsageError, match="only silence takes nodes"):
        ablate(network, ECHO, QUESTIONS, "swap", nodes=["node_1"])
    with pytest.raises(UnknownNameError, match="unknown ablation 'swop'; did you mean swap"):
        ablate(network, ECHO, QUESTIONS, "swop")
    with pytest.raises(UsageError, match="one is 1 of 1"):
        ablate(network, ECHO, [0], "swap")


def test_a_network_that_ignores_its_messages_loses_nothing_and_one_that_lives_by_them_does(backbone, monkeypatch):
    """The speakers are scripts: one answers by the question, one by what it hears."""

    def speak(requests, answer):
        texts = [answer(r) if r.position.is_output or not r.messages else r.messages[0].text for r in requests]
        return [Message(text) for text in texts]

    def by_question(request):
        return "yes" if request.task.startswith("a") else "no"

    def by_message(request):
        return request.messages[0].text if request.messages else f"{by_question(request)} indeed"

    network, task = Network.create("1-1-1", backbone, rank=2), tiny_models.Echo()
    accuracy = {}
    for answer in (by_question, by_message):
        monkeypatch.setattr(
            Network, "sample", lambda self, requests, temperature, seed, a=answer: speak(requests, a)
        )  # fmt: skip
        accuracy[answer] = {kind: ablate(network, task, range(20), kind, seed=1).accuracy for kind in KINDS}
    silent = accuracy[by_question].pop("positions")  # told to be a first node, the output passes on what it hears
    assert silent == 1.0
    assert set(accuracy[by_question].values()) == {1.0}
    assert accuracy[by_message]["silence"] == 0.0
    assert 0.2 < accuracy[by_message]["swap"] < 0.8
    assert 0.2 < accuracy[by_message]["shuffle"] < 0.8  # "indeed yes" is no answer
    assert accuracy[by_message]["permute"] == accuracy[by_message]["positions"] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_closed_in_a_grown_network_stays_closed(kind):
    """On the embedded backbone, whose nodes say something else to each question."""
    network = awake(Network.create("1-1-1", load_backbone("nano"), rank=2), scale=0.02)
    task, nodes = make_task("chain", difficulty="2-3"), network.topology.nodes
    whole = said(run_episodes(task, "1-1-1", GreedyPolicy(network), QUESTIONS), nodes)
    texts, calls = [], []
    for each in (network, grow(network, "2-2-1", init="clone")):
        meter, silenced = Meter(), ["node_0"] if kind == "silence" else None
        texts.append(said(ablate(each, task, QUESTIONS, kind, nodes=silenced, seed=2, meter=meter), nodes))
        calls.append(meter.calls)
    assert texts[0] == texts[1] != whole
    assert calls == [36, 36]
    opened = grow(network, "2-2-1", init="clone", opening="immediate")
    assert said(ablate(opened, task, QUESTIONS, kind, seed=2), nodes) != texts[0]
    drawn = [said(ablate(network, task, QUESTIONS, kind, seed=seed), nodes) for seed in (2, 2, 3)]
    assert drawn[0] == drawn[1]
    assert (drawn[0] != drawn[2]) == (kind in ("shuffle", "swap"))  # two hidden nodes can only be exchanged
