"""What the nodes learnt (`algorithms/specialisation.py`): who says what, which edges matter, and when that came about.

The networks are those of the experiment on all methods. What nodes say is shown for the first seed, and is another for
others; influences of edges are means over seeds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .ablations import NETWORKS
from .methods import trained
from .plan import Bench, Compared, TaskPlan
from .report import Section, percent, table

if TYPE_CHECKING:
    from pathlib import Path

QUESTIONS, HISTORY = 200, 50
MOST_TYPES = 3


def run(bench: Bench) -> Section:
    section = Section("specialisation", "What the nodes learnt")
    parts = [
        "*Says*: the most frequent forms of message (numbers are `#`), first seed. *Right*: how often the message "
        "would be right as the answer, mean over seeds. An edge's *influence*: the share of answers that become others "
        "when it is silenced, and when it carries what its sender said to another question; mean over seeds and range."
    ]
    section.data["networks"] = []
    for task in bench.plan.tasks:
        _, found = trained(bench, task, NETWORKS)
        for method in NETWORKS:
            seeds = [learnt(bench, found, task, method, seed) for seed in bench.plan.seeds]
            section.data["networks"].append({"task": task.label, "method": method, "seeds": seeds})
            parts.append(f"### {task.label}, `{method}`\n\n{nodes(seeds)}\n\n{edges(seeds)}")
        first = [each for each in section.data["networks"] if each["task"] == task.label]
        section.plots[f"specialisation-{task.folder}"] = partial(draw, task.label, first)
    section.text = "\n\n".join(parts)
    return section


def learnt(bench: Bench, found: Compared, task: TaskPlan, method: str, seed: int) -> dict[str, Any]:
    """What `neuromas inspect` writes of one run, made once."""
    from algorithms.specialisation import specialisation

    run = found.runs(method, seed)[-1]
    questions = min(QUESTIONS, bench.plan.questions)
    key = {"run": run.folder.name, "questions": questions, "history": HISTORY}
    values: dict[str, Any] = bench.kept(
        f"specialisation/{task.folder}",
        f"{method}, seed {seed}",
        key,
        lambda: specialisation(run, questions, history=HISTORY, backbone=found.comparison.backbone).to_json(),
    )
    return values


def nodes(seeds: list[dict[str, Any]]) -> str:
    lines = []
    for place, node in enumerate(seeds[0]["now"]["nodes"]):
        types = ", ".join(f"`{text}` {percent(share)} %" for text, share in node["types"][:MOST_TYPES])
        right = [each["now"]["nodes"][place]["right"] for each in seeds]
        tokens = [each["now"]["nodes"][place]["tokens"] for each in seeds]
        lines.append([node["node"], types or "nothing", f"{np.mean(tokens):.1f}", f"{percent(float(np.mean(right)))}"])
    return table(["node", "says", "tokens", "right %"], lines)


def edges(seeds: list[dict[str, Any]]) -> str:
    lines = []
    for place, edge in enumerate(seeds[0]["now"]["edges"]):
        cells = []
        for what in ("silenced_changes", "swapped_changes"):
            values = [each["now"]["edges"][place][what] for each in seeds]
            cells.append(f"{percent(float(np.mean(values)))} ({percent(min(values))}–{percent(max(values))})")
        lines.append([f"{edge['sender']} → {edge['receiver']}", *cells])
    return table(["edge", "silenced: answers changed %", "swapped: answers changed %"], lines)


def draw(title: str, networks: list[dict[str, Any]], path: Path) -> None:
    """Over training, a line a seed: how often each node's message is right, and each edge's influence when swapped."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    from ..plot import FAINT, GRID, INK, save

    figure = Figure(figsize=(10.4, 3.4 * len(networks) + 0.6), facecolor="white")
    figure.text(0.02, 0.985, f"{title}: what the nodes learnt", fontsize=13, color=INK, fontweight="bold", va="top")
    grid = figure.subplots(len(networks), 2, squeeze=False)
    figure.subplots_adjust(left=0.06, right=0.86, top=0.9, bottom=0.08, hspace=0.4, wspace=0.5)
    for row, network in zip(grid, networks, strict=True):
        for axes, (part, name, what) in zip(row, PANELS, strict=True):
            items = network["seeds"][0]["now"][part]
            for place, item in enumerate(items):
                colour = colormaps["viridis"](place / max(1, len(items) - 1) * 0.9)
                for number, seed in enumerate(network["seeds"]):
                    updates = [each["update"] or 0 for each in seed["history"]]
                    values = [each[part][place][what] for each in seed["history"]]
                    label = item["node"] if part == "nodes" else f"{item['sender']} → {item['receiver']}"
                    axes.plot(updates, values, color=colour, linewidth=1.2, alpha=0.75,
                              label=label if number == 0 else None)  # fmt: skip
            axes.set_title(f"{network['method']}: {name}", fontsize=9.5, color=INK)
            axes.set_xlabel("update", fontsize=8.5, color=FAINT)
            axes.set_ylim(-0.02, 1.02)
            axes.grid(color=GRID)
            axes.tick_params(length=0, colors=FAINT, labelsize=8)
            axes.legend(frameon=False, fontsize=7.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
            for side in axes.spines.values():
                side.set_visible(False)
    save(figure, path)


PANELS = (
    ("nodes", "share of messages right as the answer", "right"),
    ("edges", "answers changed when the edge is swapped", "swapped_changes"),
)
