"""What makes growth work: the same small network grown by one operation in several ways, at equal sampled tokens.

The three-node network is deepened (`1-1-1-1`) or widened (`2-1-1`: one node more either way), with fresh adapters or
clones, opened gradually or at once, and out of parents that had a quarter to three quarters of the tokens.
Beside them stand the same networks from scratch. One learning rate, the middle one; others are in the experiment on
growth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .growth import best_validation, difference
from .plan import Bench, Compared, TaskPlan
from .report import Section, interval, percent, table

PARENT = "1-1-1"
CHANGES = {"a layer more": "1-1-1-1", "a node more beside": "2-1-1"}
"""Networks of four nodes, by what was added to three."""
WAYS = (("fresh", "gradual"), ("fresh", "immediate"), ("clone", "gradual"), ("clone", "immediate"))
"""The adapters of what is new, and its opening."""
SHARE, SHARES = 0.5, (0.25, 0.5, 0.75)
"""The parent's share of the tokens: where ways are compared, and where shares are, with clones that open gradually."""


def run(bench: Bench) -> Section:
    section = Section("recipes", "What makes growth work")
    rate = bench.plan.middle_rate
    shares = SHARES[:1] if bench.plan.quick else SHARES
    section.data["rows"], parts = [], []
    for task in (task for task in bench.plan.growing if task.recipes):
        names = recipes(rate, shares)
        found = bench.compare("growth", task, list(dict.fromkeys(names.values())), bench.tokens(task))
        rows = [measured(found, task, key, name, names) for key, name in names.items()]
        section.data["rows"] += rows
        parts.append(describe(task, rows))
    section.text = "\n\n".join(
        [
            f"Four nodes, one more than the parent `{PARENT}`, learning rate {rate}, all with the same tokens, the "
            "parent's included. The difference is to the same network from scratch, paired, with its 95 % interval. "
            "Calls tell whether the best checkpoint has the new node open: three where it is closed.",
            *parts,
        ]
    )
    return section


Key = tuple[str, str, str, float]
"""What was added, the new adapters, the opening, and the parent's share; `("a layer more", "scratch", "", 0)`."""


def recipes(rate: str, shares: Sequence[float]) -> dict[Key, str]:
    """The names of all methods that are compared."""
    names: dict[Key, str] = {}
    for change, topology in CHANGES.items():
        names[change, "scratch", "", 0.0] = f"neuromas:{topology}:learning_rate={rate}"
        for init, opening in WAYS:
            names[change, init, opening, SHARE] = grown(topology, SHARE, rate, init, opening)
        for share in shares:
            names[change, "clone", "gradual", share] = grown(topology, share, rate, "clone", "gradual")
    return names


def grown(topology: str, share: float, rate: str, init: str, opening: str) -> str:
    at = "" if share == SHARE else f"@{share:g}"  # what two stages get without being told
    return f"grown:{PARENT}{at}+{topology}:learning_rate={rate}:init={init}:opening={opening}"


def measured(found: Compared, task: TaskPlan, key: Key, name: str, names: dict[Key, str]) -> dict[str, Any]:
    change, init, opening, share = key
    row = found.row(name)
    correct_SQ = found.correct(name)
    scratch_SQ = found.correct(names[change, "scratch", "", 0.0])
    return {
        "task": task.label,
        "change": change,
        "init": init,
        "opening": opening,
        "share": share,
        "accuracy": row.accuracy,
        "low": row.accuracy_low,
        "high": row.accuracy_high,
        "seeds": [float(mean) for mean in correct_SQ.mean(axis=1)],
        "calls": row.calls,
        "parents": [best_validation(found.runs(name, seed)[0]) for seed in found.comparison.seeds],
        "against_scratch": difference(correct_SQ, scratch_SQ),
    }


def describe(task: TaskPlan, rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        scratch = row["init"] == "scratch"
        lines.append(
            [
                row["change"],
                "from scratch" if scratch else f"{row['init']}, {row['opening']}",
                "–" if scratch else f"{row['share']:g}: {percent(float(np.mean(row['parents'])))}",
                interval(row),
                "–" if scratch else interval(row["against_scratch"], "difference", sign=True),
                f"{row['calls']:.2f}",
            ]
        )
    head = ["added", "new adapter, opening", "parent's share: its validation %", "accuracy %", "less scratch", "calls"]
    return f"### {task.label}\n\n{table(head, lines)}"
