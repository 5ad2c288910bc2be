"""Three ways in which joint training goes wrong, each provoked and then met with its remedies, over seeds.

    python examples/traps.py --trap all --out runs/traps

collapse   A learning rate that stays high: the network is good, and then forgets. Remedies: decay, early stop with the
           best checkpoint kept, a pull towards the backbone.
silence    A cost on length teaches a layer to say nothing, and when it is lifted the layer is not heard of again: its
           message is always empty, so no sample shows that another would pay. Remedies, before and after: a cost on
           silence, a pull towards the backbone, an entropy bonus.
drift      Two nodes in a layer: one does the work, the other says ever more arbitrary things, unpunished, since nobody
           needs it. Remedies: message dropout, counterfactual credit, a pull towards the backbone, a cost on length.

A run that is there is not trained again, so an interrupted script goes on where it stopped. It prints a table in
Markdown, and writes it to OUT/TRAP.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from algorithms import TrainConfig, train
from algorithms.run import Run

Rows = Sequence[Mapping[str, Any]]


@dataclass
class Config:
    trap: Literal["all", "collapse", "silence", "drift"] = "all"
    """Which trap."""
    seeds: int = 3
    """How many seeds; each trains anew."""
    rate: float = 8e-3
    """The learning rate of the trap `collapse`."""
    out: Path = Path("runs/traps")
    """The folder of runs and tables."""


def best(rows: Rows) -> float:
    return max(row["validation_accuracy"] for row in rows if "validation_accuracy" in row)


def last(rows: Rows) -> float:
    return [row["validation_accuracy"] for row in rows if "validation_accuracy" in row][-1]


def of_hidden(column: str, pick: Callable[[list[float]], float]) -> Callable[[Rows], float]:
    """A column of the hidden nodes in the last five updates: each node's mean, then `pick` of them."""

    def value(rows: Rows) -> float:
        nodes = list(rows[-1]["nodes"])[:-1]
        return pick([statistics.mean(row["nodes"][node][column] for row in rows[-5:]) for node in nodes])

    return value


Measures = dict[str, Callable[[Rows], float]]
COMMON: dict[str, Any] = {"task": "chain", "difficulty": "2-3", "tensorboard": False, "validation_every": 4,
                          "keep_checkpoints": 1, "transcript_episodes": 0}  # fmt: skip


def finished(config: TrainConfig, start: Run | None = None) -> Run:
    """The run of `config`, trained now if it is not there; from the last network of `start`, where one is given."""
    network = None if start is None or config.folder.exists() else start.network("last")
    return train(config, resume=True, network=network)


def collapse(out: Path, seed: int, rate: float) -> dict[str, Run]:
    common = COMMON | {"topology": "1-1-1", "learning_rate": rate, "updates": 100, "seed": seed}
    conditions: dict[str, dict[str, Any]] = {
        "constant rate": {"schedule": "constant"},
        "linear decay": {"schedule": "linear"},
        "early stop (patience 4)": {"schedule": "constant", "patience": 4},
        "kl 0.05": {"schedule": "constant", "kl": 0.05},
    }
    return {
        name: finished(TrainConfig(**common, **fields, out=str(out / f"{slug(name)}-{rate:g}-{seed}")))
        for name, fields in conditions.items()
    }


def silence(out: Path, seed: int, rate: float) -> dict[str, Run]:
    common = COMMON | {"topology": "1-1-1", "seed": seed}
    pressed = common | {"updates": 24, "length_cost": 1.0, "learning_rate": 1e-2, "schedule": "constant"}
    taught: dict[str, dict[str, Any]] = {
        "under the cost": {},
        "under the cost, silence_cost 1": {"silence_cost": 1.0},
        "under the cost, kl 0.1": {"kl": 0.1},
    }
    lifted: dict[str, dict[str, Any]] = {
        "then without it": {},
        "then silence_cost 0.3": {"silence_cost": 0.3},
        "then entropy_bonus 0.05": {"entropy_bonus": 0.05},
        "then kl 0.1": {"kl": 0.1},
    }

    def place(name: str) -> str:
        return str(out / f"{slug(name)}-{seed}")

    runs = {name: finished(TrainConfig(**pressed, **fields, out=place(name))) for name, fields in taught.items()}
    start = runs["under the cost"]
    for name, fields in lifted.items():
        runs[name] = finished(TrainConfig(**common, **fields, updates=60, out=place(name)), start)
    return runs


def drift(out: Path, seed: int, rate: float) -> dict[str, Run]:
    common = COMMON | {"topology": "2-2-1", "learning_rate": 5e-3, "schedule": "constant", "updates": 60, "seed": seed}
    conditions: dict[str, dict[str, Any]] = {
        "no remedy": {},
        "message_dropout 0.2": {"message_dropout": 0.2},
        "counterfactual credit": {"credit": "counterfactual"},
        "kl 0.05": {"kl": 0.05},
        "length_cost 0.2": {"length_cost": 0.2},
    }
    return {
        name: finished(TrainConfig(**common, **fields, out=str(out / f"{slug(name)}-{seed}")))
        for name, fields in conditions.items()
    }


TRAPS: dict[str, tuple[Callable[[Path, int, float], dict[str, Run]], Measures]] = {
    "collapse": (collapse, {"best validation": best, "last validation": last}),
    "silence": (
        silence,
        {
            "most silent node (share empty)": of_hidden("empty", max),
            "least about the question (nats)": of_hidden("about_question", min),
            "best validation": best,
            "last validation": last,
        },
    ),
    "drift": (
        drift,
        {
            "highest entropy (nats a token)": of_hidden("entropy", max),
            "least about the question (nats)": of_hidden("about_question", min),
            "least about the answer (nats)": of_hidden("about_answer", min),
            "last validation": last,
        },
    ),
}


def slug(name: str) -> str:
    return "".join(c if c.isalnum() or c == "." else "-" for c in name).strip("-")


def table(runs: Sequence[Mapping[str, Run]], measures: Measures) -> str:
    """One row a condition: the median over seeds and, in brackets, every seed."""
    lines = ["| condition | " + " | ".join(measures) + " |", "|---" * (len(measures) + 1) + "|"]
    for name in runs[0]:
        cells = []
        for measure in measures.values():
            values = [measure([row for row in of_seed[name].metrics if row["update"] > 0]) for of_seed in runs]
            cells.append(f"{statistics.median(values):.2f} ({', '.join(f'{value:.2f}' for value in values)})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(config: Config) -> None:
    for name, (play, measures) in TRAPS.items():
        if config.trap not in ("all", name):
            continue
        text = table([play(config.out / name, seed, config.rate) for seed in range(config.seeds)], measures)
        (config.out / f"{name}.md").write_text(text, encoding="utf-8")
        print(f"{name}\n\n{text}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config))
