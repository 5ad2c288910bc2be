"""What each optimiser of topologies attains of what can be gained on planted problems, over budgets and seeds.

    python tests/benchmarks/planted_search.py [--seeds 20] [--spaces edges,shape,templates,growth] [--json FILE]

The problems stand in planted.py. Every seed plants another solution, and every budget is a search of its own. The share
attained is

    (value found − value of chance) / (best value − value of chance)

with the exact expected rewards of the topology found, of the best one, and of a uniform draw; for growth, with the
return of the best episode of the search. Intervals are 95 %, by bootstrap over seeds. The settings of ppo and a2c were
chosen on the edges of the seeds 100 to 103, which are not among those reported; those of the others are their authors',
or have nothing to choose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from planted import Planted, PlantedGrowth, PlantedShape

from baselines.architecture.ledger import Ledger
from baselines.architecture.optimisers import ALGORITHMS, search
from baselines.architecture.problem import GrowthProblem, TopologyProblem
from neuromas_env.search import SearchSpace

PRICE = 0.1
BUDGETS = {"edges": (400, 800, 3200), "shape": (400, 800, 3200), "templates": (400, 800, 3200), "growth": (24, 48, 96)}


def share(space: str, algorithm: str, budget: int, seed: int) -> float:
    """The share of what can be gained that one search attains."""
    if space == "growth":
        return share_of_growth(algorithm, budget, seed)
    planted = PlantedShape(seed) if space == "shape" else Planted(seed)
    chosen: SearchSpace = planted.space
    chance = planted.chance(PRICE)
    if space == "templates":
        assert isinstance(planted, Planted)
        templates = planted.templates()
        chosen, chance = templates, float(np.mean([planted.value(each, PRICE) for each in templates.topologies]))
    problem = TopologyProblem(
        chosen, planted, planted.questions, planted.token_budget, Ledger(budget), price=PRICE, seed=seed
    )
    found = search(algorithm, problem, seed).choose(problem, problem.typical_D)
    return (planted.value(found, PRICE) - chance) / (planted.best(PRICE) - chance)


def share_of_growth(algorithm: str, budget: int, seed: int) -> float:
    planted = PlantedGrowth(seed)
    problem = GrowthProblem(
        planted, planted.token_budget, Ledger(budget), stages=planted.stages, most_nodes=30, price=planted.price
    )
    search(algorithm, problem, seed)
    found = max((earned for earned, _, _ in problem.episodes), default=0.0)
    return (found - planted.chance()) / (planted.best() - planted.chance())


def interval(values_S: Sequence[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean over seeds."""
    rng = np.random.default_rng(0)
    means = rng.choice(np.asarray(values_S), (10_000, len(values_S))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--spaces", default="edges,shape,templates,growth")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    shares: dict[str, list[float]] = {}
    for space in given.spaces.split(","):
        print(f"\n| {space}: share attained | " + " | ".join(f"{n:,} evaluations" for n in BUDGETS[space]) + " |")
        print("|---|" + "---|" * len(BUDGETS[space]))
        for algorithm in ALGORITHMS:
            if algorithm == "dqn" and space in ("edges", "shape"):
                continue  # which makes one choice of a few
            cells = []
            for budget in BUDGETS[space]:
                values = [share(space, algorithm, budget, seed) for seed in range(given.seeds)]
                shares[f"{space} {algorithm} {budget}"] = values
                low, high = interval(values)
                cells.append(f"{np.mean(values):.2f} ({low:.2f}–{high:.2f})")
            print(f"| `{algorithm}` | " + " | ".join(cells) + " |", flush=True)
    versions = {name: version(name) for name in ("neuromas", "stable-baselines3", "gymnasium", "torch", "numpy")}
    if given.json:
        figures = {"seeds": given.seeds, "versions": versions, "shares": shares}
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\n{given.seeds} seeds; {versions}")


if __name__ == "__main__":
    main()
