"""What it costs to get somewhere: tokens, calls and seconds of training until validation reaches an accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .methods import trained
from .plan import Bench
from .report import Section, table

TARGETS = (0.5, 0.8, 0.9, 0.95)
UNITS = ("sampled_tokens", "calls", "seconds")


def run(bench: Bench) -> Section:
    """From the runs of the experiment on all methods; nothing is trained for it."""
    section = Section("cost", "What it costs to reach an accuracy")
    section.data["rows"] = []
    parts = [
        "Median over seeds of what training had spent when validation accuracy first reached the target: thousand "
        "sampled tokens / thousand calls / seconds. In brackets how many seeds got there; a median needs more than "
        "half. Validation itself is counted in the seconds only."
    ]
    for task in bench.plan.tasks:
        names, found = trained(bench, task)
        lines = []
        for name in names:
            seeds = [reached(run.metrics, run.timings) for seed in bench.plan.seeds for run in found.runs(name, seed)]
            cells = [cell([each[target] for each in seeds]) for target in TARGETS]
            lines.append([f"`{name}`", *cells])
            section.data["rows"].append({"task": task.label, "method": name, "seeds": seeds})
        parts.append(f"### {task.label}\n\n" + table(["method", *(f"{100 * t:.0f} %" for t in TARGETS)], lines))
    section.text = "\n\n".join(parts)
    return section


def reached(
    metrics: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, Any]]
) -> dict[float, dict[str, float] | None]:
    """For each target, what was spent when validation first reached it; None where it never did."""
    found: dict[float, dict[str, float] | None] = dict.fromkeys(TARGETS)
    seconds = 0.0
    for row, timing in zip(metrics, timings, strict=False):
        seconds += sum(value for name, value in timing.items() if name.endswith("_seconds"))
        spent = {"sampled_tokens": row.get("sampled_tokens", 0), "calls": row.get("calls", 0), "seconds": seconds}
        for target in TARGETS:
            if found[target] is None and row.get("validation_accuracy", -1.0) >= target:
                found[target] = spent
    return found


def cell(seeds: Sequence[dict[str, float] | None]) -> str:
    there = [spent for spent in seeds if spent is not None]
    if 2 * len(there) <= len(seeds):
        return f"– ({len(there)}/{len(seeds)})"
    tokens, calls, seconds = (
        float(np.median([spent[unit] if spent else np.inf for spent in seeds])) for unit in UNITS
    )  # fmt: skip
    return f"{tokens / 1000:.0f}k / {calls / 1000:.1f}k / {seconds:.0f} s ({len(there)}/{len(seeds)})"
