"""Training along a curriculum: questions follow the measured success, through kills too, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
import torch
from left_behind import contents

from algorithms.backbone import Backbone, load_backbone
from algorithms.config import TrainConfig
from algorithms.run import Run
from algorithms.seeds import question_indices
from algorithms.training import train
from neuromas_env import Question, register_task, registry
from neuromas_env.cli import main
from neuromas_env.curriculum import Curriculum
from neuromas_env.errors import UsageError

UPDATES = 10
WORDS = tiny_models.WORDS


class Vowels(tiny_models.Echo):
    """Say one of the words that count as right: half of all at difficulty 1, a quarter at 2, an eighth at 3.

    `asked` keeps what was asked, in order: (difficulty, split, index).
    """

    name = "vowels"
    asked: list[tuple[str, str, int]] = []  # noqa: RUF012 - shared by the tasks of all levels on purpose

    def __init__(self, difficulty: str | None = None) -> None:
        self.difficulty = difficulty or "3"
        if self.difficulty not in "123":
            raise UsageError(f"difficulty {difficulty!r} is not 1, 2 or 3")

    def question(self, split: str, index: int) -> Question:
        self.asked.append((self.difficulty, split, index))
        return Question(f"vowels/{self.difficulty}/{split}/{index}", "abcdefgh"[index % 8], "right")

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        words = text.split()
        if not words or words[0] not in WORDS:
            return None
        return "wrong" if WORDS.index(words[0]) % 2 ** int(self.difficulty) else "right"


@pytest.fixture(scope="module", autouse=True)
def vowels_is_a_task() -> Iterator[None]:
    register_task(Vowels)
    yield
    registry.TASKS.forget("vowels")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return tiny_models.save(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def backbone(folder: str) -> Backbone:
    return load_backbone(folder)


@pytest.fixture
def config(tmp_path: Path, folder: str) -> TrainConfig:
    return TrainConfig(
        "vowels", topology="1-1", backbone=folder, out=str(tmp_path / "run"), updates=UPDATES, questions=2, samples=8,
        learning_rate=1e-2, rank=2, validation_questions=4, validation_every=5, checkpoint_every=2, tensorboard=False,
        curriculum="1,2,3", curriculum_threshold=0.6, curriculum_window=3,
    )  # fmt: skip


def test_each_update_trains_on_the_level_that_the_rewards_before_it_have_earned(config, backbone):
    Vowels.asked.clear()
    run = train(config, backbone=backbone)
    rows = run.metrics
    assert "difficulty" not in rows[0]  # nothing is learnt from in update 0

    progress = Curriculum.parse("1,2,3", threshold=0.6, window=3).start()
    expected = []
    for row in rows[1:]:
        assert (row["level"], row["difficulty"]) == (progress.index + 1, progress.level)
        expected += [
            (progress.level, "train", index) for index in question_indices(config.seed, row["update"], 2, None)
        ]
        progress = progress.record(row["reward"])
    assert [asked for asked in Vowels.asked if asked[1] == "train"] == expected
    # Levels rise in this run, the first of them after more than one window.
    difficulties = [row["difficulty"] for row in rows[1:]]
    assert set(difficulties) == {"1", "2", "3"}
    assert difficulties.count("1") > 3

    # Whatever the level, networks are judged at the difficulty of the task itself.
    judged = {difficulty for difficulty, split, _ in Vowels.asked if split == "validation"}
    assert judged == {"3"}
    assert run.latest.state().curriculum == progress.to_json()


class KilledError(Exception):
    pass


@pytest.mark.parametrize("moment", range(UPDATES + 1))
def test_killed_after_any_update_and_resumed_it_is_the_run_that_never_stopped(config, backbone, tmp_path, moment):
    whole = train(replace(config, out=str(tmp_path / "whole")), backbone=backbone)

    def kill(row):
        if row["update"] == moment:
            raise KilledError

    with pytest.raises(KilledError):
        train(config, backbone=backbone, on_update=kill)
    run = Run(Path(config.out))
    if moment == 2:  # in the middle of the first window
        assert len(run.latest.state().curriculum["recent"]) == 2
    assert train(config, resume=True, backbone=backbone).finished
    assert contents(run.folder) == contents(whole.folder)


def test_a_curriculum_of_the_own_difficulty_alone_changes_nothing_but_the_record_of_it(config, backbone, tmp_path):
    plain = train(replace(config, curriculum=None, difficulty="2"), backbone=backbone)
    alone = train(replace(config, curriculum="2", difficulty="2", out=str(tmp_path / "alone")), backbone=backbone)
    rows = [row | {"level": 1, "difficulty": "2"} if row["update"] else row for row in plain.metrics]
    assert alone.metrics == rows
    assert plain.latest.state().curriculum == {}


@pytest.mark.parametrize(
    "change", [{"curriculum": "1,3"}, {"curriculum": None}, {"curriculum_threshold": 0.61}, {"curriculum_window": 2}]
)
def test_another_curriculum_is_another_run(config, backbone, change):
    run = train(replace(config, updates=1), backbone=backbone).folder
    before = contents(run)
    with pytest.raises(UsageError, match=f"holds another run: {next(iter(change)).replace('_', '-')} is .* there and"):
        train(replace(config, updates=1, **change), resume=True, backbone=backbone)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("vowels --curriculum 1,4", "curriculum level '4': difficulty '4' is not 1, 2 or 3"),
        ("chain --curriculum 1,2-7", "curriculum level '2-7': difficulty '2-7' is not a range LOW-HIGH within 1-6"),
        ("tests/echo --curriculum 1,2", "task 'tests/echo' takes no difficulty, so it has no curriculum"),
        ("vowels --curriculum 1,,2", "curriculum level 2 cannot be ''"),
        ("vowels --curriculum 1,1", "curriculum level '1' is there twice"),
        ("vowels --curriculum 1,2 --curriculum-threshold 0", "curriculum-threshold cannot be 0.0"),
        ("vowels --curriculum 1,2 --curriculum-threshold 1.5", "curriculum-threshold cannot be 1.5"),
        ("vowels --curriculum 1,2 --curriculum-window 0", "curriculum-window cannot be 0"),
    ],
)
def test_bad_curricula_are_one_line_with_exit_code_2_and_nothing_is_written(
    options, message, folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(registry.TASKS._registered, "tests/echo", tiny_models.Echo)
    with pytest.raises(SystemExit) as stop:
        main(["train", *options.split(), "--backbone", folder, "--out", str(tmp_path / "run")])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"neuromas: error: {message}")
    assert not (tmp_path / "run").exists()


def test_a_task_object_has_no_levels(config, backbone):
    with pytest.raises(UsageError, match=r"name of a .*task, and no Task object"):
        train(config, task=Vowels("1"), backbone=backbone)
    assert not Path(config.out).exists()


def test_the_command_says_which_difficulty_is_trained_on(folder, tmp_path, capsys):
    command = ["train", "vowels", "--topology", "1", "--backbone", folder, "--out", str(tmp_path / "run")]
    options = "--updates 2 --questions 2 --samples 4 --validation-questions 2 --validation-every 1 --curriculum 2,3"
    with pytest.raises(SystemExit) as stop:
        main([*command, *options.split(), "--no-tensorboard"])
    assert not stop.value.code
    assert "at difficulty 2," in capsys.readouterr().err
