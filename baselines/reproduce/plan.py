"""How large a reproduction is: its tasks, seeds and budgets, and the comparisons that every experiment is made of.

All experiments are comparisons of methods (`baselines/compare.py`), each in a folder of its own, so that what was
trained or asked once is never done again, and an interrupted reproduction goes on where it stood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuromas_env.errors import UnknownNameError, UsageError
from neuromas_env.task import Question, Task

from ..base import make_method
from ..compare import Comparison, read_kept, run_comparison
from ..evaluate import choose_questions
from ..results import Outcomes, Row
from ..training import digest, slug

if TYPE_CHECKING:
    from algorithms.backbone import Backbone
    from algorithms.run import Run

Say = Callable[[str], None]
PAPER, NANO = "paper", "nano"


@dataclass(frozen=True)
class TaskPlan:
    """One task, and the tokens that a training on it may sample where budgets are made equal."""

    name: str
    token_budget: int
    difficulty: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None
    questions: int | None = None
    message_tokens: int | None = None
    allow_code_execution: bool = False
    backbone: str | None = None
    """What answers it where the plan's backbone is the embedded one, which does not know every task."""

    one_rate: bool = False
    """Only the middle learning rate in the experiment on growth: a task that is there to explain."""

    recipes: bool = True
    """Whether ways of growing are compared on it: not where three nodes are as good as any network."""

    @property
    def label(self) -> str:
        return " ".join(filter(None, [self.name, self.difficulty]))

    @property
    def folder(self) -> str:
        return self.label.replace(" ", "-").replace("/", "-")


TASKS = {
    "chain": TaskPlan("chain", 60_000, "2-3", recipes=False),
    "chain-long": TaskPlan("chain", 60_000, "3-4", one_rate=True),
    "navigate": TaskPlan("navigate", 50_000, "2-9", recipes=False),
    "tree": TaskPlan("tree", 40_000, "1-2", backbone="nano-tree"),
}
"""Of the embedded backbone; by the name at `--tasks`."""

KEPT_CHECKPOINTS = 6
"""Of every run, beside the best one: what the nodes learnt is looked at over training."""
BATCH = {"questions": 8}
"""Half the usual batch: a network of 15 nodes samples so much in one update that few would be left otherwise."""


BUDGETS = ("parameters", "tokens")


