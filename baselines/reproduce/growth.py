"""Growth against training from scratch: 3, 5, 7 and 15 nodes at equal sampled tokens, over learning rates and seeds.

A network from scratch and a grown one (`grown:…`, from three nodes on) may sample the same number of tokens in
training; the grown one's ancestors are counted. The paired difference is over the same seeds and questions, for each
learning rate, and for the mean over all of them: a recipe should not depend on one. What growth gained is set beside
how far the first parent had come.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import paired_difference
from ..statistics import bootstrap_p, holm
from .plan import Bench, Compared, TaskPlan
from .report import Section, interval, percent, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from algorithms.run import Run

LADDER = {3: "1-1-1", 5: "2-2-1", 7: "2-2-2-1", 15: "4-4-4-2-1", 31: "8-8-8-6-1"}
"""The network of each number of nodes; larger ones are grown from all before them. The largest is grown only, in the
experiment on size."""


def sizes(quick: bool) -> list[int]:
    return [3, 5, 7] if quick else [3, 5, 7, 15]


def scratch(size: int, rate: str) -> str:
    return f"neuromas:{LADDER[size]}:learning_rate={rate}"


def grown(size: int, rate: str) -> str:
    path = "+".join(topology for nodes, topology in LADDER.items() if nodes <= size)
    return f"grown:{path}:learning_rate={rate}"


def cloned(size: int, rate: str) -> str:
    return f"{grown(size, rate)}:init=clone"


GROWN = {"grown": grown, "grown, clones": cloned}
KINDS = {"scratch": scratch, **GROWN}
"""From scratch, grown with fresh adapters as in the paper, and with clones of the nodes that new ones stand beside."""


def run(bench: Bench) -> Section:
    section = Section("growth", "Growth against training from scratch")
    nodes = sizes(bench.plan.quick)
    given = []
    for task in bench.plan.growing:
        rates = bench.plan.rates(task)
        methods = [scratch(size, rate) for rate in rates for size in nodes]
        methods += [name(size, rate) for name in GROWN.values() for rate in rates for size in nodes[1:]]
        given.append((bench.compare("growth", task, methods, bench.tokens(task)), task, rates, nodes))
    found = {"differences": differences, "accuracies": accuracies, "against_three": against_three, "parents": parents}
    for key, find in found.items():
        section.data[key] = [row for each in given for row in find(*each)]
    rows = section.data["differences"]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    section.text = describe(section.data)
    for each in given:
        section.plots[f"growth-{each[1].folder}"] = partial(draw, *each)
    return section


def mean_over_rates(compared: Compared, name: Any, size: int, rates: list[str]) -> np.ndarray:
    """How often each question was right over the learning rates, [S, Q]."""
    return np.mean([compared.correct(name(size, rate)) for rate in rates], axis=0)


def difference(first_SQ: np.ndarray, second_SQ: np.ndarray) -> dict[str, float]:
    mean, low, high = paired_difference(first_SQ, second_SQ)
    p = bootstrap_p(first_SQ.astype(float) - second_SQ.astype(float))
    return {"difference": mean, "low": low, "high": high, "p": p}


def differences(compared: Compared, task: TaskPlan, rates: list[str], nodes: list[int]) -> list[dict[str, Any]]:
    """Grown less scratch for each size: the mean over learning rates, and each of them."""
    found = []
    for (kind, own), size in product(GROWN.items(), nodes[1:]):
        both = [mean_over_rates(compared, name, size, rates) for name in (own, scratch)]
        each = {rate: difference(compared.correct(own(size, rate)), compared.correct(scratch(size, rate)))
                for rate in rates}  # fmt: skip
        found.append({"task": task.label, "nodes": size, "kind": kind, **difference(*both), "rates": each})
    return found


def accuracies(compared: Compared, task: TaskPlan, rates: list[str], nodes: list[int]) -> list[dict[str, Any]]:
    found = []
    for size in nodes:
        for kind, name in KINDS.items():
            for rate in rates if kind == "scratch" or size > nodes[0] else ():
                row = compared.row(name(size, rate))
                found.append(
                    {
                        "task": task.label,
                        "nodes": size,
                        "kind": kind,
                        "learning_rate": rate,
                        "accuracy": row.accuracy,
                        "low": row.accuracy_low,
                        "high": row.accuracy_high,
                        "seeds": [float(mean) for mean in compared.correct(name(size, rate)).mean(axis=1)],
                        "calls": row.calls,
                        "training_sampled_tokens": row.extra.get("training_sampled_tokens"),
                        "training_seconds": row.extra.get("training_seconds"),
                    }
                )
    return found


def against_three(compared: Compared, task: TaskPlan, rates: list[str], nodes: list[int]) -> list[dict[str, Any]]:
    """Every larger network, from scratch and grown, less the three-node one."""
    base = mean_over_rates(compared, scratch, nodes[0], rates)
    return [
        {
            "task": task.label,
            "nodes": size,
            "kind": kind,
            **difference(mean_over_rates(compared, name, size, rates), base),
        }
        for size in nodes[1:]
        for kind, name in KINDS.items()
    ]


def parents(compared: Compared, task: TaskPlan, rates: list[str], nodes: list[int]) -> list[dict[str, Any]]:
    """Every grown network: how well its first parent did on validation, and what growth gained over scratch."""
    rows = []
    for (kind, own), size, rate in product(GROWN.items(), nodes[1:], rates):
        grown_S = compared.correct(own(size, rate)).mean(axis=1)
        scratch_S = compared.correct(scratch(size, rate)).mean(axis=1)
        for number, seed in enumerate(compared.comparison.seeds):
            rows.append(
                {
                    "task": task.label,
                    "nodes": size,
                    "kind": kind,
                    "learning_rate": rate,
                    "seed": seed,
                    "parent": best_validation(compared.runs(own(size, rate), seed)[0]),
                    "accuracy": float(grown_S[number]),
                    "gain": float(grown_S[number] - scratch_S[number]),
                }
            )
    return rows


def best_validation(run: Run) -> float:
    return max(row["validation_accuracy"] for row in run.metrics if "validation_accuracy" in row)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's, ties sharing their mean rank; 0 where either does not vary."""

    def ranks(values: Sequence[float]) -> np.ndarray:
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        mean_ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[place]
        return mean_ranks

    both = ranks(first), ranks(second)
    return float(np.corrcoef(*both)[0, 1]) if all(np.ptp(each) > 0 for each in both) else 0.0


