"""The benchmark measures what it says: the models, the turns, the floors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from algorithms.bench.contest import Contestant, ContestError, Turns, alternate, ratio
from algorithms.bench.contestants import ours, peft_loop
from algorithms.bench.floors import Products, plain, sampling_floor, training_floor
from algorithms.bench.learning import learn_ours, reward
from algorithms.bench.work import SHAPES, Engine, Work
from algorithms.distributed import Team
from neuromas_env.cli import main
from neuromas_env.errors import UnknownNameError

TINY = Work("t1", questions=2, samples=2, prompt=6, new=3)


@pytest.mark.parametrize(("name", "parameters"), [("t1", 853_376), ("t5", 4_197_440), ("qwen3-0.6b", 596_049_920)])
def test_models_have_the_size_they_are_known_by(name: str, parameters: int) -> None:
    model = Work(name, device="meta").model()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters  # Qwen/Qwen3-0.6B's own count


def test_floors_count_every_product_of_a_pass_once() -> None:
    products = Products(TINY, plain)
    shape = SHAPES["t1"]
    per_token = sum(weight.numel() for weight in products.layers)
    with FlopCounterMode(display=False) as counted:
        products.forward(10, 4)()
    assert counted.get_total_flops() == 2 * (10 * per_token + 4 * shape.vocabulary * shape.hidden)
    with FlopCounterMode(display=False) as counted:
        products.backward(10, 4)()
    assert counted.get_total_flops() == 2 * (10 * per_token + 4 * shape.vocabulary * shape.hidden)


def test_floors_multiply_by_the_product_they_are_given() -> None:
    counted: list[tuple[int, ...]] = []

    def told(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        counted.append((*x.shape, *weight.shape))
        return plain(x, weight)

    sampling_floor(TINY, told)
    layers = 4 * 7 + 1  # seven linear layers in each of four, and the head
    assert len(counted) == 2 * 4 * layers  # prefill and one token, each once more than it is timed
    assert counted[0][0] == TINY.questions * TINY.prompt
    assert counted[-1] == (4, 128, 512, 128)
    counted.clear()
    training_floor(TINY, told)
    assert counted[-1][0] == TINY.questions * (TINY.prompt + TINY.samples * TINY.new)


def waits(work: Work, turns: Turns) -> None:
    held = []
    while turns.next():
        held.append(bytearray(1000))


def fails(work: Work, turns: Turns) -> None:
    turns.next()
    raise ValueError("no such thing")


def test_contestants_take_turns_and_tell_what_they_took() -> None:
    first, second = Contestant("first", waits, TINY), Contestant("second", waits, Work("t1", questions=4, samples=2))
    alternate([first, second], steps=2)
    assert [len(each.seconds) for each in (first, second)] == [3, 3]
    assert 10**7 < min(first.memory, second.memory) < 10**9  # not what this process holds
    first.seconds, second.seconds = [9.0, 1.0, 2.0, 4.0], [1.0, 4.0, 4.0, 4.0]
    assert first.per_second == 4 / 2.0
    assert ratio(first, second) == 0.5 * 2.0  # half as much work; 4, 2 and 1 times as fast


def needs_the_other(work: Work, turns: Turns) -> None:
    team = Team.join("cpu")
    while turns.next():
        if team.gather(team.rank) != [0, 1]:
            raise ValueError("where is the other?")


def fails_in_the_second(work: Work, turns: Turns) -> None:
    turns.next()
    if os.environ["RANK"] == "1":
        raise ValueError("no such thing")


def test_the_processes_of_a_contestant_find_each_other_and_count_together() -> None:
    one, two = Contestant("one", waits, TINY), Contestant("two", needs_the_other, TINY, processes=2)
    alternate([one, two], steps=2)
    assert len(two.seconds) == 3
    assert two.memory > 1.5 * one.memory
    assert "WORLD_SIZE" not in os.environ
    with pytest.raises(ContestError, match="bad failed: ValueError: no such thing"):
        alternate([Contestant("bad", fails_in_the_second, TINY, processes=2)], steps=1)


def divided(work: Work, turns: Turns) -> None:
    """Fails unless two processes take the step that one would take with the questions of both."""
    team = Team.join("cpu")
    engine, alone = Engine(work, team), Engine(work)
    turns.next()
    sampled = engine.sample(seed=0)
    both = [one for share in team.gather(list(zip(*sampled, strict=True))) for one in share]
    engine.learn(*sampled)
    nodes, rows, groups, drawn = (list(column) for column in zip(*both, strict=True))
    groups = [group + work.questions * (place >= len(sampled[0])) for place, group in enumerate(groups)]
    alone.learn(nodes, rows, groups, drawn, torch.linspace(-1, 1, len(sampled[0])).repeat(2))
    found, expected = engine.adapters.grad_NP, alone.adapters.grad_NP
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
    turns.next()


def test_two_processes_take_one_step() -> None:
    alternate([Contestant("ours", divided, Work("t1", 2, 2, 2, 6, 3), processes=2)], steps=0)


def test_a_contestant_that_fails_is_named() -> None:
    with pytest.raises(ContestError, match="bad failed: ValueError: no such thing"):
        alternate([Contestant("bad", fails, TINY)], steps=1)


def test_ours_and_the_loop_over_adapters_do_the_work_of_two_nodes() -> None:
    work = Work("t1", nodes=2, questions=2, samples=2, prompt=6, new=3)
    contestants = [ours(work), peft_loop(work)]
    alternate(contestants, steps=1)
    assert all(seconds > 0 for each in contestants for seconds in each.seconds)


def test_a_step_of_ours_moves_every_node() -> None:
    engine = Engine(Work("t1", nodes=2, questions=2, samples=2, prompt=6, new=3))
    before = engine.adapters.flat_NP.clone()
    engine.step()
    assert (engine.adapters.flat_NP != before).any(1).all()


def test_the_reward_of_the_learning_curve_can_be_learnt() -> None:
    assert [reward(text) for text in ("w4 w6", "w3", "", "w4 w5 <eos>")] == [1.0, 0.0, 0.0, 0.5]
    curve = learn_ours(Work("t1", questions=8, samples=8, prompt=6, new=6, spread=0.06), 40, seed=0)
    assert curve[0] < 0.6
    assert sum(curve[-3:]) / 3 > curve[0] + 0.1


def test_the_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--questions", "2", "--samples", "2", "--prompt", "6", "--new", "3", "--steps", "1"]
    options = ["--models", "t1", "--nodes", "1,2", "--device", "cpu", "--json", str(tmp_path / "bench.json")]
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "--parts", "environment,sampling,training", *size, *options])
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [(row["model"], row["nodes"]) for row in found["sampling"]] == [("t1", 1), ("t1", 2)]
    assert all(0 < row["share"] < 1 and row["share of torch's"] > 0 for row in found["sampling"] + found["training"])
    assert f"{found['training'][1]['samples/s']:,}" in capsys.readouterr().out
    assert "torch" in found["machine"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--parts", "speed"], "environment"),
        (["--nodes", "0"], "whole numbers"),
        (["--steps", "0"], "at least 1"),
        (["--questions", "3", "--threads", "2"], "do not divide"),
    ],
)
def test_what_cannot_be_measured_is_told(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", *options])
    assert told in capsys.readouterr().err


def test_an_unknown_model_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="qwen3"):
        Work("t2")
