"""Majority of networks: copies that stand where the network stands, and a free vote over their answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import CHAIN, QUESTIONS, Script, chat_model, context, play, run

from algorithms import Backbone, TrainConfig, train
from baselines.base import System, make_method
from baselines.majority_of_networks import voting_copies
from neuromas_env import UsageError, run_episodes
from neuromas_env.errors import CheckpointError
from neuromas_env.topology import Topology

RIGHT = f"= {QUESTIONS[0].answer}"
WRONG, OTHER = (f"= {(int(QUESTIONS[0].answer) + step) % 10}" for step in (1, 2))


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        ([WRONG, RIGHT, RIGHT, OTHER], RIGHT),
        ([WRONG, RIGHT, RIGHT, WRONG], WRONG),  # a tie: the answer that was given first
        (["junk", "", RIGHT, "junk"], RIGHT),
    ],
)
def test_the_majority_of_the_copies_decides(
    backbone: Backbone, tmp_path: Path, answers: list[str], winner: str
) -> None:
    said = {f"node_2.{copy}": answer for copy, answer in enumerate(answers, start=1)}
    said |= {f"node_{place}.{copy}": f"words of {copy}" for place in (0, 1) for copy in range(1, 5)}
    played = play("majority-of-networks@4:2-1", said, backbone, tmp_path)
    assert played.answer == winner
    assert played.calls == 12  # the vote is free
    for copy in range(1, 5):  # no copy hears another
        assert played.script.heard(f"node_2.{copy}") == [f"words of {copy}"] * 2
    assert played.script.temperatures == {0.7}


@pytest.mark.parametrize("name", ["1", "1-1-1", "2-2-1/all", "3x2"])
def test_every_copy_is_asked_what_the_network_is_asked(name: str) -> None:
    def prompts(topology: Topology) -> dict[str, list[str]]:
        script = Script(lambda request: f"{request.agent.partition('.')[0]} at {request.step}")
        run_episodes(CHAIN, topology, script, [0])
        asked: dict[str, list[str]] = {}
        for request in script.asked:
            asked.setdefault(request.agent, []).append(request.prompt)
        return asked

    topology = Topology.parse(name)
    copies = voting_copies(topology, 3)
    assert copies.calls == 3 * topology.calls + 1
    alone, together = prompts(topology), prompts(copies)
    for copy in (1, 2, 3):
        assert {node: together[f"{node}.{copy}"] for node in topology.nodes} == alone


@pytest.mark.parametrize(
    ("name", "calls"), [("majority-of-networks:1-1-1", 15), ("majority-of-networks@3:2-1:temperature=1", 9)]
)
def test_it_runs_on_models_and_costs_copies_times_nodes(
    backbone: Backbone, tmp_path: Path, name: str, calls: int
) -> None:
    for model in (backbone, chat_model(tmp_path)):
        answers, made = run(name, model)
        assert made == calls
        assert run(name, model)[0] == answers
        system = make_method(name).prepare(context(model))
        said = [turn for turn in run_episodes(CHAIN, system.topology, system.policy, [0]).turns if turn.message.calls]
        assert len({turn.message.text for turn in said if turn.request.step == 0}) > 1  # copies differ by their draws


def test_the_copies_of_a_run_speak_with_its_adapters(backbone_folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    config = TrainConfig(  # `coin` is right now and then, so that its adapters move, and far
        "coin", topology="1-1", backbone=str(backbone_folder), out=str(tmp_path / "run"), updates=2, questions=4,
        learning_rate=0.3, max_tokens=2, validation_questions=0, instructions={"node_1": "Answer directly."},
    )  # fmt: skip
    record = train(config, progress=False)

    def asked(name: str) -> tuple[System, list[list[str]], set[int]]:
        system = make_method(name).prepare(context(backbone, weights=backbone.weight_hash()))
        batch = run_episodes(CHAIN, system.topology, system.policy, range(4), instructions=system.instructions)
        texts: dict[str, list[str]] = {}
        for turn in batch.turns:
            texts.setdefault(turn.request.agent, []).append(turn.message.text)
        return system, list(texts.values()), {len(turn.message.token_ids) for turn in batch.turns if turn.message.calls}

    one, (first, last), _ = asked(f"neuromas:1-1:run={record.folder}")
    many, texts, lengths = asked(f"majority-of-networks@2:1-1:run={record.folder}:temperature=1e-6")
    assert texts == [first, first, last, last, last]  # so cold that draws are the likeliest tokens
    assert lengths <= {1, 2}  # the run's limit
    assert many.trainable_parameters == one.trainable_parameters > 0  # copies share the adapters
    assert many.instructions == {"node_1.1": "Answer directly.", "node_1.2": "Answer directly."}
    assert many.notes == {**one.notes, "copies": 2}
    name = f"majority-of-networks:1-1:run={record.folder}"
    assert make_method(name).identity(context(backbone))["run"] == str(record.folder.resolve())
    with pytest.raises(CheckpointError, match="1-1"):
        make_method(f"majority-of-networks:2-1:run={record.folder}")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("majority-of-networks", "majority-of-networks@5:1-1-1"),
        ("majority-of-networks:banana", "majority-of-networks:banana"),
        ("majority-of-networks@2000:1", "1024 nodes"),
        ("majority-of-networks:1-1:updates=3", "updates"),
    ],
)
def test_a_bad_name_is_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_method(name)