def describe(data: dict[str, Any]) -> str:
    accuracy_rows = [
        [each["task"], each["nodes"], each["kind"], each["learning_rate"], interval(each),
         f"{percent(min(each['seeds']))}–{percent(max(each['seeds']))}", f"{each['calls']:.1f}"]
        for each in data["accuracies"]
    ]  # fmt: skip
    difference_rows = [
        [each["task"], each["nodes"], each["kind"], interval(each, "difference", sign=True), f"{each['p_holm']:.3f}",
         "; ".join(f"{rate}: {interval(own, 'difference', sign=True)}" for rate, own in each["rates"].items())]
        for each in data["differences"]
    ]  # fmt: skip
    convergence_rows = []
    for task, kind in product(*(dict.fromkeys(each[key] for each in data["parents"]) for key in ("task", "kind"))):
        own = [each for each in data["parents"] if (each["task"], each["kind"]) == (task, kind)]
        columns = [[each[key] for each in own] for key in ("parent", "accuracy", "gain")]
        convergence_rows.append(
            [task, kind, len(own), f"{percent(min(columns[0]))}–{percent(max(columns[0]))}",
             *(f"{rank_correlation(columns[0], column):+.2f}" for column in columns[1:])]
        )  # fmt: skip
    return "\n\n".join(
        [
            "Grown less scratch, in points of accuracy, at equal sampled tokens in training: the mean over learning "
            "rates with its 95 % interval over seeds and questions, Holm's p over all rows, and each learning rate.",
            table(["task", "nodes", "", "grown − scratch", "p (Holm)", "each learning rate"], difference_rows),
            "Accuracies (the range is over seeds; calls are those of a question).",
            table(["task", "nodes", "", "learning rate", "accuracy %", "range", "calls"], accuracy_rows),
            "Convergence of the parent: over all grown networks, the rank correlation of the first parent's best "
            "validation accuracy with the grown network's accuracy, and with its gain over scratch of the same size, "
            "learning rate and seed.",
            table(["task", "", "networks", "parent's validation %", "with accuracy", "with gain"], convergence_rows),
        ]
    )


def draw(compared: Compared, task: TaskPlan, rates: list[str], nodes: list[int], path: Path) -> None:
    """Validation accuracy over sampled tokens, a line a seed, for the two largest sizes; growth is a vertical line."""
    from matplotlib.figure import Figure

    from ..plot import FAINT, GRID, INK, NETWORK, TRAINED, save

    shown = nodes[-2:] if len(nodes) > 2 else nodes[1:]
    figure = Figure(figsize=(max(7.4, 4.6 * len(rates) + 0.6), 3.1 * len(shown) + 0.9), facecolor="white")
    figure.text(
        0.02, 0.97, f"{task.label}: grown and from scratch", fontsize=13, color=INK, fontweight="bold", va="top"
    )
    grid = figure.subplots(len(shown), len(rates), squeeze=False, sharex=True, sharey=True)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.87, bottom=0.11, hspace=0.28, wspace=0.08)
    for axes_row, size in zip(grid, shown, strict=True):
        for axes, rate in zip(axes_row, rates, strict=True):
            for name, colour in ((scratch(size, rate), TRAINED), (cloned(size, rate), NETWORK)):
                for seed in compared.comparison.seeds:
                    tokens, accuracy, grown_at = curve(compared, name, seed)
                    axes.plot(tokens, accuracy, color=colour, linewidth=1.3, alpha=0.75)
                    for at in grown_at:
                        axes.axvline(at, color=colour, linewidth=0.6, alpha=0.35, linestyle="--")
            axes.set_title(f"{size} nodes, learning rate {rate}", fontsize=9.5, color=INK)
            axes.set_ylim(0, 1.02)
            axes.grid(color=GRID)
            axes.tick_params(length=0, colors=FAINT, labelsize=8)
            for side in axes.spines.values():
                side.set_visible(False)
    figure.text(0.5, 0.02, "thousand sampled tokens (blue: grown by clones, dashed at growth; orange: from scratch)",
                ha="center", fontsize=9, color=FAINT)  # fmt: skip
    figure.text(0.012, 0.5, "validation accuracy", rotation=90, va="center", fontsize=9, color=FAINT)
    save(figure, path)


def curve(compared: Compared, method: str, seed: int) -> tuple[list[float], list[float], list[float]]:
    """Thousand tokens and validation accuracy along the runs of a method, and the tokens at which it grew."""
    tokens: list[float] = []
    accuracy: list[float] = []
    grown_at: list[float] = []
    before = 0.0
    for number, each in enumerate(compared.runs(method, seed)):
        if number:
            grown_at.append(before)
        last = before
        for row in each.metrics:
            last = before + row.get("sampled_tokens", 0) / 1000
            if "validation_accuracy" in row:
                tokens.append(last)
                accuracy.append(row["validation_accuracy"])
        before = last
    return tokens, accuracy, grown_at
