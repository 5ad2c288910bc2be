"""A study of learning: algorithms and credit assignments side by side, at equal sampled tokens, over seeds and sizes.

Every combination is trained by `neuromas train`'s own loop until it has sampled the same number of tokens (those that
credit assignment samples included), and judged as its best-validation checkpoint on held-out questions. Two figures say
how it went: the accuracy, and how many tokens it took to reach a validation accuracy. Both come as the median over
seeds with their range, since a run that got stuck should be seen and not averaged away.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from tyro.conf import Positional, arg

from neuromas_env.errors import UsageError

if TYPE_CHECKING:
    from .compare import Comparison
    from .results import Outcomes, Row

CREDITS = ("counterfactual", "counterfactual:replacement=sample", "leave-one-out", "shapley", "tree",
           "counterfactual:normalize_by=network")  # fmt: skip
"""Every credit assignment beside the shared reward, as it follows `credit=` in a method's name."""


@dataclass(frozen=True)
class Summary:
    """One combination on one topology. `reached`: sampled tokens until validation first reached the target, each seed
    (None where it never did); `credit_calls`: the share of training calls that credit assignment added."""

    algorithm: str
    credit: str
    epochs: int
    topology: str
    accuracies: list[float]
    reached: list[int | None]
    updates: float
    sampled_tokens: float
    credit_calls: float
    seconds: float

    @property
    def median(self) -> float:
        return float(np.median(self.accuracies))

    @property
    def median_reached(self) -> float | None:
        """The median of `reached`, where more than half of the seeds did."""
        values = sorted(float("inf") if tokens is None else float(tokens) for tokens in self.reached)
        middle = float(np.median(values))
        return middle if np.isfinite(middle) else None


def combinations(
    algorithms: Sequence[str], credits: Sequence[str], epochs: int, learning_rates: Mapping[str, str]
) -> list[tuple[str, str, int, str]]:
    """(algorithm, credit, epochs, options of a method's name): every algorithm with the credit that is its own, then
    the first algorithm with every other credit, and so on for those marked with + (as in reinforce,grpo+)."""
    from algorithms.algorithm import algorithm_class

    rows: list[tuple[str, str, int, str]] = []
    for name in algorithms:
        bare = name.rstrip("+")
        algorithm = algorithm_class(bare)
        passes = epochs if algorithm.takes_epochs else 1
        for credit in [algorithm.credit, *(credits if name.endswith("+") else ())]:
            options = f"algorithm={bare}" + (f":credit={credit}" if credit != algorithm.credit else "")
            options += f":epochs={passes}" if passes > 1 else ""
            options += f":learning_rate={learning_rates[bare]}" if bare in learning_rates else ""
            rows.append((bare, credit, passes, options))
    return rows


def study(
    task: Annotated[str, Positional, arg(metavar="TASK")] = "chain",
    algorithms: Annotated[str | None, arg(metavar="NAME,NAME+")] = None,
    credits: Annotated[str | None, arg(metavar="NAME,NAME")] = None,
    topologies: Annotated[str, arg(metavar="TOPOLOGY,TOPOLOGY")] = "1-1-1",
    seeds: Annotated[int, arg(metavar="K")] = 5,
    token_budget: Annotated[int, arg(metavar="TOKENS")] = 120_000,
    epochs: int = 2,
    questions: int = 1000,
    target: float = 0.9,
    difficulty: Annotated[str | None, arg(metavar="LOW-HIGH")] = None,
    backbone: Annotated[str, arg(metavar="NAME")] = "nano",
    train: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")] = (),
    learning_rates: Annotated[dict[str, str], arg(metavar="ALGORITHM RATE ...")] = {},  # noqa: B006 - read only
    jobs: Annotated[int | None, arg(metavar="N")] = None,
    out: Annotated[Path | None, arg(metavar="FOLDER")] = None,
) -> None:
    """Compare learning algorithms and credit assignments at equal sampled tokens: medians and ranges over seeds.

    Every algorithm is trained with the credit assignment that is its own; those marked with + also with every other
    one. The table is printed and written as table.md and study.json. An interrupted study goes on when the same
    command is given again.

    Args:
        task: A task listed by `neuromas tasks`.
        algorithms: Which algorithms, with commas between; without it, all, and reinforce+.
        credits: The other credit assignments, with commas between; without it, all.
        topologies: The networks, with commas between.
        seeds: How many seeds; each trains anew.
        token_budget: The tokens each run may sample in training.
        epochs: Gradient steps on each batch, for algorithms that take several.
        questions: Held-out questions that each trained network is asked.
        target: The validation accuracy for which the tokens are counted.
        difficulty: How hard the questions are, for tasks that grade them.
        backbone: The frozen model: nano, a Hugging Face id or a folder.
        train: Training options for all, such as questions=32 samples=4.
        learning_rates: Learning rates of single algorithms, where they differ.
        jobs: How many trainings, and then evaluations, run at once; without it, one a CPU core.
        out: The folder of runs and results; without it, runs/study-TASK.
    """
    from rich.console import Console

    from algorithms.algorithm import algorithm_names
    from algorithms.files import write_json, write_text

    from .base import make_method
    from .commands import asked_as, default_jobs, interruptible, load, load_task, row_details, training_config
    from .compare import Comparison, check_writable, run_comparison
    from .evaluate import choose_questions

    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: at least 1 seed is needed")
    if token_budget < 1:
        raise UsageError(f"--token-budget {token_budget}: at least 1 token is needed")
    names = algorithms.split(",") if algorithms else ["reinforce+", *(n for n in algorithm_names() if n != "reinforce")]
    chosen = combinations(names, credits.split(",") if credits else CREDITS, epochs, learning_rates)
    folder = out or Path("runs") / f"study-{task.replace('/', '-')}"
    check_writable(folder, folder=True)
    problem = load_task(task, None, difficulty, None, False)
    asked = choose_questions(problem, "test", questions)
    options = (f"token_budget={token_budget}", "validation_every=2", *train)  # often, to see when the target is met
    training = training_config(problem, backbone, options, asked_as(None, difficulty, None, False))
    loaded = load(backbone)
    console = Console(file=sys.stderr, soft_wrap=True)
    summaries: list[Summary] = []
    for topology in topologies.split(","):
        comparison = Comparison(
            problem,
            "test",
            asked,
            [make_method(f"neuromas:{topology}:{options}") for *_, options in chosen],
            range(seeds),
            loaded,
            training,
            folder,
            workers=jobs or default_jobs(training),
            details=row_details(problem, "test", asked, None, difficulty),
        )
        with interruptible(console), console.status("") as status:
            rows, outcomes = run_comparison(comparison, say=status.update)
        summaries += summarise(comparison, topology, chosen, rows, outcomes, target)
        write_json(folder / "study.json", {"rows": [asdict(summary) for summary in summaries]})
        text = table(summaries, target)
        write_text(folder / "table.md", text)
    print(text, end="")
    console.print(f"written: {folder / 'table.md'}, {folder / 'study.json'}; runs under {folder}", highlight=False)


