"""The shipped backbone is what its script makes, in form and in skill, and the script works."""

from __future__ import annotations

import dataclasses
import json

import pytest

pytest.importorskip("torch")

import torch

from algorithms import Network, load_backbone
from algorithms.backbone import EMBEDDED
from algorithms.nano.config import PretrainConfig
from algorithms.nano.pretrain import pretrain
from algorithms.nano.vocabulary import ANSWER_NOW, words
from neuromas_env.episodes import run_episodes
from neuromas_env.errors import UsageError
from neuromas_env.registry import make_task

if not hasattr(torch.optim, "Muon"):
    pytest.skip("this torch has no Muon optimizer", allow_module_level=True)


TREE_RECIPE = {"architecture": "qwen3", "width": 128, "layers": 3, "feed_forward": 320}
TREE_RECIPE |= {"trees": True, "chain_steps": 2400}


@pytest.mark.parametrize(("name", "changes"), [("nano", {}), ("nano-tree", TREE_RECIPE)])
def test_a_shipped_folder_is_small_and_made_by_the_script(name, changes):
    folder = EMBEDDED[name]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12 * 2**20
    recipe = json.loads((folder / "recipe.json").read_text())
    defaults = {**dataclasses.asdict(PretrainConfig(out=folder)), **changes}
    assert {name: recipe[name] for name in recipe if name in defaults} == {
        name: value for name, value in defaults.items() if name in recipe
    }
    assert {"walk_steps", "chain_steps", "seed", "torch"} <= set(recipe)


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_shipped_tokenizer_is_the_vocabulary_of_the_script(name):
    tokenizer = load_backbone(name).tokenizer
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == words(trees=name == "nano-tree")


@pytest.mark.parametrize(("name", "task"), [("nano", "chain"), ("nano-tree", "chain"), ("nano-tree", "tree")])
def test_it_answers_when_told_to_and_knows_single_operations(name, task):
    """Told to answer, it always gives an answer; one operation it mostly gets right, where chance is a tenth."""
    network = Network.create("1", name, rank=0)
    task = make_task(task, difficulty="1")
    questions = [task.question("train", index) for index in range(200)]
    batch = run_episodes(task, network.topology, network, questions, instructions={"node_0": ANSWER_NOW})
    assert all(not score.unread for score in batch.scores)
    assert sum(score.value for score in batch.scores) > 0.5 * len(questions)


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_a_few_steps_make_a_folder_that_loads_and_the_same_seed_the_same_weights(tmp_path, architecture):
    hashes = []
    for name in ("first", "second"):
        config = PretrainConfig(
            tmp_path / name,
            architecture=architecture,
            walk_steps=2,
            chain_steps=1,
            documents=4,
            branches=2,
            width=32,
            layers=2,
            feed_forward=32,
        )
        pretrain(config, log=lambda line: None)
        hashes.append(load_backbone(str(tmp_path / name)).weight_hash())
        report = [json.loads(line) for line in (tmp_path / name / "pretraining.jsonl").read_text().splitlines()]
        assert [row["step"] for row in report] == [2, 3]
        assert load_backbone(str(tmp_path / name)).model.config.model_type == architecture
    assert hashes[0] == hashes[1]


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        pretrain(PretrainConfig(tmp_path / "file" / "nano"), log=lambda line: None)
