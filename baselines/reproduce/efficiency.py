"""Parameter efficiency: error against trainable parameters, for a network that follows the task and for one node.

The paper's capacity argument: where a task is made of local functions of a inputs, error can fall like q^(-1/a) with
the parameters q of a modular network, and like q^(-1/b) with those of one unstructured policy, b the inputs of the
whole task. Adapters of growing rank give q; the error is 1 - accuracy on the same test questions; slopes are those of
least squares on logarithmic axes, with intervals by drawing seeds and questions anew.

A `tree` of depth d and arity a has b = a^d digits; a `chain` of k operations has local functions of 2 inputs and
b = k + 1. The argument is about what can be represented; what is measured here is what was learnt.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .plan import Bench, Compared, TaskPlan
from .report import Section, table

if TYPE_CHECKING:
    from pathlib import Path

RANKS, QUICK_RANKS = (1, 2, 4, 8, 16), (1, 4, 16)
NODES = 3
FLOOR = 0.5
"""The error of a network without a mistake is taken as half a mistake: zero has no logarithm."""

CASES = (
    (TaskPlan("tree", 60_000, "2", backbone="nano-tree"), 2, 4, "tree of depth 2"),
    (TaskPlan("chain", 60_000, "3"), 2, 4, "chain of 3 operations"),
)
"""A task, its a and b, and what it is called."""

DRAWS = 1000


def network(rank: int) -> str:
    return f"neuromas:{'-'.join(['1'] * NODES)}:rank={rank}:alpha={2 * rank}"


def monolith(rank: int) -> str:
    return f"neuromas:1:rank={rank * NODES}:alpha={2 * rank * NODES}:learning_rate=1e-3"


def run(bench: Bench) -> Section:
    section = Section("efficiency", "Error against trainable parameters")
    ranks = QUICK_RANKS if bench.plan.quick else RANKS
    cases = CASES[1:] if bench.plan.quick else CASES
    parts, section.data["cases"] = [], []
    for task, a, b, title in cases:
        methods = [kind(rank) for kind in (network, monolith) for rank in ranks]
        found = bench.compare("efficiency", task, methods, bench.tokens(task))
        case: dict[str, Any] = {"task": task.label, "a": a, "b": b}
        lines = []
        for label, kind, theory in (("network", network, -1 / a), ("one node", monolith, -1 / b)):
            points = [(found.row(kind(rank)).trainable_parameters, errors(found, kind(rank))) for rank in ranks]
            values = fitted(points)
            case[label] = {
                "parameters": [q for q, _ in points],
                "errors": [float(error.mean()) for _, error in points],
                **values,
                "theory": theory,
            }
            lines.append(
                [label, ", ".join(f"{q:,}: {100 * error.mean():.1f}" for q, error in points),
                 told_slope(values), f"{theory:+.2f}"]
            )  # fmt: skip
        section.data["cases"].append(case)
        parts.append(f"### {title}: a = {a}, b = {b}\n\n" + table(
            ["", "parameters: error %", "slope (95 %)", "theory"], lines))  # fmt: skip
        section.plots[f"efficiency-{task.folder}"] = partial(draw, case)
    section.text = "\n\n".join(parts)
    return section


def errors(found: Compared, method: str) -> np.ndarray:
    """Which questions were answered wrong, [S, Q]."""
    wrong_SQ: np.ndarray = 1.0 - found.correct(method)
    return wrong_SQ


def slope(parameters: list[int], error: list[float]) -> float:
    return float(np.polyfit(np.log(parameters), np.log(error), 1)[0])


def fitted(points: list[tuple[int, np.ndarray]]) -> dict[str, float | None]:
    """The slope of log error over log parameters, and its interval over seeds and questions drawn anew; None where no
    size has made an error, so that nothing can fall."""
    q = [parameters for parameters, _ in points]
    wrong_PSQ = np.stack([wrong_SQ for _, wrong_SQ in points])
    if not wrong_PSQ.any():
        return {"slope": None, "low": None, "high": None}
    _, S, Q = wrong_PSQ.shape
    least = FLOOR / (S * Q)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        drawn_PSQ = wrong_PSQ[:, rng.integers(0, S, S)][:, :, rng.integers(0, Q, Q)]
        draws.append(slope(q, np.maximum(drawn_PSQ.mean(axis=(1, 2)), least).tolist()))
    low, high = np.quantile(draws, [0.025, 0.975])
    error = np.maximum(wrong_PSQ.mean(axis=(1, 2)), least).tolist()
    return {"slope": slope(q, error), "low": float(low), "high": float(high)}


def told_slope(values: dict[str, Any]) -> str:
    if values["slope"] is None:
        return "none: no error at any size"
    return f"{values['slope']:+.3f} ({values['low']:+.3f} to {values['high']:+.3f})"


def draw(case: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    from ..plot import FAINT, GRID, INK, NETWORK, TRAINED, save

    figure = Figure(figsize=(6.4, 4.4), facecolor="white")
    axes = figure.add_axes((0.12, 0.13, 0.84, 0.72))
    figure.text(0.03, 0.94, f"{case['task']}: error against trainable parameters", fontsize=12, color=INK,
                fontweight="bold", va="center")  # fmt: skip
    for label, colour in (("network", NETWORK), ("one node", TRAINED)):
        values = case[label]
        error = [max(each, 1e-4) for each in values["errors"]]
        slope = "no error" if values["slope"] is None else f"slope {values['slope']:+.2f}"
        axes.plot(values["parameters"], error, "o-", color=colour, linewidth=1.5,
                  label=f"{label}: {slope}, theory {values['theory']:+.2f}")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(values["parameters"], [f"{q / 1000:,.0f}k" for q in values["parameters"]])
    axes.minorticks_off()
    axes.set_xlabel("trainable parameters", color=FAINT, fontsize=9.5)
    axes.set_ylabel("error", color=FAINT, fontsize=9.5)
    axes.grid(color=GRID)
    axes.tick_params(length=0, colors=FAINT, labelsize=8.5)
    axes.legend(frameon=False, fontsize=9)
    save(figure, path)
