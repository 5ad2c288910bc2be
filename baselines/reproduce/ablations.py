"""What trained networks lose when their communication is damaged (`algorithms/ablations.py`).

The networks are those of the experiment on all methods; each ablation is asked the same questions as the whole network,
so that the loss is a paired difference over seeds and questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .growth import difference
from .methods import trained
from .plan import Bench, Compared, TaskPlan
from .report import Section, interval, percent, table

if TYPE_CHECKING:
    from algorithms.ablations import Kind

NETWORKS = ("neuromas:1-1-1", "neuromas:2-2-1")
TITLES: dict[Kind, str] = {
    "silence": "hidden messages left out",
    "shuffle": "words of each message in random order",
    "swap": "messages of another question",
    "permute": "hidden nodes exchanged",
    "positions": "no position told",
}


def run(bench: Bench) -> Section:
    section = Section("ablations", "Ablations")
    parts = ["Accuracy in per cent, and what is lost by each damage in points, with 95 % intervals."]
    section.data["rows"] = []
    for task in bench.plan.tasks:
        _, found = trained(bench, task, NETWORKS)
        for method in NETWORKS:
            whole_SQ = found.correct(method)
            lines = [["whole", percent(float(whole_SQ.mean())), "–"]]
            for kind, title in TITLES.items():
                damaged_SQ = np.stack([damaged(bench, found, task, method, seed, kind) for seed in bench.plan.seeds])
                lost = difference(whole_SQ, damaged_SQ)
                section.data["rows"].append({"task": task.label, "method": method, "kind": kind, **lost})
                lines.append([title, percent(float(damaged_SQ.mean())), interval(lost, "difference", sign=True)])
            parts.append(f"### {task.label}, `{method}`\n\n" + table(["", "accuracy %", "lost"], lines))
    section.text = "\n\n".join(parts)
    return section


def damaged(bench: Bench, found: Compared, task: TaskPlan, method: str, seed: int, kind: Kind) -> np.ndarray:
    """Which questions a damaged network gets right, [Q]."""
    from algorithms.ablations import ablate

    run, comparison = found.runs(method, seed)[-1], found.comparison
    key: dict[str, Any] = {
        "run": run.folder.name,
        "kind": kind,
        "questions": [question.id for question in comparison.questions],
    }

    def play() -> str:
        network = run.network("best", found.comparison.backbone)
        batch = ablate(
            network, comparison.task, comparison.questions, kind, seed=seed, max_tokens=run.config.max_tokens
        )  # fmt: skip
        return "".join("1" if score.value >= 1 else "0" for score in batch.scores)

    flags = bench.kept(f"ablations/{task.folder}", f"{method} {kind}, seed {seed}", key, play)
    return np.array([flag == "1" for flag in flags])
