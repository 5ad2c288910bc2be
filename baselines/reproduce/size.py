"""Networks up to 31 nodes: what a call takes, in time and memory, and what growth without evidence leaves closed.

The networks are those grown by clones in the experiment on growth, at the middle learning rate, and one of 31 nodes
that is grown from the largest of them. Each answers test questions as it was trained, with those gates closed that its
best checkpoint has closed, and with all gates open. Time and memory are of greedy answers with all nodes at work, one
process a network, of the first seed.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from neuromas_env.episodes import run_episodes

from .growth import LADDER, cloned, scratch, sizes
from .plan import Bench, Compared, TaskPlan
from .report import Section, percent, table

LARGEST = max(LADDER)


def run(bench: Bench) -> Section:
    section = Section("size", "Networks of up to 31 nodes")
    rate = bench.plan.middle_rate
    nodes = [*sizes(bench.plan.quick), LARGEST]
    section.data["rows"], parts = [], []
    for task in bench.plan.growing[:1] if bench.plan.quick else bench.plan.growing:
        names = {size: (cloned if size > nodes[0] else scratch)(size, rate) for size in nodes}
        found = bench.compare("growth", task, list(names.values()), bench.tokens(task))
        rows = [row_of(bench, found, task, size, names[size]) for size in nodes]
        section.data["rows"] += rows
        parts.append(f"### {task.label}\n\n{describe(rows)}")
    section.text = "\n\n".join(
        [
            f"Grown by clones, learning rate {rate}, all with the same sampled tokens in training, ancestors included; "
            "means over seeds, seconds of training over all stages. *As trained*: with the gates of the best "
            "checkpoint. *All open*: every node speaks. Time: milliseconds a call with all nodes at work, one thread. "
            "Memory: the highest resident size of a process that answers the questions, all at once, and that size "
            "before the first question.",
            *parts,
        ]
    )
    return section


def row_of(bench: Bench, found: Compared, task: TaskPlan, size: int, name: str) -> dict[str, Any]:
    row = found.row(name)
    key = {
        "runs": [found.runs(name, seed)[-1].folder.name for seed in bench.plan.seeds],
        "questions": [question.id for question in found.comparison.questions],
    }
    opened = bench.kept(f"size/{task.folder}", f"{size} nodes, all open", key, lambda: all_open(bench, found, name))
    cost = bench.kept(f"size/{task.folder}", f"{size} nodes, cost of a call", key, lambda: measured(bench, found, name))
    return {
        "task": task.label,
        "nodes": size,
        "topology": LADDER[size],
        "parameters": row.trainable_parameters,
        "training_seconds": row.extra.get("training_seconds"),
        "accuracy": row.accuracy,
        "calls": row.calls,
        "all_open": opened,
        **cost,
    }


def all_open(bench: Bench, found: Compared, name: str) -> list[float]:
    """The accuracy of each seed's network when every node speaks."""
    from algorithms.validation import GreedyPolicy

    comparison, accuracies = found.comparison, []
    for seed in bench.plan.seeds:
        run = found.runs(name, seed)[-1]
        network = run.network("best", found.comparison.backbone)
        network.gates = network.gates.opened(1.0)
        policy = GreedyPolicy(network, run.config.max_tokens)
        accuracies.append(run_episodes(comparison.task, network.topology, policy, comparison.questions).accuracy)
    return accuracies


def measured(bench: Bench, found: Compared, name: str) -> dict[str, float]:
    """Time and memory of a call of the first seed's network, in a process that does nothing else."""
    folder = found.runs(name, bench.plan.seeds[0])[-1].folder
    questions = len(found.comparison.questions)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(answer_questions, str(folder), questions).result()


def answer_questions(folder: str, questions: int) -> dict[str, float]:
    """The body of that process: greedy answers to test questions with all gates open, the second time on the clock."""
    import torch

    from algorithms.run import Run
    from algorithms.validation import GreedyPolicy

    run = Run(Path(folder))
    torch.set_num_threads(1)
    task, network = run.config.make_task(), run.network("best")
    network.gates = network.gates.opened(1.0)
    policy = GreedyPolicy(network, run.config.max_tokens)
    before = peak_bytes()
    run_episodes(task, network.topology, policy, range(min(questions, 8)))
    start = time.perf_counter()
    batch = run_episodes(task, network.topology, policy, range(questions))
    seconds = time.perf_counter() - start
    calls = sum(turn.message.calls for turn in batch.turns)
    return {"milliseconds": 1000 * seconds / calls, "resident": before, "peak": peak_bytes()}


def peak_bytes() -> int:
    """The highest resident size of this process. On Linux `ru_maxrss` would be that of the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def describe(rows: list[dict[str, Any]]) -> str:
    head = ["nodes", "topology", "trained parameters", "training seconds", "as trained %", "calls", "all open %",
            "ms a call", "memory before, highest"]  # fmt: skip
    lines = [
        [
            row["nodes"],
            f"`{row['topology']}`",
            f"{row['parameters']:,}",
            f"{row['training_seconds']:.0f}",
            percent(row["accuracy"]),
            f"{row['calls']:.2f}",
            percent(float(np.mean(row["all_open"]))),
            f"{row['milliseconds']:.2f}",
            f"{row['resident'] / 2**20:.0f}, {row['peak'] / 2**20:.0f} MB",
        ]
        for row in rows
    ]
    return table(head, lines)
