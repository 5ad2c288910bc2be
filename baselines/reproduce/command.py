"""`neuromas reproduce`: run the experiments and write the report."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, arg

from neuromas_env.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from .plan import Bench, Plan
    from .report import Section

EXPERIMENTS = ("methods", "backbones", "growth", "recipes", "size", "deepening", "efficiency", "ablations",
               "specialisation", "cost")  # fmt: skip
RATES, QUICK_RATES = "1.5e-3,3e-3,6e-3", "3e-3"


def reproduce(
    only: Annotated[str | None, arg(metavar="NAME,NAME")] = None,
    quick: FlagCreatePairsOff[bool] = False,
    tasks: Annotated[str | None, arg(metavar="TASK,TASK")] = None,
    seeds: Annotated[int | None, arg(metavar="K")] = None,
    questions: Annotated[int | None, arg(metavar="N")] = None,
    learning_rates: Annotated[str | None, arg(metavar="RATE,RATE")] = None,
    budget: float = 1.0,
    budgets: Annotated[str | None, arg(metavar="NAME,NAME")] = None,
    backbone: Annotated[str, arg(metavar="NAME")] = "nano",
    second: Annotated[str | None, arg(metavar="NAME")] = None,
    data: Annotated[Path | None, arg(metavar="FOLDER")] = None,
    jobs: Annotated[int | None, arg(metavar="N")] = None,
    out: Annotated[Path | None, arg(metavar="FOLDER")] = None,
) -> None:
    """Run the paper's experiments in shape and say of each claim whether it holds, with the figures.

    methods (all of them, at equal parameters and at equal sampled tokens), backbones (robustness), growth (against
    training from scratch), recipes (what makes growth work), size (up to 31 nodes), deepening (without training, by
    clones), efficiency (error against trainable parameters), ablations (damaged messages), specialisation (what the
    nodes learnt), cost (what it takes to reach an accuracy). The folder gets report.md, report.json,
    plots, and every run; an interrupted reproduction goes on when the same command is given again, and repeats nothing
    that is finished.

    Args:
        only: Some of the experiments, with commas between.
        quick: Fewer seeds, methods, sizes and tokens, in a quarter of an hour on two cores; the report says so.
        tasks: Some of chain, chain-long, navigate and tree, with commas between, or `paper` for the paper's six.
            Without it, chain, navigate and tree, and for growth chain, navigate and chain-long.
        seeds: How many seeds: 5, with --quick 2.
        questions: Held-out questions of each task: 500, with --quick 200.
        learning_rates: The learning rates of the experiment on growth, with commas between.
        budget: The share of every token budget that is used.
        budgets: What is equal in training where all methods are compared: parameters, tokens, or both, with a comma
            between; with --quick, tokens.
        backbone: The frozen model: nano, a Hugging Face id or a folder.
        second: Another backbone, for the experiment on robustness; beside nano it is nano-tree, with --quick none.
        data: The folder in which the paper's data files lie; without it, they come from the hub.
        jobs: How many trainings, and then evaluations, run at once; without it, one a CPU core.
        out: The folder of runs and report; without it, runs/reproduce or runs/reproduce-quick.
    """
    from rich.console import Console

    from ..commands import interruptible, load
    from ..compare import check_writable
    from .plan import BUDGETS, NANO, Bench, Plan, check_seeds, chosen_tasks

    names = only.split(",") if only else list(EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            raise UnknownNameError("experiment of reproduce", name, EXPERIMENTS)
    count = seeds if seeds is not None else 2 if quick else 5
    check_seeds(count)
    if not 0 < budget <= 100:
        raise UsageError(f"--budget {budget}: a share above 0 is needed, such as 0.5")
    equal = budgets.split(",") if budgets else ["tokens"] if quick else list(BUDGETS)
    for name in equal:
        if name not in BUDGETS:
            raise UnknownNameError("budget of reproduce", name, BUDGETS)
    plan = Plan(
        out or Path("runs") / ("reproduce-quick" if quick else "reproduce"),
        chosen_tasks(tasks or ("chain,navigate" if quick else "chain,navigate,tree"), data),
        chosen_tasks(tasks or ("chain,chain-long" if quick else "chain,navigate,chain-long"), data),
        range(count),
        questions or (200 if quick else 500),
        tuple((learning_rates or (QUICK_RATES if quick else RATES)).split(",")),
        budget=budget * (0.3 if quick else 1.0),
        backbone=backbone,
        second=second or ("nano-tree" if backbone == NANO and not quick else None),
        jobs=jobs,
        quick=quick,
        budgets=equal,
    )
    check_writable(plan.out, folder=True)
    console = Console(file=sys.stderr, soft_wrap=True)
    bench = Bench(plan, load(backbone), lambda text: status.update(text))
    with interruptible(console), console.status("") as status:
        sections = [section for name in EXPERIMENTS if name in names for section in run_experiment(name, bench)]
    path = write_report(plan, bench, sections)
    console.print(f"written: {path}, report.json and plots; runs under {plan.out}", highlight=False)


def run_experiment(name: str, bench: Bench) -> list[Section]:
    from . import ablations, cost, deepening, efficiency, growth, methods, recipes, size, specialisation

    experiments = {
        "methods": methods.run,
        "backbones": methods.robustness,
        "growth": growth.run,
        "recipes": recipes.run,
        "size": size.run,
        "deepening": deepening.run,
        "efficiency": efficiency.run,
        "ablations": ablations.run,
        "specialisation": specialisation.run,
        "cost": cost.run,
    }
    return [experiments[name](bench)]


def write_report(plan: Plan, bench: Bench, sections: list[Section]) -> Path:
    """report.md with its plots beside it, and report.json with every figure in it."""
    from algorithms.files import write_json, write_text

    from .claims import judged, text

    plan.out.mkdir(parents=True, exist_ok=True)
    found = {section.name: section.data for section in sections}
    claims = judged(found)
    made = {
        "command": "neuromas " + " ".join(sys.argv[1:]),
        "versions": {package: version(package) for package in ("neuromas", "torch", "transformers", "peft", "numpy")},
        "weights": bench.backbone.weight_hash(),
        "plan": plan.to_json(),
    }
    parts = [f"# The paper's claims, {'quickly ' if plan.quick else ''}put to the test", introduction(plan, made),
             "## Claims", text(claims)]  # fmt: skip
    for section in sections:
        parts += [f"## {section.title}", section.text]
        for name, draw in section.plots.items():
            draw(plan.out / f"{name}.png")
            parts.append(f"![{name}]({name}.png)")
    path = plan.out / "report.md"
    write_text(path, "\n\n".join(parts) + "\n")
    write_json(plan.out / "report.json", {**made, "claims": claims, "sections": found})
    return path


def introduction(plan: Plan, made: dict[str, Any]) -> str:
    """How the figures were made, and what they are not."""
    from .plan import NANO

    seeds, tasks = len(plan.seeds), ", ".join(task.label for task in plan.tasks)
    own = [f"{task.label} on {task.backbone}" for task in plan.tasks if task.backbone and plan.backbone == NANO]
    others = f"What the backbone does not know is asked of another: {', '.join(own)}. " if own else ""
    lines = [
        f"`{made['command']}`: backbone {plan.backbone} (weights {made['weights'][:12]}), tasks {tasks}; {seeds} "
        f"seed{'s' if seeds > 1 else ''}, {plan.questions} held-out questions a task; learning rates of the "
        f"experiment on growth {', '.join(plan.learning_rates)}. {others}"
        + ", ".join(f"{name} {number}" for name, number in made["versions"].items())
        + ".",
        "Every network is judged as its best checkpoint by validation, decoded greedily. Intervals are 95 % by "
        "bootstrap over seeds and questions; no seed is chosen. Networks are small and trained on tasks that their "
        "backbone was made for: signs can be compared with the paper's, figures cannot.",
    ]
    if plan.quick:
        lines.append(
            "**A quick run**: fewer seeds, methods, sizes and questions, and a third of the tokens. It shows the shape "
            "of the report and large differences; small ones need the full run."
        )
    return "\n\n".join(lines)
