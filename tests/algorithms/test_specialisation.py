"""What the nodes learnt: forms of messages, counterfactuals on single edges, and the command that writes them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
import tiny_models
import torch

from algorithms import Network, TrainConfig, load_backbone
from algorithms.ablations import others
from algorithms.growth import grow
from algorithms.inspect_commands import inspect
from algorithms.run import Run
from algorithms.seeds import derive
from algorithms.specialisation import Remembering, Specialisation, observe, shape, specialisation
from algorithms.training import train
from algorithms.validation import GreedyPolicy
from neuromas_env import Message, Topology, make_task, run_episodes
from neuromas_env.cli import call
from neuromas_env.errors import CheckpointError, UsageError

ECHO = tiny_models.Echo()
QUESTIONS = [ECHO.question("validation", index) for index in range(20)]


class Scripted:
    """A policy made of a function from a request to a text; keeps what it was asked."""

    def __init__(self, speak) -> None:
        self.speak, self.asked = speak, []

    def act(self, requests):
        self.asked += requests
        return [Message(self.speak(request), token_ids=(1, 2)) for request in requests]


def look(speak, topology: str, **options):
    policy = Scripted(speak)
    seen = observe(policy, Topology.parse(topology), ECHO, QUESTIONS, **options)
    return seen, {(edge.sender, edge.receiver): edge for edge in seen.edges}, policy


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (". . . 5 +8 -6", ". … # ±# ±#"),
        (". . 5 +8 *5 -6", ". . # ±# …"),
        ("= 2", "= #"),
        ("", ""),
        ("so 1,234.50 and 3.", "so # and #."),
        ("no no no no no!", "no … no!"),
        ("seven of x2", "seven of x#"),
        ("a b c d e f g h i j k l", "a b c d e f g h i j k l"),
        ("a b c d e f g h i j k l m", "a b c d e f g h i j k l …"),
        ("1 22 333", "# …"),
        ("３ and ٤", "# and #"),
        ("a - b", "a - b"),
    ],
)
def test_messages_are_told_by_their_form(text, form):
    assert shape(text) == form


# ---------------------------------------------------------------------- by hand


def by_second(request) -> str:
    """The second node says the letter, the first the time of day, and the output answers by the second alone."""
    if request.agent != "node_2":
        return request.task[0] if request.agent == "node_1" else "12:30"
    return {"a": "yes", "b": "no", "": ""}[request.messages[1].text]


@pytest.mark.parametrize("seed", range(4))
def test_an_edge_that_decides_and_one_that_nobody_heeds(seed):
    seen, edges, _ = look(by_second, "2-1", seed=seed)
    assert seen.accuracy == 1.0
    decides, unheeded = edges["node_1", "node_2"], edges["node_0", "node_2"]
    assert (decides.silenced_changes, decides.silenced_accuracy) == (1.0, -1.0)
    question_of = {row: question.id for row, question in enumerate(QUESTIONS)}
    pairing = others(question_of, derive(seed, "edge", "node_1", "node_2"))
    moved = sum((a - b) % 2 for a, b in pairing.items()) / 20  # the questions go a, b, a, b, …
    assert 0 < moved < 1
    assert (decides.swapped_changes, decides.swapped_accuracy) == (moved, pytest.approx(-moved))
    assert not any((unheeded.silenced_changes, unheeded.silenced_accuracy))
    assert not any((unheeded.swapped_changes, unheeded.swapped_accuracy))
    assert (list(seen.edges), seen.strongest_edges) == ([unheeded, decides], [decides, unheeded])


def test_nodes_are_described_by_what_they_say():
    def speak(request):
        if request.agent == "node_0":
            return " " if request.task[0] == "a" else "no 1 2 3"
        return "yes" if request.task[0] == "a" and request.question_id != "echo/validation/0" else "yes yes"

    seen, _, _ = look(speak, "1-1")
    first, output = seen.nodes
    assert (first.types, first.empty, first.tokens, first.right) == ((("no # …", 0.5),), 0.5, 2.0, 0.5)
    assert output.types == (("yes yes", 0.55), ("yes", 0.45))
    assert (output.right, seen.accuracy) == (0.5, 0.5)


def test_an_answer_that_changes_without_becoming_right_or_wrong_is_a_change_and_another_wording_is_none():
    wrong = {"a": "no", "b": "yes", "": "says nothing"}
    seen, edges, _ = look(lambda r: r.task[0] if r.agent == "node_0" else wrong[r.messages[0].text], "1-1")
    assert (seen.accuracy, edges["node_0", "node_1"].silenced_changes) == (0.0, 1.0)
    assert edges["node_0", "node_1"].silenced_accuracy == 0.0
    _, edges, _ = look(lambda r: "yes sir" if r.messages and r.messages[0].text else "yes", "1-1")
    assert edges["node_0", "node_1"].silenced_changes == 0.0


def test_only_what_hears_something_else_speaks_again():
    """Every second message of node_1 tells whether it heard anything; the last two pass on what they hear."""

    def speak(request):
        heard = request.messages[0].text if request.messages else ""
        if request.agent == "node_0":
            return request.question_id
        if request.agent == "node_1":
            return "even" if request.task[0] == "a" or heard else "odd"
        return heard

    _, edges, policy = look(speak, "1-1-1-1")
    asked = Counter(request.agent for request in policy.asked)
    assert asked["node_0"] == 20  # once a question
    assert asked["node_1"] == 60  # as played, with nothing, with that of another
    # Silenced, node_1 says "odd" to half the questions; silenced itself, node_2 hears nothing; swapped, the same.
    assert asked["node_2"] == 20 + 10 + 20
    assert asked["node_3"] == 20 + 10 + 20
    assert edges["node_0", "node_1"].swapped_changes == 0.0
    assert len(set(policy.asked)) == len(policy.asked)


def test_a_policy_that_remembers_tells_apart_whatever_a_node_may_condition_on():
    policy = Scripted(lambda request: f"{request.agent} {request.question_id} {[m.text for m in request.messages]}")
    remembering = Remembering(policy)
    batch = run_episodes(ECHO, "2-1", remembering, [*QUESTIONS, *QUESTIONS], split="validation")
    assert len(policy.asked) == 60
    assert all(turn.message.text == policy.speak(turn.request) for turn in batch.turns)
    assert remembering.act([]) == []


def test_in_rounds_an_edge_is_changed_in_all_of_them():
    def speak(request):
        return f"{request.task[0]}{'|'.join(m.text for m in request.messages)}"

    seen, _, policy = look(speak, "2x3")
    assert len(seen.edges) == 4
    heard = [(r.step, r.task[0], r.messages[0].text[:1]) for r in policy.asked if r.agent == "node_1" and r.step]
    assert {step for step, _, letter in heard if not letter} == {1, 2}
    assert {step for step, letter, other in heard if other not in ("", letter)} == {1, 2}


@pytest.mark.parametrize("at_once", [1, 45, 4096])
def test_how_many_edges_are_played_together_makes_no_difference(monkeypatch, at_once):
    expected = look(by_second, "2-1", seed=5)[0]
    monkeypatch.setattr("algorithms.specialisation.EPISODES_AT_ONCE", at_once)
    assert look(by_second, "2-1", seed=5)[0] == expected


# ---------------------------------------------------------------------- networks


def test_a_silenced_edge_is_what_silencing_its_only_sender_is():
    """On the embedded backbone and `chain`, beside episodes that are played from the start."""
    torch.set_num_threads(1)
    task, network = make_task("chain", difficulty="2-3"), Network.create("2-1-1", load_backbone("nano"), rank=2)
    questions, policy = [task.question("validation", index) for index in range(30)], GreedyPolicy(network)
    seen = observe(policy, network.topology, task, questions)
    whole = run_episodes(task, network.topology, policy, questions, split="validation")
    assert seen.accuracy == whole.accuracy > 0
    assert any(edge.silenced_changes for edge in seen.edges)
    for edge in seen.edges:
        batch = run_episodes(task, network.topology, policy, questions, split="validation", silence=[edge.sender])
        changes = sum(a.parsed != b.parsed for a, b in zip(batch.scores, whole.scores, strict=True)) / 30
        assert (edge.silenced_changes, edge.silenced_accuracy) == (changes, batch.accuracy - whole.accuracy)
    closed = grow(network, "2-2-1")
    grown = observe(GreedyPolicy(closed), closed.topology, task, questions)
    assert [node.node for node in grown.nodes] == ["node_0", "node_1", "node_2", "node_4", "node_3"]  # by layer
    assert [node for node in grown.nodes if node.node != "node_4"] == list(seen.nodes)
    (new,) = (node for node in grown.nodes if node.node == "node_4")
    assert (new.empty, new.tokens, new.right, new.types) == (1.0, 0.0, 0.0, ())
    effects = {(edge.sender, edge.receiver): edge for edge in grown.edges}
    assert all(effects[edge.sender, edge.receiver] == edge for edge in seen.edges)
    assert not any(e.silenced_changes or e.swapped_changes for pair, e in effects.items() if "node_4" in pair)


@pytest.fixture(scope="module")
def run(backbone, tmp_path_factory) -> Run:
    config = TrainConfig(
        "echo", topology="1-1", out=str(tmp_path_factory.mktemp("run") / "run"), updates=4, questions=2, samples=4,
        learning_rate=1e-2, rank=2, validation_questions=20, validation_every=2, checkpoint_every=1,
        keep_checkpoints=9, tensorboard=False, backbone=backbone.name,
    )  # fmt: skip
    return train(config, task=ECHO, backbone=backbone)


def test_a_run_is_described_at_its_best_and_at_every_checkpoint(run, backbone):
    validated = {row["update"]: row["validation_accuracy"] for row in run.metrics if "validation_accuracy" in row}
    learnt = specialisation(run, task=ECHO, backbone=backbone)
    assert (learnt.now.update, learnt.now.questions) == (run.checkpoint("best").update, 20)
    assert learnt.now.accuracy == validated[learnt.now.update]
    assert [past.update for past in learnt.history] == [None, 0, 1, 2, 3, 4]
    assert replace(learnt.history[0], update=0) == learnt.history[1]  # a fresh network speaks like the backbone
    for past in learnt.history:
        assert past.accuracy == validated.get(past.update, past.accuracy)
    few = specialisation(run, 6, which=3, history=4, task=ECHO, backbone=backbone)
    assert (few.now.update, few.now.questions, {past.questions for past in few.history}) == (3, 6, {4})
    assert specialisation(run, 6, history=0, task=ECHO, backbone=backbone).history == ()
    assert Specialisation.from_json(json.loads(json.dumps(learnt.to_json()))) == learnt


def test_what_cannot_be_described_is_said(run, backbone, tmp_path):
    other = load_backbone(tiny_models.save(tmp_path, "llama", seed=9))
    with pytest.raises(UsageError, match="trained on other weights"):
        specialisation(run, task=ECHO, backbone=other)
    with pytest.raises(UsageError, match="at least 2 validation questions of echo, and not 1"):
        specialisation(run, 1, task=ECHO, backbone=backbone)
    with pytest.raises(CheckpointError, match="no checkpoint of update 7"):
        specialisation(run, which=7, task=ECHO, backbone=backbone)
    good = specialisation(run, 4, task=ECHO, backbone=backbone).to_json()
    for damaged in ({}, [], {**good, "version": 9}, {**good, "now": 3}, {**good, "history": [{"update": 1}]}):
        with pytest.raises(CheckpointError, match="what the nodes learnt"):
            Specialisation.from_json(damaged)


def test_the_command_prints_both_tables_and_writes_them(run, monkeypatch, capsys):
    monkeypatch.setattr(TrainConfig, "make_task", lambda self: ECHO)
    call(inspect, [str(run.folder), "--questions", "20", "--checkpoint", "last"], "neuromas inspect")
    printed = " ".join(capsys.readouterr().out.split())
    learnt = Specialisation.from_json(json.loads((run.folder / "nodes.json").read_text()))
    assert learnt == specialisation(run, which="last", task=ECHO)
    assert f"echo, network 1-1, update 4: accuracy {learnt.now.accuracy:.3f} on 20 validation questions" in printed
    assert "node_0 → node_1" in printed
    assert f"{learnt.now.edges[0].swapped_changes:.0%} {learnt.now.edges[0].swapped_accuracy:+.3f}" in printed
    assert all(text in printed for node in learnt.now.nodes for text, _ in node.types)
    assert printed.endswith("nodes.json")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--questions", "1"], "--questions is 1; at least 2"),
        (["--checkpoint", "worst"], "'worst'; best, last, or the number of an update"),
        (["--checkpoint", "77"], "keeps no checkpoint of update 77"),
    ],
)
def test_wrong_options_are_told_in_one_line(run, options, told):
    with pytest.raises(UsageError, match=told) as error:
        call(inspect, [str(run.folder), *options], "neuromas inspect")
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="is not a training run"):
        call(inspect, [str(tmp_path)], "neuromas inspect")
