"""`neuromas leaderboard …`: make a submission, and check one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from neuromas_env.errors import UsageError

from .findings import TIERS, Tier

if TYPE_CHECKING:
    from baselines.base import Method
    from baselines.compare import Comparison

    from .verify import Report


def pack(
    source: Annotated[Path, Positional, arg(metavar="RUN|COMPARISON")],
    card: Annotated[Path, arg(metavar="FILE.yaml")],
    out: Annotated[Path, arg(metavar="FOLDER")],
    method: Annotated[str | None, arg(metavar="NAME")] = None,
    task: Annotated[str | None, arg(metavar="NAME")] = None,
    seed: int | None = None,
    split: Annotated[str | None, arg(metavar="NAME")] = None,
    questions: Annotated[int | None, arg(metavar="N")] = None,
    data: Annotated[Path | None, arg(metavar="FOLDER")] = None,
    allow_code_execution: FlagCreatePairsOff[bool] = False,
) -> None:
    """Make a submission of a trained run, or of one method of a comparison with all its seeds.

    The questions are asked once more, and every message is written down with its tokens. The card says what the code
    cannot know: authors (name, affiliation, url), licence, attempts (how many systems were asked these questions before
    this one was chosen), contamination, and training_data where something was trained; it may also say name,
    description, selection, track, extensions, backbone_licence, and places of artifacts.

    Args:
        source: The folder of a training run, or of a comparison.
        card: A YAML or JSON file with what is yours to say.
        out: The submission's folder; it must not exist yet.
        method: The method, as the comparison's table names it. A run needs none.
        task: The task, where a comparison has several.
        seed: Only this seed.
        split: For a run: the split that is asked; test without it. A comparison says itself.
        questions: For a run: how many questions; without it, all of the split.
        data: For a comparison: the folder in which data files with relative paths lie.
        allow_code_execution: Run programs that models write, where the task is judged so; each runs locked in.
    """
    from baselines.protocol import read_mapping

    from .pack import pack as make

    said = read_mapping(card)
    if out.exists():
        raise UsageError(f"--out {out}: it is there already; a submission is never written over")
    comparison, chosen = _source(source, method, task, seed, split, questions, data, allow_code_execution)
    made = make(comparison, chosen, said, out, str(card))
    print(f"{out}: submission {made[:16]}… of {chosen}")


def validate(
    folder: Annotated[Path, Positional, arg(metavar="SUBMISSION")],
    tier: Annotated[str, arg(metavar="T0|T1|T2|T3")] = "T2",
    data: Annotated[Path | None, arg(metavar="PATH")] = None,
    artifacts: Annotated[Path | None, arg(metavar="FOLDER")] = None,
    allow_code_execution: FlagCreatePairsOff[bool] = False,
    json: Annotated[Path | None, arg(metavar="FILE")] = None,
) -> None:
    """Check a submission, tier by tier, and tell everything that is wrong with it at once.

    T0: the files are whole and follow the schema. T1: every answer is judged again, and every question of every seed is
    there. T2: the messages are stepped through the environment, prompts are made again, and tokens are counted again.
    T3: a sample of messages is held against the weights. Ends with exit code 1 where something is wrong.

    Args:
        folder: The submission.
        tier: The highest tier to check.
        data: The task's data file, or the folder of its data files, for tasks that read them.
        artifacts: For T3: the folder in which the runs lie that artifacts.json lists.
        allow_code_execution: Run programs that models wrote, where the task is judged so; each runs locked in.
        json: Also write the report as JSON.
    """
    from algorithms.files import write_json

    from .verify import verify

    upto = checked_tier(tier)
    report = verify(folder, upto, data=data, artifacts=artifacts, allow_code_execution=allow_code_execution)
    if json:
        write_json(json, report.to_json())
    show(report, upto)
    if report.findings or report.tier is None:
        raise SystemExit(1)


def checked_tier(tier: str) -> Tier:
    """A tier as it was typed. Raises UsageError."""
    if tier not in TIERS:
        raise UsageError(f"--tier {tier}: {', '.join(TIERS)} are there")
    return tier


def show(report: Report, upto: Tier) -> None:
    """What was found, and how each tier ended."""
    from neuromas_env.text import visible

    for finding in report.findings:
        print(visible(str(finding)))
    for code, count in sorted(report.counts.items()):
        shown = sum(finding.code.id == code for finding in report.findings)
        if count > shown:
            print(f"{code}: {count - shown} more")
    for tier, title in TIERS.items():
        if tier <= upto:
            note = f" ({report.notes[tier]})" if tier in report.notes else ""
            print(f"{tier} {report.reached[tier]}: {title}{note}")
    if report.accuracy is not None:
        print(f"accuracy {report.accuracy:.4f} over {len(report.scores)} answers, judged by {report.scorer}")


def _source(
    source: Path,
    method: str | None,
    task: str | None,
    seed: int | None,
    split: str | None,
    questions: int | None,
    data: Path | None,
    allowed: bool,
) -> tuple[Comparison, Method]:
    """The comparison and the method in it that are packed. Raises UsageError."""
    import dataclasses

    from algorithms.run import is_run
    from baselines.plan import prepare, typed_protocol
    from baselines.protocol import read_protocol

    protocol = source / "protocol.yaml"
    if is_run(source):
        plan, methods = _plan_of_run(source, split, questions, typed_protocol), None
        root = Path()
    elif protocol.is_file():
        plan, methods, root = read_protocol(protocol), method, data or source
        if method is None:
            raise UsageError(f"{source} compares several methods: --method says which ({', '.join(plan.methods)})")
        for name, value in {"split": split, "questions": questions}.items():
            if value is not None:
                raise UsageError(f"--{name}: the comparison in {source} decides that")
    else:
        raise UsageError(f"{source} is neither the folder of a training run nor that of a comparison")
    plan, comparisons, _ = prepare(plan, root, source, None, allowed, 1, alone=len(plan.tasks) == 1)
    comparison = _of_task(source, comparisons, task)
    if seed is not None:
        if seed not in comparison.seeds:
            raise UsageError(f"--seed {seed}: {source} has {', '.join(map(str, comparison.seeds))}")
        comparison = dataclasses.replace(comparison, seeds=[seed])
    names = {str(each): each for each in comparison.methods}
    chosen = next(iter(names.values())) if methods is None else names.get(methods)
    if chosen is None:
        raise UsageError(f"--method {method}: {source} has {', '.join(names)}")
    return comparison, chosen


def _plan_of_run(source: Path, split: str | None, questions: int | None, typed_protocol: Any) -> Any:
    """A comparison of the run's own network with nothing, on the task that it learnt."""
    from algorithms.run import Run

    config = Run(source).config
    data = None if config.data is None else Path(config.data)
    return typed_protocol(
        config.task, str(source), None, config.seed, data, config.difficulty, config.task_options, split, questions,
        False, (),
    )  # fmt: skip


def _of_task(source: Path, comparisons: list[Comparison], task: str | None) -> Comparison:
    labels = {comparison.out.name: comparison for comparison in comparisons}
    if len(comparisons) == 1 and task is None:
        return comparisons[0]
    named = [each for label, each in labels.items() if task in (label, each.task.name)]
    if len(named) != 1:
        raise UsageError(f"--task {task}: {source} compares on {', '.join(labels)}; name one of them")
    return named[0]
