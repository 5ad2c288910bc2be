"""All methods on every task: at equal trainable parameters and updates, and at equal sampled tokens.

Also robustness: fewer of them on a second backbone of another architecture and size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..self_consistency import SelfConsistency
from ..statistics import with_differences
from .growth import difference
from .plan import BATCH, Bench, Compared, TaskPlan
from .report import Section, interval, table

NETWORK, SINGLE, VOTES = "neuromas:1-1-1", "single-rl", "self-consistency"
TRAINED = (NETWORK, "neuromas:2-2-1", "neuromas:2-2-2-1", SINGLE, "sft", "malt", "magrpo", "collm-cc", "maporl")
FROZEN = ("untrained:1-1-1", "untrained:2-2-2-1", VOTES, "direct", "cot", "self-refine", "self-check", "debate", "moa",
          "goa", "planner-solver-critic", "supervisor", "gptswarm", "agentnet")  # fmt: skip
FLOOR = ("untrained:1-1-1", "direct")
"""What stands beside methods that train where only those are compared: nothing else has trainable parameters."""
QUICK = (NETWORK, "neuromas:2-2-1", SINGLE, "untrained:1-1-1", VOTES, "direct", "cot", "self-refine", "debate")
ROBUST = (NETWORK, "neuromas:2-2-1", SINGLE, "untrained:1-1-1", VOTES, "direct", "cot")


def run(bench: Bench) -> Section:
    section = Section("methods", "All methods")
    names = QUICK if bench.plan.quick else (*TRAINED, *FROZEN)
    settings: dict[str, tuple[str, Any]] = {
        "parameters": ("equal trainable parameters and updates in training", BATCH | {"updates": bench.plan.updates}),
        "tokens": ("equal trainable parameters and sampled tokens in training", None),
    }
    parts = []
    section.data["rows"], section.data["against_single"] = [], []
    for key in bench.plan.budgets:
        title, train = settings[key]
        for task in bench.plan.tasks:
            own = names if key == "tokens" else [name for name in names if name in (*TRAINED, *FLOOR)]
            found = bench.compare(f"methods-{key}", task, own, train or bench.tokens(task))
            rows = with_differences(found.rows, found.outcomes)
            section.data["rows"] += [
                {"budget": key, "task": task.label, **row.to_json()} for row in rows if row.seed is None
            ]
            section.data["against_single"] += comparisons(found, task, key)
            parts.append(f"### {task.label}: {title}\n\n{overview(rows)}")
    section.text = "\n\n".join(parts)
    return section


def trained(bench: Bench, task: TaskPlan, names: Sequence[str] = ()) -> tuple[Sequence[str], Compared]:
    """Trained methods at equal sampled tokens (all, or those in `names`), for experiments that look at their runs; each
    is trained once."""
    names = names or [name for name in (QUICK if bench.plan.quick else TRAINED) if name in TRAINED]
    return names, bench.compare("methods-tokens", task, names, bench.tokens(task))


def comparisons(found: Compared, task: TaskPlan, budget: str) -> list[dict[str, Any]]:
    """The trained network less what a reviewer will ask about first."""
    rows = []
    for other in (SINGLE, votes_of(found), "untrained:1-1-1"):
        if other is not None and other in found.outcomes:
            values = difference(found.correct(NETWORK), found.correct(other))
            rows.append({"task": task.label, "budget": budget, "against": other.partition("@")[0], **values})
    return rows


def votes_of(found: Compared) -> str | None:
    """The name of the votes at the network's sampled tokens, where they were compared."""
    votes = (method for method in found.comparison.methods if isinstance(method, SelfConsistency) and method.matched)
    return next((str(method) for method in votes), None)


def overview(rows: Sequence[Any]) -> str:
    """The aggregate rows by falling accuracy, each with its difference to the votes."""
    lines = []
    for row in sorted((row for row in rows if row.seed is None), key=lambda row: -row.accuracy):
        extra = row.extra
        against = "–"
        if "difference" in extra:
            values = {"difference": extra["difference"], "low": extra["difference_low"],
                      "high": extra["difference_high"]}  # fmt: skip
            against = f"{interval(values, 'difference', sign=True)}, p {extra['p_holm']:.3f}"
        accuracy = {"accuracy": row.accuracy, "low": row.accuracy_low, "high": row.accuracy_high}
        tokens = extra.get("training_sampled_tokens")
        lines.append(
            [f"`{row.method}`", interval(accuracy), against, f"{row.calls:.3g}", f"{row.sampled_tokens:.3g}",
             f"{row.trainable_parameters:,}" if row.trainable_parameters else "–", f"{tokens:,.0f}" if tokens else "–"]
        )  # fmt: skip
    head = ["method", "accuracy %", "less self-consistency (Holm)", "calls", "sampled tokens", "trained", "in training"]
    return table(head, lines)


def robustness(bench: Bench) -> Section:
    section = Section("backbones", "A second backbone")
    if bench.plan.second is None:
        section.text = (
            "Not run: no second backbone was given. `neuromas pretrain-nano --architecture qwen3 --width 128 "
            "--layers 3 --out FOLDER` makes one of another architecture and size, and `--second FOLDER` uses it."
        )
        return section
    from ..commands import load

    model = load(bench.plan.second)
    kind = model.model.config.model_type
    size = sum(parameter.numel() for parameter in model.model.parameters())
    parts = [f"`{kind}`, {size:,} parameters, weights {model.weight_hash()[:12]}."]
    section.data |= {"model_type": kind, "parameters": size, "weights": model.weight_hash(), "against_single": []}
    for task in bench.plan.tasks:
        if task.backbone == bench.plan.second:
            continue  # it is compared on that one already
        found = bench.compare("backbones", task, ROBUST, bench.tokens(task), backbone=model)
        rows = with_differences(found.rows, found.outcomes)
        section.data["against_single"] += comparisons(found, task, "tokens")
        parts.append(f"### {task.label}\n\n{overview(rows)}")
    section.text = "\n\n".join(parts)
    return section
