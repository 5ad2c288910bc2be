"""The commands of this package: `neuromas train` and `neuromas pretrain-nano`. Nothing heavy is imported for --help."""

from __future__ import annotations

import sys
from typing import Annotated

import tyro

from .config import TrainConfig
from .nano.config import PretrainConfig
from .run import Run


def train(
    config: Annotated[TrainConfig, tyro.conf.arg(name="")],
    resume: tyro.conf.FlagCreatePairsOff[bool] = False,
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Train a network of language models on a task by reinforcement learning.

    Writes a run folder with checkpoints, metrics, TensorBoard events and transcripts; look at it with
    `neuromas show RUN`, judge it with `neuromas evaluate RUN TASK`. Ctrl-C saves and stops.

    Args:
        resume: Go on with the run in the folder; start it where there is none.
        dry_run: Print what the run would take (parameters, tokens, memory, time), measured on a small part; start
            nothing.
    """
    if dry_run:
        from .estimate import estimate

        print(estimate(config))
        return
    from .errors import TrainingError, TrainingStopped
    from .trainer import train as run_training

    try:
        run = run_training(config, resume=resume, progress=True)
    except TrainingStopped as stopped:
        print(f"neuromas: {stopped}", file=sys.stderr)
        raise SystemExit(130) from None
    except TrainingError as error:
        print(f"neuromas: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    print(summary(run))


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
    lines = [f"{run.folder}: {run.metrics[-1]['update']} updates, {run.metrics[-1]['sampled_tokens']:,} sampled tokens"]
    if validated:
        lines.append(f"validation accuracy: untrained {validated[0]:.3f}, best {validated[best.update]:.3f} "
                     f"(update {best.update}), last {validated[max(validated)]:.3f}")  # fmt: skip
    last = run.metrics[-1]
    if (curriculum := run.config.make_curriculum()) is not None and "level" in last:
        reached = f"level {last['level']} of {len(curriculum.levels)}"
        lines.append(f"curriculum {curriculum}: trained last at difficulty {last['difficulty']} ({reached})")
    lines.append(f"best network: {best.path}")
    return "\n".join(lines)
