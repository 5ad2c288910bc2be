"""The commands of this package: `neuromas train`, `grow` and `pretrain-nano`. Nothing heavy is imported for --help."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated

import tyro

from neuromas_env.errors import UsageError

from .config import TrainConfig, topology_name
from .gates import Init, Opening
from .nano.config import PretrainConfig
from .run import Run


def train(
    config: Annotated[TrainConfig, tyro.conf.arg(name="")],
    grow: Annotated[str | None, tyro.conf.arg(metavar="STAGE,STAGE,...")] = None,
    resume: tyro.conf.FlagCreatePairsOff[bool] = False,
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Train a network of language models on a task by reinforcement learning.

    Writes a run folder with checkpoints, metrics, TensorBoard events and transcripts; look at it with
    `neuromas show RUN`, judge it with `neuromas evaluate RUN TASK`. Ctrl-C saves and stops.

    Args:
        grow: Train a small network and grow it, such as 1-1-1@80,2-2-1@40,found.json@plateau: topologies, or files that
            hold one, with the updates of each, or until its validation gets no better. Every stage is a run below the
            folder.
        resume: Go on with the run in the folder; start it where there is none.
        dry_run: Print what the run would take (parameters, tokens, memory, time), measured on a small part; start
            nothing.
    """
    if dry_run and grow is not None:
        raise UsageError("--dry-run measures one network, and --grow trains several: give one --topology instead")
    if dry_run:
        from .estimate import estimate

        print(estimate(config))
        return
    if grow is None:
        tell(_trained(config, resume))
        return
    from .stages import parse_stages, stage_configs, train_stages

    tell(train_stages(stage_configs(config, parse_stages(grow)), lambda stage: _trained(stage, resume)))


def grow(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    to: Annotated[str, tyro.conf.arg(metavar="TOPOLOGY")],
    init: Init = "fresh",
    opening: Opening = "gradual",
    opening_updates: int = TrainConfig.opening_updates,
    updates: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None,
    seed: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    out: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None,
    resume: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Grow the best network of a run to a larger topology, and train it on.

    Adapters, optimizer state and node ids of the old nodes are kept. What is new starts closed: new nodes beside old
    ones are silent, and those of a new layer relay the layer before, so that the network says what it said; then they
    open. The new run has all other settings of the old one, and names it with what it cost.

    Args:
        run: The run to grow.
        to: The larger topology: layers and nodes are added, none is taken away.
        init: Adapters of new nodes: fresh, or clones of the nodes beside (in a new layer, before) them.
        opening: When new nodes begin to speak: never, at once, or at more and more questions.
        opening_updates: The updates over which a gradual opening goes.
        updates: How long to train on; without it, as long as the old run; 0 only grows and judges the network.
        learning_rate: The highest learning rate; without it, that of the old run.
        seed: Without it, that of the old run; the questions are others all the same.
        out: The new run's folder; without it, beside the old one.
        resume: Go on with the run in the folder; start it where there is none.
    """
    old = Run(run).config
    config = dataclasses.replace(
        old,
        parent=str(run),
        topology=to,
        init=init,
        opening=opening,
        opening_updates=opening_updates,
        updates=old.updates if updates is None else updates,
        learning_rate=old.learning_rate if learning_rate is None else learning_rate,
        seed=old.seed if seed is None else seed,
        out=out or f"{run}-grown-{topology_name(to)}",
    )
    tell(_trained(config, resume))


def _trained(config: TrainConfig, resume: bool) -> Run:
    """The finished run of `config`; what keeps it from finishing ends the command with one line."""
    from .errors import EngineError, TrainingError, TrainingStopped
    from .training import train as run_training

    try:
        return run_training(config, resume=resume, progress=True)
    except TrainingStopped as stopped:
        code, told = 130, str(stopped)
    except (TrainingError, EngineError) as error:
        code, told = 1, f"error: {error}"
    except UsageError as error:
        code, told = 2, f"error: {error}"
    if first_process():
        print(f"neuromas: {told}", file=sys.stderr)
    raise SystemExit(code)


def tell(run: Run) -> None:
    """Say how a training ended: once, where several processes did it."""
    if first_process():
        print(summary(run))


def first_process() -> bool:
    """Whether this is the process that speaks, among those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def pretrain_nano(config: Annotated[PretrainConfig, tyro.conf.arg(name="")]) -> None:
    """Make the embedded backbone from synthetic text, as it is shipped.

    The defaults are those of the shipped model; on one core they take about half an hour. A finished folder is used
    like any backbone: `neuromas train chain --backbone FOLDER`.
    """
    from .nano.pretrain import pretrain

    pretrain(config)


def summary(run: Run) -> str:
    """What a finished run has to say, in a few lines."""
    validated = {row["update"]: row["validation_accuracy"] for row in run.metrics if "validation_accuracy" in row}
    best = run.checkpoint("best")
    from .descent import spent_by_ancestors

    last = run.metrics[-1]
    lines = [f"{run.folder}: {last['update']} updates, {last.get('sampled_tokens', 0):,} sampled tokens"]
    if forebears := run.record.get("ancestors", []):
        tokens = spent_by_ancestors(run.record)
        chain = " → ".join(f"{ancestor['topology']} ({ancestor['folder']})" for ancestor in forebears)
        lines.append(f"grown from {chain}, which sampled {tokens:,} tokens")
    if validated:
        first, best_one, final = validated[0], validated[best.update], validated[max(validated)]
        lines.append(f"validation accuracy: {'as grown' if forebears else 'untrained'} {first:.3f}, "
                     f"best {best_one:.3f} (update {best.update}), last {final:.3f}")  # fmt: skip
    if (curriculum := run.config.make_curriculum()) is not None and "level" in last:
        reached = f"level {last['level']} of {len(curriculum.levels)}"
        lines.append(f"curriculum {curriculum}: trained last at difficulty {last['difficulty']} ({reached})")
    lines.append(f"best network: {best.path}")
    return "\n".join(lines)
