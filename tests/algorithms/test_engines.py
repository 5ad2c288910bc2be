"""Engines: the same network, whoever samples for it."""

import json
from typing import ClassVar

import oracle
import pytest

from algorithms import Network, TrainConfig, train
from algorithms.engines import Capabilities, PromptBatch, TokenEngine, make_engine
from algorithms.engines.scripted import ScriptedEngine
from neuromas_env.episodes import run_episodes
from neuromas_env.errors import UnknownNameError, UsageError


class Divided(TokenEngine):
    """Samples a batch in parts, as workers do, the last part first."""

    name: ClassVar[str] = "divided"

    def __init__(self, inner, count):
        self.inner, self.count = inner, count

    def sample(self, network, batch):
        results = {}
        for places in reversed(batch.shares(self.count)):
            if places:
                results |= dict(zip(places, self.inner.sample(network, batch.part(places)), strict=True))
        return [results[place] for place in range(len(batch))]


def network(topology="2-2-1"):
    made = Network.create(topology, "nano", rank=2, seed=1)
    oracle.shake(made.adapters)
    return made


def answers(policy, temperature=1.0):
    class Warm:
        def act(self, requests):
            return policy.sample(requests, temperature, seed=7)

    batch = run_episodes("chain", policy.topology, Warm(), list(range(6)) * 2)
    return [turn.message for turn in batch.turns]


@pytest.mark.parametrize("count", [2, 3, 50])
def test_a_divided_batch_says_what_the_whole_says(count):
    whole, divided = network(), network()
    divided.engine = Divided(make_engine(), count)
    for one, other in zip(answers(whole), answers(divided), strict=True):
        assert (one.text, one.token_ids, one.finish_reason) == (other.text, other.token_ids, other.finish_reason)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_parts_of_parts_keep_their_rows():
    batch = PromptBatch([0] * 6, [[1]] * 6, list("aabbcc"), [4, 4, 9, 4, 4, 4], 1.0, 0)
    part = batch.part([0, 1, 4, 5]).part([1, 3])
    assert (part.rows, part.total, part.longest) == ([1, 5], 6, 9)
    assert batch.shares(2) == [[0, 1, 4, 5], [2, 3]]


def test_scripted_texts_by_node_and_for_all_others(tmp_path):
    path = tmp_path / "said.json"
    path.write_text(json.dumps({"node_2": "7", "*": "well"}))
    scripted = network("1-1-1")
    scripted.engine = make_engine(f"scripted:{path}")
    batch = run_episodes("chain", "1-1-1", scripted, range(3))
    assert [turn.message.text for turn in batch.turns] == ["well"] * 6 + ["7"] * 3
    assert batch.answers == ["7"] * 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("transformers:cpu", "takes nothing after"),
        ("scripted", "no file cannot be read"),
        ("scripted:missing.json", "cannot be read"),
    ],
)
def test_what_no_engine_can_be_made_of_is_told(text, told):
    with pytest.raises(UsageError, match=told):
        make_engine(text)


def test_an_unknown_engine_lists_those_that_exist():
    with pytest.raises(UnknownNameError, match="transformers"):
        make_engine("transfomers")


def test_training_names_what_an_engine_lacks(tmp_path):
    config = TrainConfig("chain", topology="1", updates=1, out=str(tmp_path / "run"))
    with pytest.raises(UsageError, match="training needs adapters, log-probabilities, token ids, which"):
        train(config, network=speechless())
    assert not (tmp_path / "run").exists()


def speechless():
    made = network("1")
    made.engine = ScriptedEngine(lambda request: "")
    return made


def test_capabilities_name_only_what_is_needed():
    with pytest.raises(UsageError, match="asking needs adapters, which"):
        Capabilities(token_ids=True).check("mute", "asking", adapters=True, token_ids=True)
    Capabilities(adapters=True).check("mute", "asking", adapters=True)
