"""A search for how to grow: stages of real training, and the best way that was tried.

Training is a function of the path that leads to it, so the best return among the episodes of a search is known, and
not estimated: what is found is the network that it ends with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.files import write_json
from neuromas_env.errors import UsageError
from neuromas_env.task import Task
from neuromas_env.topology import Topology

from .drawing import Drawn, draw_topologies
from .growth import StageTrainer
from .ledger import Ledger
from .optimisers import check_search, search
from .outcome import topology_file
from .plot import Curve, draw_search
from .problem import GrowthProblem
from .setting import Setting, made_with


@dataclass
class GrowthSetting(Setting):
    trainer: StageTrainer
    token_budget: int
    options: Mapping[str, Any]
    seed: int
    identity: dict[str, Any] = field(default_factory=dict)

    def problem(self, budget: int, path: Path | None = None) -> GrowthProblem:
        return GrowthProblem(self.trainer, self.token_budget, Ledger(budget, path), **self.options)

    def check(self, algorithm: str, budget: int, *, floor: bool) -> None:
        for name in (algorithm, "random") if floor else (algorithm,):
            check_search(name, self.problem(budget))

    def run(self, algorithm: str, budget: int, folder: Path, *, floor: bool) -> list[str]:
        problems = {algorithm: self.problem(budget, folder / "evaluations.jsonl")}
        if floor:
            problems["random"] = self.problem(budget, folder / "random.jsonl")
        curves, found = dict[str, Curve](), dict[str, dict[str, Any]]()
        for name, problem in problems.items():
            with closing(problem.ledger):
                controller = search(name, problem, self.seed)
            curves[name] = Curve(problem.rewards(), problem.tokens())
            earned, path, accuracy = max(problem.episodes, key=lambda episode: episode[0])
            found[name] = {"return": earned, "accuracy": accuracy, "path": [each.to_json() for each in path],
                           "episodes": len(problem.episodes), "stages": len(curves[name].rewards_B),
                           "tokens": int(np.sum(curves[name].tokens_B))}  # fmt: skip
            if name == algorithm:
                controller.save(folder)
                best = sorted(dict.fromkeys(problem.episodes), key=lambda episode: -episode[0])  # ties: the first
        write_json(folder / "topology.json", topology_file(best[0][1][-1]))
        write_json(folder / "results.json", {**made_with(self.identity), "searches": found})
        title = f"{self.identity['task']}: growth searched by {algorithm}"
        draw_search(curves, folder / "search.png", title)
        drawn = [Drawn(path[-1], f"return {earned:.2f}, {100 * accuracy:.1f} %", {}) for earned, path, accuracy in best]
        draw_topologies(drawn, folder / "topologies.png", title)
        return self._lines(found)

    def _lines(self, found: Mapping[str, dict[str, Any]]) -> list[str]:
        lines = []
        for name, each in found.items():
            path = " → ".join(str(Topology.from_json(graph)) for graph in each["path"])
            lines.append(
                f"  {name} ({each['stages']} stages in {each['episodes']} episodes): {path}, "
                f"validation accuracy {each['accuracy']:.3f}, return {each['return']:.3f}"
            )
        return ["best growth:", *lines]


def growth_setting(
    task: Task,
    folder: Path,
    asked: Mapping[str, Any],
    train: Sequence[str],
    start: str,
    stages: int,
    stage_tokens: int,
    *,
    price: float,
    seed: int,
    backbone: str | None,
) -> GrowthSetting:
    """The setting of a search for how to grow. Raises UsageError for a bad option, or stages without tokens."""
    from ..commands import load, training_config

    if stage_tokens < 1:
        raise UsageError(f"--stage-tokens {stage_tokens}: a budget of at least 1 token is needed")
    loaded = load(backbone or "nano")
    training = replace(training_config(task, loaded.pinned, tuple(train), asked), seed=seed)
    if training.validation_questions < 1:
        raise UsageError("growth is rewarded by validation: validation_questions cannot be 0")
    options = {"start": start, "stages": stages, "price": price}
    identity = {
        "task": task.id,
        "space": {"name": "growth", **options, "stage_tokens": stage_tokens},
        "training": {name: value for name, value in training.to_json().items() if name not in ("out", "parent")},
        "backbone": loaded.weight_hash(),
    }
    trainer = StageTrainer(training, stage_tokens, folder / "runs", loaded)
    return GrowthSetting(trainer, stages * stage_tokens, options, seed, identity)
