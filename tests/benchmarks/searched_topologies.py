"""Topologies found by a search on a trained network, against hand-made ones at equal training tokens.

    python tests/benchmarks/searched_topologies.py [--tasks chain,navigate] [--seeds 3] [--out FOLDER]
    python tests/benchmarks/searched_topologies.py --optimisers ridge,reinforce,ppo,a2c,random

For each task and seed:

1. A network of five nodes in which everyone hears everyone before (`1-1-1-1-1/all`) is trained for the token budget,
   with 30 % of all messages dropped, so that it knows how to do without any of them.
2. `neuromas search TASK --network RUN` searches its edges, with random search beside it.
3. The topology found, and `1-1-1`, `2-2-1` and `2-2-2-1`, are each trained from scratch with the same token budget and
   asked the same held-out questions.

With `--optimisers` the networks of step 1 are searched by each of these, and what they find is judged with that network
on held-out questions, instead of being trained.

Everything that is finished is kept, and the same command goes on. Differences are paired over seeds and questions, with
the intervals of `neuromas compare`. What the first network and the search sampled comes on top for the topology found;
it is printed beside.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from algorithms.config import TrainConfig
from algorithms.run import Run
from baselines.architecture.command import Algorithm, search
from baselines.base import make_method
from baselines.commands import load, training_config
from baselines.compare import Comparison, run_comparison
from baselines.evaluate import choose_questions
from baselines.results import Outcomes, accuracy_interval, paired_difference
from baselines.workers import ensure_trained
from neuromas_env import make_task

BASE = "1-1-1-1-1/all"
FIXED = ("1-1-1", "2-2-1", "2-2-2-1")
FOUND = "found"
HELD_OUT = 200
QUESTIONS, VALIDATION = 8, 100
"""Questions in a batch, so that a small token budget still holds some updates, and at each validation."""


def found_topology(
    task: str, seed: int, tokens: int, evaluations: int, out: Path, algorithm: Algorithm | None = None
) -> Path:
    """The folder of a finished search on a trained network."""
    config = TrainConfig(
        task, BASE, seed=seed, token_budget=tokens, message_dropout=0.3, questions=QUESTIONS,
        validation_questions=VALIDATION, tensorboard=False, out=str(out / f"whole-{task}-seed{seed}"),
    )  # fmt: skip
    ensure_trained(config, progress=False)
    folder = out / f"search-{task}-seed{seed}{f'-{algorithm}' if algorithm else ''}"
    if not (folder / "results.json").exists():
        search(
            task, "edges", algorithm, evaluations, config.folder, seed=seed, floor=algorithm is None, held_out=HELD_OUT,
            out=folder,
        )  # fmt: skip
    return folder


def outcomes(task: str, seed: int, folder: Path, tokens: int, questions: int, out: Path) -> dict[str, Outcomes]:
    """What became of the held-out questions with each topology, trained from scratch."""
    problem, backbone = make_task(task), load("nano")
    options = (f"token_budget={tokens}", f"questions={QUESTIONS}", f"validation_questions={VALIDATION}")
    comparison = Comparison(
        problem,
        "test",
        choose_questions(problem, "test", questions),
        [make_method(f"neuromas:{name}") for name in (folder / "topology.json", *FIXED)],
        [seed],
        backbone,
        training_config(problem, "nano", options, {}),
        out / task,
    )
    _, found = run_comparison(comparison)
    return dict(zip((FOUND, *FIXED), (each[0] for each in found.values()), strict=True))


def table(task: str, seeds: Sequence[dict[str, Outcomes]]) -> list[str]:
    correct = {name: np.stack([each[name].correct_Q for each in seeds]) for name in (FOUND, *FIXED)}
    lines = [f"\n| {task} | accuracy % (95 % interval) | each seed | found less this, points |", "|---|---|---|---|"]
    for name, correct_SQ in correct.items():
        low, high = accuracy_interval(correct_SQ)
        each = " ".join(f"{100 * mean:.1f}" for mean in correct_SQ.mean(axis=1))
        difference = "–"
        if name != FOUND:
            mean, lower, upper = (100 * value for value in paired_difference(correct[FOUND], correct_SQ))
            difference = f"{mean:+.1f} ({lower:+.1f} to {upper:+.1f})"
        lines.append(
            f"| {name} | {100 * correct_SQ.mean():.1f} ({100 * low:.1f}–{100 * high:.1f}) | {each} | {difference} |"
        )
    return lines


def by_optimiser(task: str, algorithms: Sequence[Algorithm], given: argparse.Namespace) -> list[str]:
    """What each optimiser finds in the networks of all seeds: reward, accuracy and calls on held-out questions."""
    lines = [f"\n| {task} | reward | each seed | accuracy % | calls | evaluations |", "|---|---|---|---|---|---|"]
    for algorithm in (*algorithms, "largest"):
        rows, spent = [], []
        for seed in range(given.seeds):
            asked = algorithms[0] if algorithm == "largest" else algorithm
            folder = found_topology(task, seed, given.tokens, given.evaluations, given.out, asked)
            result = json.loads((folder / "results.json").read_text())
            rows.append(result["held_out"][algorithm])
            spent.append(result["searches"][asked]["evaluations"] if algorithm != "largest" else 0)
        mean = {name: np.mean([row[name] for row in rows]) for name in ("reward", "accuracy", "calls")}
        each = " ".join(f"{row['reward']:.3f}" for row in rows)
        lines.append(
            f"| {algorithm} | {mean['reward']:.3f} | {each} | {100 * mean['accuracy']:.1f} | {mean['calls']:.1f} | "
            f"{max(spent)} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="chain,navigate")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=30_000)
    parser.add_argument("--evaluations", type=int, default=800)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--optimisers")
    parser.add_argument("--out", type=Path, default=Path("runs/searched-topologies"))
    given = parser.parse_args()
    for task in given.tasks.split(","):
        if given.optimisers:
            print("\n".join(by_optimiser(task, given.optimisers.split(","), given)), flush=True)
            continue
        asked, told = [], []
        for seed in range(given.seeds):
            folder = found_topology(task, seed, given.tokens, given.evaluations, given.out)
            asked.append(outcomes(task, seed, folder, given.tokens, given.questions, given.out))
            result = json.loads((folder / "results.json").read_text())
            whole = Run(given.out / f"whole-{task}-seed{seed}").checkpoint("last").state().spent["sampled_tokens"]
            searched = next(iter(result["searches"].values()))
            told.append(f"seed {seed}: {searched['spelled']}, edges {searched['topology']['edges']}; on top: "
                        f"{whole:,} tokens of training and {searched['tokens']:,} of search; held out with the "
                        f"network searched on: {json.dumps(result['held_out'])}")  # fmt: skip
        print("\n".join([*table(task, asked), "", *told]), flush=True)


if __name__ == "__main__":
    main()