def summarise(
    comparison: Comparison,
    topology: str,
    chosen: Sequence[tuple[str, str, int, str]],
    rows: Sequence[Row],
    outcomes: Mapping[str, Sequence[Outcomes]],
    target: float,
) -> list[Summary]:
    """The figures of every combination, from its results and the records of its runs."""
    from algorithms.run import Run

    summaries = []
    for method, (algorithm, credit, passes, _) in zip(comparison.methods, chosen, strict=True):
        runs = []
        for seed in comparison.seeds:
            (config,) = method.run_configs(comparison.context(seed))
            runs.append(Run(config.folder).metrics)
        mine = [row for row in rows if row.method == str(method) and row.seed is not None]
        summaries.append(
            Summary(
                algorithm,
                credit,
                passes,
                topology,
                [float(outcome.correct_Q.mean()) for outcome in outcomes[str(method)]],
                [tokens_to(metrics, target) for metrics in runs],
                float(np.median([row.extra["training_updates"] for row in mine])),
                float(np.median([row.extra["training_sampled_tokens"] for row in mine])),
                float(np.mean([_credit_share(metrics) for metrics in runs])),
                float(np.median([row.extra["training_seconds"] for row in mine])),
            )
        )
    return summaries


def tokens_to(metrics: Sequence[Mapping[str, Any]], target: float) -> int | None:
    """The tokens sampled in training when the validation accuracy first reached `target`; None where it never did."""
    for row in metrics:
        if row.get("validation_accuracy", -1.0) >= target:
            return int(row.get("sampled_tokens", 0))
    return None


def _credit_share(metrics: Sequence[Mapping[str, Any]]) -> float:
    return sum(row.get("credit_calls", 0) for row in metrics) / max(1, metrics[-1].get("calls", 1))


def table(summaries: Sequence[Summary], target: float) -> str:
    """The study as a Markdown table: for each topology, the best median first."""
    lines = [
        "| topology | algorithm | credit | steps a batch | accuracy %, median (range) | "
        f"thousand tokens to {100 * target:.0f} % | seeds there | updates | extra calls | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    order = list(dict.fromkeys(summary.topology for summary in summaries))
    for row in sorted(summaries, key=lambda summary: (order.index(summary.topology), -summary.median)):
        low, high = min(row.accuracies), max(row.accuracies)
        reached = "–" if row.median_reached is None else f"{row.median_reached / 1000:.0f}"
        there = sum(tokens is not None for tokens in row.reached)
        extra = f"{100 * row.credit_calls:.0f} %" if row.credit_calls else "–"
        lines.append(
            f"| `{row.topology}` | {row.algorithm} | {row.credit} | {row.epochs} | "
            f"{100 * row.median:.1f} ({100 * low:.1f}–{100 * high:.1f}) | {reached} | {there}/{len(row.reached)} | "
            f"{row.updates:.0f} | {extra} | {row.seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"