@dataclass(frozen=True)
class Plan:
    """Everything that a reproduction depends on, apart from the code."""

    out: Path
    tasks: Sequence[TaskPlan]
    growing: Sequence[TaskPlan]
    """The tasks of the experiments on growth."""
    seeds: Sequence[int]
    questions: int
    learning_rates: Sequence[str]
    updates: int = 80
    budget: float = 1.0
    """The share of every task's token budget that is used."""
    backbone: str = "nano"
    second: str | None = None
    """Another backbone, for the experiment on robustness."""
    jobs: int | None = None
    quick: bool = False
    budgets: Sequence[str] = BUDGETS
    """What is equal in training where all methods are compared."""

    @property
    def middle_rate(self) -> str:
        """The middle one of the learning rates, by size."""
        return sorted(self.learning_rates, key=float)[len(self.learning_rates) // 2]

    def rates(self, task: TaskPlan) -> list[str]:
        """The learning rates of the experiment on growth on `task`."""
        return [self.middle_rate] if task.one_rate else list(self.learning_rates)

    def to_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        return values | {"out": self.out.name, "seeds": list(self.seeds), "learning_rates": list(self.learning_rates),
                         "budgets": list(self.budgets)}  # fmt: skip


def chosen_tasks(names: str, data: Path | None) -> list[TaskPlan]:
    """The tasks called `names`, with commas between, or the six of the paper. Raises UnknownNameError."""
    if names == PAPER:
        return paper_tasks(data)
    for name in names.split(","):
        if name not in TASKS:
            raise UnknownNameError("task of reproduce", name, [*TASKS, PAPER])
    return [TASKS[name] for name in names.split(",")]


def paper_tasks(data: Path | None) -> list[TaskPlan]:
    """The tasks of the shipped protocol `paper`."""
    from ..protocol import find_protocol, read_protocol

    return [
        TaskPlan(
            task.id,
            2_000_000,
            task.difficulty,
            task.options,
            str((data or Path()) / task.data) if task.data and data else None,
            task.questions,
            task.message_tokens,
            allow_code_execution=task.id == "humaneval",
        )
        for task in read_protocol(find_protocol(PAPER)).tasks
    ]


@dataclass(frozen=True)
class Compared:
    """What became of one comparison."""

    comparison: Comparison
    rows: Sequence[Row]
    outcomes: Mapping[str, Sequence[Outcomes]]

    def correct(self, method: str) -> np.ndarray:
        """Which questions were answered right, [S, Q]."""
        return np.stack([outcome.correct_Q for outcome in self.outcomes[method]])

    def row(self, method: str) -> Row:
        """The row of a method over all seeds."""
        return next(row for row in self.rows if row.method == method and row.seed is None)

    def runs(self, method: str, seed: int) -> list[Run]:
        """The training runs behind a method's network, each grown from the one before."""
        from algorithms.run import Run

        made = next(each for each in self.comparison.methods if str(each) == method)
        return [Run(config.folder) for config in made.run_configs(self.comparison.context(seed))]


@dataclass(frozen=True)
class Bench:
    """What runs comparisons for the experiments."""

    plan: Plan
    backbone: Backbone
    say: Say

    def model(self, task: TaskPlan) -> Backbone:
        """The backbone for a task."""
        from ..commands import load

        own = task.backbone if self.plan.backbone == NANO else None
        return self.backbone if own is None else load(own)

    def compare(
        self,
        folder: str,
        task: TaskPlan,
        methods: Sequence[str],
        train: Mapping[str, Any],
        backbone: Backbone | None = None,
    ) -> Compared:
        """`methods` on the test questions of `task`, in OUT/folder/task, trained with the options `train`."""
        from ..commands import asked_as, default_jobs, load_task, row_details, training_config

        plan, model = self.plan, backbone or self.model(task)
        data = Path(task.data) if task.data else None
        problem = load_task(task.name, data, task.difficulty, task.options, task.allow_code_execution)
        problem.max_message_tokens = min(problem.max_message_tokens, task.message_tokens or problem.max_message_tokens)
        asked = self.asked(problem, task.questions or plan.questions)
        options = tuple(f"{name}={value}" for name, value in train.items())
        typed = asked_as(data, task.difficulty, task.options, task.allow_code_execution)
        training = training_config(problem, model.pinned, options, typed)
        training = dataclasses.replace(
            training, max_tokens=problem.max_message_tokens, keep_checkpoints=KEPT_CHECKPOINTS
        )
        comparison = Comparison(
            problem,
            "test",
            asked,
            [make_method(name) for name in methods],
            plan.seeds,
            model,
            training,
            plan.out / folder / task.folder,
            workers=plan.jobs or default_jobs(training),
            details=row_details(problem, "test", asked, data, task.difficulty),
        )
        rows, outcomes = run_comparison(comparison, say=lambda text: self.say(f"{folder}, {task.label}: {text}"))
        return Compared(comparison, rows, outcomes)

    def kept(self, folder: str, name: str, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """What `make` gave for this `key` before, from OUT/folder, or gives now; JSON values."""
        from algorithms.files import write_json

        path = self.plan.out / folder / f"{slug(name)}-{digest(dict(key))}.json"
        found = read_kept(path, key)
        if found is None:
            self.say(f"{folder}: {name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            found = {"key": dict(key), "found": make()}
            write_json(path, found)
        return found["found"]

    def asked(self, problem: Task, most: int) -> list[Question]:
        """The first `most` test questions, or all where there are fewer."""
        size = problem.size("test")
        return choose_questions(problem, "test", most if size is None else min(most, size))

    def tokens(self, task: TaskPlan) -> dict[str, Any]:
        """Training options that give everything that trains the same number of sampled tokens."""
        return BATCH | {"token_budget": round(task.token_budget * self.plan.budget), "updates": self.plan.updates}


def check_seeds(seeds: int) -> None:
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: at least 1 seed is needed")
