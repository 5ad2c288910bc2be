"""Optimisers of topologies: each by hand, on a planted problem, within the budget, resumed, and saved."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.env_checker import check_env

from baselines.architecture.coding import Coding
from baselines.architecture.controller import PlanController, load_controller
from baselines.architecture.ledger import BudgetSpentError, Ledger
from baselines.architecture.optimisers import ALGORITHMS, STEPWISE, least, search
from baselines.architecture.plans import ridge
from baselines.architecture.problem import GrowthProblem, Problem, TopologyProblem
from baselines.architecture.reinforce import ReinforcePolicy, policy_gradient
from baselines.architecture.sb3 import PolicyController, batched
from neuromas_env import CheckpointError, Question, Topology, UnknownNameError, UsageError
from neuromas_env.search import EdgeSpace, Evaluation, Played, SearchSpace, ShapeSpace, Stage, TemplateSpace
from tests.benchmarks.planted import Planted, Reporters

PLANTED = Planted(0, nodes=4)
TEMPLATES = TemplateSpace(["1", "1-1", "1-1-1", "1-1-1-1"])


class Counting:
    """The planted evaluator, and how many evaluations each call of it made."""

    def __init__(self, planted: Any = PLANTED) -> None:
        self.planted, self.calls = planted, list[int]()

    def __call__(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]:
        self.calls.append(len(questions))
        return self.planted(questions, topologies)


def problem(
    budget: int = 200,
    path: Path | None = None,
    space: SearchSpace = PLANTED.space,
    evaluator: Any = PLANTED,
    **own: Any,
) -> TopologyProblem:
    ledger = Ledger(budget, path)
    return TopologyProblem(space, evaluator, PLANTED.questions, PLANTED.token_budget, ledger, price=0.1, **own)


def trained(path: Sequence[Topology]) -> Stage:
    """Widening pays, and nothing else does."""
    widened = [after.num_nodes - before.num_nodes == 1 for before, after in itertools.pairwise(path)]
    return Stage(0.1 * sum(widened[:-1]), 0.1 * sum(widened), 25)


def growth(budget: int, path: Path | None = None) -> GrowthProblem:
    return GrowthProblem(trained, 100, Ledger(budget, path))


# ---------------------------------------------------------------------- actions as numbers


def test_choices_are_coded_as_indicators_of_all_options_but_the_first() -> None:
    coding = Coding(np.array([2, 3, 2]))
    assert coding.encode(np.array([[1, 2, 0], [0, 1, 1]])).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    logits = np.array([np.log(3.0), np.log(2.0), np.log(5.0), 800.0])
    assert coding.probabilities(logits).tolist() == pytest.approx([3 / 4, 2 / 8, 5 / 8, 1.0])
    assert coding.best(np.array([-1.0, 0.5, 0.2, 0.0])).tolist() == [0, 1, 0]
    assert coding.likeliest(np.array([0.5, 0.3, 0.3, 0.51])).tolist() == [0, 0, 1]
    drawn = coding.draw(np.random.default_rng(0), np.array([0.9, 0.2, 0.5, 0.0]), 4000)
    assert coding.encode(drawn).mean(axis=0).tolist() == pytest.approx([0.9, 0.2, 0.5, 0.0], abs=0.03)


def test_the_policy_gradient_is_that_of_the_log_probability() -> None:
    coding = Coding(np.array([2, 3]))
    logits, actions, advantages = np.array([0.3, -1.2, 2.0]), np.array([[1, 0], [0, 2]]), np.array([0.75, -0.25])

    def objective(at: np.ndarray) -> float:
        p, q, r = (float(x) for x in coding.probabilities(at))
        return float(advantages[0] * np.log(p * (1 - q - r)) + advantages[1] * np.log((1 - p) * r)) / 2

    gradient = policy_gradient(coding.probabilities(logits), coding.encode(actions), advantages)
    for place in range(3):
        step = np.eye(3)[place] * 1e-6
        slope = (objective(logits + step) - objective(logits - step)) / 2e-6
        assert gradient[place] == pytest.approx(slope)


def test_reinforce_has_the_mean_of_all_before_as_its_baseline() -> None:
    policy = ReinforcePolicy(Coding(np.array([2])), 0.1)
    policy.learn(np.array([[1], [1]]), np.array([1.0, 1.0]))  # the first batch is its own baseline
    assert policy.probabilities_K[0] == 0.5
    policy.learn(np.array([[1], [1]]), np.array([0.5, 0.5]))  # less than before
    assert policy.probabilities_K[0] < 0.5


def test_ridge_is_least_squares_with_a_penalty() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 2, (60, 3)).astype(float)
    rewards = inputs @ [0.5, -0.25, 0.0] + 3.0 + 0.1 * rng.standard_normal(60)
    mean, covariance = ridge(inputs, rewards)
    whole = np.hstack([inputs, np.ones((60, 1))])  # the intercept as a column without a penalty
    expected = np.linalg.solve(whole.T @ whole + np.diag([1, 1, 1, 0.0]), whole.T @ rewards)
    assert mean == pytest.approx(expected[:3])
    residual = rewards - whole @ expected
    assert covariance == pytest.approx(residual.var() * np.linalg.inv(whole.T @ whole + np.diag([1, 1, 1, 0]))[:3, :3])


# ---------------------------------------------------------------------- the planted problem


def test_the_planted_network_is_worth_what_playing_it_gives() -> None:
    rng = np.random.default_rng(0)
    topologies = [PLANTED.space.build(rng.random(6) < 0.5) for _ in range(40)]
    asked = [PLANTED.questions[index % 6] for index in range(40)]
    assert Played(PLANTED.task, Reporters())(asked, topologies) == PLANTED(asked, topologies)
    for topology in topologies:
        found = PLANTED(PLANTED.questions, [topology] * 6)
        mean = np.mean([each.score - 0.1 * each.tokens / PLANTED.token_budget for each in found])
        assert PLANTED.value(topology, 0.1) == pytest.approx(mean)


def test_the_planted_edges_are_the_best_ones() -> None:
    masks = itertools.product([0, 1], repeat=6)
    values = {mask: PLANTED.value(PLANTED.space.build(np.array(mask)), 0.1) for mask in masks}
    planted = tuple(int(edge in PLANTED.planted) for edge in PLANTED.space.base.edges)
    assert [mask for mask, value in values.items() if value > max(values.values()) - 1e-9] == [planted]
    assert PLANTED.best(0.1) == values[planted]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_optimiser_gains_within_its_budget(algorithm: str) -> None:
    shares = []
    for seed in range(3):
        space = TEMPLATES if algorithm == "dqn" else PLANTED.space
        given = problem(400, space=space, seed=seed)
        found = search(algorithm, given, seed).choose(given, given.typical_D)
        spent = len(given.ledger.records)
        assert 400 - 40 < spent <= 400
        chance = PLANTED.chance(0.1, 200)
        best = PLANTED.best(0.1)
        if algorithm == "dqn":
            values = [PLANTED.value(topology, 0.1) for topology in TEMPLATES.topologies]
            chance, best = float(np.mean(values)), max(values)
        shares.append((PLANTED.value(found, 0.1) - chance) / (best - chance))
    assert np.mean(shares) > 0.3


@pytest.mark.parametrize("algorithm", STEPWISE)
@pytest.mark.parametrize("budget", [60, 400])
def test_stable_baselines_really_updates_within_the_budget(algorithm: str, budget: int) -> None:
    given = problem(budget, space=TEMPLATES)
    controller = search(algorithm, given, 0)
    assert isinstance(controller, PolicyController)
    updates = {"ppo": 20, "a2c": 1, "dqn": 10}[algorithm] * (budget // 40 - (budget % 40 > 0) if budget > 60 else 2)
    assert controller.model._n_updates >= updates > 0


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "dqn"])
def test_growth_is_searched_too(algorithm: str) -> None:
    given = growth(120)
    search(algorithm, given, 0)
    assert 120 - 16 < len(given.ledger.records) <= 120
    returns = [earned for earned, _, _ in given.episodes]
    assert max(returns) > np.mean(returns)
    assert len(given.rewards()) == len(given.tokens()) == len(given.ledger.records)


# ---------------------------------------------------------------------- environments in a batch


@pytest.mark.parametrize(
    "own", [{}, {"layerwise": True}, {"space": ShapeSpace(2, 2)}, {"space": TEMPLATES}],
    ids=["edges", "edges layerwise", "shape", "templates"],
)  # fmt: skip
def test_stable_baselines_accepts_the_environment(own: Any) -> None:
    check_env(problem(10_000, evaluator=Free(), **own).make_env())


def test_stable_baselines_accepts_the_environment_of_growth() -> None:
    check_env(growth(10_000).make_env())


class Free:
    """Every answer is right, at no cost."""

    def __call__(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]:
        return [Evaluation(1.0, 1, 0) for _ in questions]


@pytest.mark.parametrize("layerwise", [False, True])
def test_a_batch_of_environments_asks_once_a_step_and_is_the_single_one(layerwise: bool) -> None:
    counting = Counting()
    given = problem(10_000, evaluator=counting, layerwise=layerwise)
    env = batched(given)
    env.seed(5)
    seen = env.reset()
    alone = [problem(10_000, layerwise=layerwise).make_env() for _ in range(given.parallel)]
    first = [each.reset(seed=5 + place)[0] for place, each in enumerate(alone)]
    assert (seen["question"] == np.stack([observation["question"] for observation in first])).all()
    rng = np.random.default_rng(0)
    for _ in range(6):
        actions = rng.integers(0, 2, (given.parallel, *given.make_env().action_space.shape))
        _, rewards, over, _ = env.step(actions)
        for place, each in enumerate(alone):
            _, reward, ended, _, _ = each.step(actions[place])
            assert (rewards[place], over[place]) == (pytest.approx(reward), ended)
            if ended:
                each.reset()
    assert len(counting.calls) <= 6
    assert max(counting.calls) > 1
    assert sum(counting.calls) == len(given.ledger.records)


# ---------------------------------------------------------------------- the budget, and going on


def test_a_budget_is_never_overspent() -> None:
    ledger = Ledger(3)
    ledger.take(["a", "b"], lambda: [{}, {}])
    with pytest.raises(BudgetSpentError, match="2 evaluations were asked for, and 1 are left"):
        ledger.take(["c", "d"], lambda: [{}, {}])
    with pytest.raises(UsageError, match="a budget of 0 evaluations is impossible"):
        Ledger(0)


class Killed(Exception):  # noqa: N818 - what a kill looks like from within
    pass


class Mortal:
    """The planted evaluator, which dies after some evaluations, and counts them."""

    def __init__(self, lives: int) -> None:
        self.lives, self.made = lives, 0

    def __call__(self, questions: Sequence[Question], topologies: Sequence[Topology]) -> list[Evaluation]:
        self.made += len(questions)
        if self.made > self.lives:
            raise Killed
        return PLANTED(questions, topologies)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_killed_search_ends_as_one_that_was_not(tmp_path: Path, algorithm: str) -> None:
    space = TEMPLATES if algorithm == "dqn" else PLANTED.space

    def run(name: str, evaluator: Any) -> tuple[Any, bytes]:
        file = tmp_path / name
        given = problem(160, file, space, evaluator)
        try:
            found = search(algorithm, given, 0).choose(given, given.typical_D, np.random.default_rng(0))
        finally:
            given.ledger.close()
        return found, file.read_bytes()

    whole = run("whole", PLANTED)
    for lives in (0, 41, 90):
        with pytest.raises(Killed):
            run("killed", Mortal(lives))
        if lives == 41:  # the last line cut, as by a kill while it was written
            file = tmp_path / "killed"
            file.write_bytes(file.read_bytes()[:-9])
    last = Mortal(1000)
    assert run("killed", last) == whole
    assert last.made < 160 - 40  # what was recorded was not made again


def test_growth_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "stages.jsonl"
    made: list[int] = []

    def mortal(path: Sequence[Topology]) -> Stage:
        if len(made) == 30:
            raise Killed
        made.append(len(path))
        return trained(path)

    for train in (mortal, trained):
        given = GrowthProblem(train, 100, Ledger(60, file))
        try:
            search("a2c", given, 1)
        except Killed:
            assert train is mortal
        given.ledger.close()
    whole = growth(60)
    search("a2c", whole, 1)
    assert (given.episodes, given.ledger.records) == (whole.episodes, whole.ledger.records)


def test_a_record_of_another_search_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "evaluations.jsonl"
    given = problem(40, file)
    search("ridge", given, 0)
    given.ledger.close()
    with pytest.raises(CheckpointError, match="another search"):
        search("ridge", problem(40, file), 1)
    file.write_text('{"keys": ["a"], "records": []}\n')
    with pytest.raises(CheckpointError, match="no record of evaluations"):
        problem(40, file)


# ---------------------------------------------------------------------- controllers


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_controller_that_was_saved_and_loaded_acts_alike(tmp_path: Path, algorithm: str) -> None:
    given = problem(120, space=TEMPLATES if algorithm == "dqn" else PLANTED.space)
    controller = search(algorithm, given, 0)
    controller.save(tmp_path)
    again = load_controller(tmp_path)
    questions = [*(given.embedding(question.prompt) for question in given.questions), given.typical_D]
    for seed, question_D in enumerate(questions):
        assert controller.choose(given, question_D) == again.choose(given, question_D)
        drawn, redrawn = (each.choose(given, question_D, np.random.default_rng(seed)) for each in (controller, again))
        assert drawn == redrawn
    (tmp_path / "controller.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds no controller"):
        load_controller(tmp_path)


def test_a_plan_is_drawn_with_its_probabilities() -> None:
    given = problem()
    controller = PlanController([2] * 6, np.zeros(6), np.array([1, 0, 1, 0, 0.5, 1]))
    drawn = [controller.choose(given, given.typical_D, np.random.default_rng(seed)) for seed in range(60)]
    both = [given.build(np.array([1, 0, 1, 0, bit, 1])) for bit in (0, 1)]
    assert {*drawn} == {*both}
    assert 15 < drawn.count(both[0]) < 45
    assert controller.choose(given, given.typical_D) == given.build(np.zeros(6))


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
def test_the_global_generators_are_left_alone(algorithm: str) -> None:
    def numbers() -> Any:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[union-attr]

    random.seed(3)
    before = numbers()
    search(algorithm, problem(80), 0)
    assert numbers() == before


@pytest.mark.parametrize(
    ("algorithm", "given", "told"),
    [
        ("ppo2", lambda: problem(), "unknown search algorithm 'ppo2'; did you mean ppo"),
        ("dqn", lambda: problem(), "dqn makes one choice of a few"),
        ("ridge", lambda: problem(layerwise=True), "ridge chooses whole topologies"),
        ("ppo", lambda: problem(20), "a budget of 20 evaluations is impossible for ppo"),
        ("reinforce", lambda: problem(3), "impossible for reinforce .* 4 or more"),
        ("random", lambda: growth(3), "impossible for random .* 4 or more"),
    ],
)
def test_what_an_algorithm_cannot_do_is_refused_by_name(algorithm: str, given: Any, told: str) -> None:
    kind = UnknownNameError if algorithm == "ppo2" else UsageError
    with pytest.raises(kind, match=told):
        search(algorithm, given(), 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("make", [lambda n: problem(n, space=TEMPLATES), growth])
def test_the_fewest_evaluations_suffice(algorithm: str, make: Any) -> None:
    wide: Problem = make(1000)
    fewest = next(budget for budget in range(1, 1000) if budget >= least(algorithm, make(budget)))
    assert fewest < 100
    assert least(algorithm, wide) < 1000
    given = make(fewest)
    controller = search(algorithm, given, 0)
    if isinstance(controller, PolicyController):
        assert controller.model._n_updates > 0


def test_edges_of_a_base_that_is_wide(tmp_path: Path) -> None:
    space = EdgeSpace("2-2-1/all")
    given = TopologyProblem(space, Free(), PLANTED.questions, 100, Ledger(40), layerwise=True)
    assert search("a2c", given, 0).choose(given, given.typical_D).output == "node_4"
