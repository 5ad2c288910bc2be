"""The commands of this package: `neuromas evaluate` and `neuromas compare`. Nothing heavy is imported for --help."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from neuromas_env.errors import UsageError
from neuromas_env.task import Question, Task, questions_hash

DEFAULT_METHODS = "direct,cot,self-consistency,single-rl,neuromas:1-1-1"

# What the help shows for an option that may be left out, instead of its type.
File = Annotated[Path | None, arg(metavar="FILE")]
Data = Annotated[Path | None, arg(metavar="PATH")]
Options = Annotated[dict[str, str] | None, arg(metavar="NAME VALUE ...")]
Flag = Annotated[bool, FlagCreatePairsOff]
Range = Annotated[str | None, arg(metavar="LOW-HIGH")]
Number = Annotated[int | None, arg(metavar="N")]
Engine = Annotated[str | None, arg(metavar="NAME")]


def evaluate(
    system: Annotated[str, Positional, arg(metavar="RUN|METHOD")],
    task: Annotated[str, Positional, arg(metavar="TASK")],
    data: Data = None,
    difficulty: Range = None,
    task_options: Options = None,
    allow_code_execution: Flag = False,
    split: str = "test",
    questions: Number = None,
    seed: Number = None,
    silence: Annotated[str | None, arg(metavar="NODE,NODE")] = None,
    wordings: File = None,
    backbone: Annotated[str | None, arg(metavar="NAME")] = None,
    engine: Engine = None,
    out: Annotated[Path, arg(metavar="FOLDER")] = Path("runs"),
    json: File = None,
    transcript: File = None,
) -> None:
    """Measure one trained run or one method on a task: accuracy with its 95 % interval, and what it costs.

    A method is direct, cot, self-consistency@8, untrained:1-1-1, or one that is trained first: single-rl,
    neuromas:1-1-1.

    Args:
        system: A run folder, of which the best checkpoint by validation is measured, or the name of a method.
        task: A task listed by `neuromas tasks`.
        data: A file of the task's published format, whose rows are the split test, or a folder of such files.
        difficulty: How hard the questions are, for tasks that grade them.
        task_options: Further options of the task, such as shots 5.
        allow_code_execution: Run programs that models write, for tasks that are judged so; each runs locked in.
        split: Which questions: train, validation or test.
        questions: How many questions, from the first on; without it, the whole split.
        seed: Decides sampled answers, and the training of a method that trains; without it, the run's own, or 0.
        silence: Nodes whose messages nobody hears, with commas between, such as node_0,node_1.
        wordings: A YAML or JSON file with instructions of your own: {METHOD: {INSTRUCTION: TEXT}}.
        backbone: The frozen model: nano, a Hugging Face id or a folder; without it, the run's own, or nano.
        engine: What samples messages: transformers (the loaded backbone), vllm, vllm:URL, openai:URL (a server; the
            backbone is then its name of the model), scripted:FILE.
        out: Where a method that trains keeps its run.
        json: Write the result to this file.
        transcript: Write every episode with all its messages to this .jsonl file.
    """
    from rich.console import Console

    from algorithms.config import TrainConfig
    from neuromas_env.topology import Topology
    from neuromas_env.transcripts import TranscriptWriter

    from .compare import Comparison, check_engine, check_writable, parse_silence, resolve_method
    from .evaluate import ask, choose_questions, make_row
    from .report import about, print_table, raised, scope
    from .results import aggregate, write_results
    from .training import TrainedMethod

    method, worded = resolve_method(system), read_wordings(wordings)
    problem = load_task(task, data, difficulty, task_options, allow_code_execution)
    chosen = choose_questions(problem, split, questions)
    silenced: tuple[str, ...] = ()
    if silence:
        silenced = parse_silence(silence, method.topology or Topology.parse("1"))
    for path in filter(None, (json, transcript)):
        check_writable(path)
    run = method.run if isinstance(method, TrainedMethod) else None
    if method.trained and run is None:
        check_writable(out, folder=True)
    recorded = run.config if run else TrainConfig(task)
    seed = recorded.seed if seed is None else seed
    engine = engine or recorded.engine
    loaded = load(backbone or recorded.backbone, recorded.dtype, engine)
    training = training_config(
        problem,
        backbone or recorded.backbone,
        (),
        asked_as(data, difficulty, task_options, allow_code_execution),
    )
    check_engine([method], loaded)
    training = dataclasses.replace(training, engine=engine)
    comparison = Comparison(problem, split, chosen, [method], [seed], loaded, training, out, wordings=worded)
    prepared = method.prepare(comparison.context(seed))
    name = f"{method} ({', '.join(silenced)} silenced)" if silenced else str(method)
    writer = TranscriptWriter(transcript, method=name, seed=seed) if transcript else None
    console = Console(file=sys.stderr)
    with interruptible(console), console.status("asking") as status:
        progress = lambda done: status.update(f"asked {done} of {len(chosen)} questions")  # noqa: E731
        outcomes, meter = ask(
            prepared, problem, split, len(chosen), silence=silenced, transcript=writer, progress=progress
        )
    if writer is not None:
        writer.close()
    details = row_details(problem, split, chosen, data, difficulty) | {"backbone": loaded.name}
    if silenced:
        details["silenced"] = list(silenced)
    row = make_row(name, task, split, seed, prepared, outcomes, meter, **details)
    rows = [row, aggregate([row], [outcomes])]
    if json:
        write_results(json, rows)
    print_table(rows, Console(), f"{about(row)}: {scope(rows)}")
    for line in (*raised(rows, {name: [outcomes]}), loaded.engine.summary()):
        if line:
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def compare(
    task: Annotated[str | None, Positional, arg(metavar="TASK")] = None,
    protocol: Annotated[str | None, arg(metavar="FILE|NAME")] = None,
    methods: Annotated[str | None, arg(metavar="METHOD,METHOD")] = None,
    seeds: Annotated[int | None, arg(metavar="K")] = None,
    seed: Annotated[int | None, arg(metavar="N")] = None,
    data: Data = None,
    difficulty: Range = None,
    task_options: Options = None,
    allow_code_execution: Flag = False,
    split: Annotated[str | None, arg(metavar="SPLIT")] = None,
    questions: Number = None,
    silence_layers: Flag = False,
    wordings: File = None,
    backbone: Annotated[str | None, arg(metavar="NAME")] = None,
    engine: Engine = None,
    train: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE ...")] = (),
    jobs: Number = None,
    out: Annotated[Path | None, arg(metavar="FOLDER")] = None,
    json: File = None,
    plot: File = None,
    freeze: File = None,
) -> None:
    """Compare methods on one task at equal cost: accuracy with 95 % intervals beside calls, tokens and parameters.

    A method is direct, cot, self-consistency (as many samples as fit the sampled tokens of the network),
    self-consistency@8, single-rl, neuromas:TOPOLOGY, untrained:TOPOLOGY, or a run folder. An option of one method
    follows a colon: single-rl:learning_rate=1e-3, neuromas:1-1-1:updates=40.

    Methods that train are trained first, into run folders under --out. Wherever something is trained, self-consistency
    at the same number of sampled tokens is part of the table. An interrupted comparison goes on when the same command
    is given again. The folder gets results.md, .tex, .csv and .json, pareto.png and differences.png.

    Args:
        task: A task listed by `neuromas tasks`; or give --protocol.
        protocol: A whole comparison from a YAML file, or one that comes with this package: quick, nano, paper.
        methods: What is compared, with commas between; without it, a network of three nodes and what it must beat.
        seeds: How many seeds, 1 without it; each trains anew.
        seed: The first seed; without it, 0.
        data: A file of the task's published format, to be asked, or a folder of such files. With --protocol, the folder
            in which the protocol's data paths start.
        difficulty: How hard the questions are, for tasks that grade them.
        task_options: Further options of the task, such as shots 5.
        allow_code_execution: Run programs that models write, for tasks that are judged so; each runs locked in.
        split: Which questions: train, validation, or test, which is asked without it.
        questions: How many questions, from the first on; without it, the whole split.
        silence_layers: Ask trained networks again with each hidden layer silenced in turn.
        wordings: A YAML or JSON file with instructions of your own: {METHOD: {INSTRUCTION: TEXT}}.
        backbone: The frozen model: nano, a Hugging Face id or a folder; without it, nano. With --protocol, where the
            protocol's model lies on this machine.
        engine: What samples messages: transformers, vllm, vllm:URL, openai:URL or scripted:FILE; without it,
            transformers.
        train: Training options for all methods that train, such as updates=40 rank=4; see `neuromas train --help`.
        jobs: How many trainings, and then evaluations, run at once, each in a process; without it, one a CPU core.
        out: The folder of runs and results; without it, runs/compare-TASK, or runs/NAME for a protocol.
        json: Write the results to this file too.
        plot: Draw the results into this .png, .svg or .pdf file.
        freeze: Write the comparison as a protocol to this file, with the hashes of all that it stands on, and end.
    """
    from rich.console import Console

    from algorithms.files import write_text

    from .compare import IncompleteError, check_writable, run_comparison
    from .forest import draw_forest
    from .pareto import draw_pareto
    from .plan import prepare, typed_protocol
    from .plot import check_plot_path, draw
    from .protocol import find_protocol, read_protocol
    from .report import about, against_votes, print_table, raised, scope
    from .results import Outcomes, Row, write_results
    from .statistics import with_differences
    from .tables import write_tables

    console = Console(file=sys.stderr, soft_wrap=True)
    if (task is None) == (protocol is None):
        raise UsageError("either a TASK or a --protocol is needed" + (", not both" if task else ""))
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1 is needed")
    if protocol is None:
        assert task is not None
        plan = typed_protocol(
            task, methods, seeds, seed, data, difficulty, task_options, split, questions, silence_layers, train
        )
        plan = dataclasses.replace(plan, wordings=read_wordings(wordings))
        folder, root = out or Path("runs") / plan.name, Path()
    else:
        decided = {"methods": methods, "seeds": seeds, "seed": seed, "difficulty": difficulty, "split": split,
                   "task-options": task_options, "questions": questions, "silence-layers": silence_layers or None,
                   "wordings": wordings, "train": train or None}  # fmt: skip
        for name, value in decided.items():
            if value is not None:
                raise UsageError(f"--{name}: the protocol decides that; write a protocol of your own to change it")
        file = find_protocol(protocol)
        plan = read_protocol(file)
        folder, root = out or Path("runs") / plan.name, data or file.parent
    if plot and len(plan.tasks) > 1:
        raise UsageError("--plot draws one task; those of a protocol with several are drawn into the folder")
    check_writable(folder, folder=True)
    if plot:
        check_plot_path(plot)
    for path in filter(None, (json, plot, freeze)):
        check_writable(path)
    plan, comparisons, added = prepare(
        plan, root, folder, backbone, allow_code_execution, jobs, alone=protocol is None, engine=engine
    )
    if freeze:
        write_text(freeze, plan.to_yaml())
        console.print(f"written: {freeze}", highlight=False)
        return
    if added:
        console.print("added self-consistency at the network's sampled tokens: no gain counts that does not beat it")
    tables: list[list[Row]] = []
    missing: list[str] = []
    said: list[tuple[list[Row], dict[str, list[Outcomes]]]] = []
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "protocol.yaml", plan.to_yaml())
    for comparison in comparisons:
        with interruptible(console), console.status("") as status:
            try:
                rows, outcomes = run_comparison(comparison, say=status.update)
            except IncompleteError as error:
                if not error.rows:
                    raise
                rows, outcomes = error.rows, error.outcomes
                missing.append(str(error))
        rows = with_differences(rows, outcomes)
        tables.append(rows)
        said.append((rows, outcomes))
        write_tables(folder, tables, plan.title)
        draw_pareto(rows, comparison.out / "pareto.png", about(rows[0]), scope(rows))
        draw_forest(rows, comparison.out / "differences.png", about(rows[0]), scope(rows))
    if json:
        write_results(json, [row for rows in tables for row in rows])
    if plot:
        draw(tables[0], plot, about(tables[0][0]), scope(tables[0]))
    for rows, outcomes in said:
        print_table(rows, Console(), f"{about(rows[0])}: {scope(rows)}")
        for line in (*against_votes(rows), *raised(rows, outcomes)):
            print(line)
    kept = ", ".join(str(path) for path in (folder / "results.md", json, plot) if path)
    console.print(f"written: {kept}; .tex, .csv, .json, plots and runs under {folder}", highlight=False)
    for reasons in missing:
        console.print(f"neuromas: error: {reasons} (missing in the results)", highlight=False, markup=False)
    if missing:
        raise SystemExit(1)


def read_wordings(path: Path | None) -> dict[str, dict[str, str]]:
    """Instructions of the user's own. Raises UsageError for a file that cannot be read, or names what is not there."""
    from .compare import check_wordings
    from .protocol import check_texts, read_mapping

    if path is None:
        return {}
    found = check_texts(read_mapping(path), str(path))
    check_wordings(found)
    return found


@contextmanager
def interruptible(console: Any) -> Iterator[None]:
    """Ctrl-C ends with a hint and exit code 130; what cannot go on, in training or in preparing a method, ends with one
    line and exit code 1."""
    from algorithms.errors import EngineError, TrainingError

    from .compare import IncompleteError, UnpreparedError

    try:
        yield
    except KeyboardInterrupt:
        console.print("neuromas: interrupted; the same command goes on from here", highlight=False)
        raise SystemExit(130) from None
    except (TrainingError, EngineError, IncompleteError, UnpreparedError) as error:
        console.print(f"neuromas: error: {error}", highlight=False, markup=False)
        raise SystemExit(1) from None


def load(backbone: str, dtype: str = "float32", engine: str = "transformers") -> Any:
    """The backbone, on one CPU thread: small models are slower on two. Raises BackboneError."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from algorithms import load_backbone
    from algorithms.resolve import resolve_device

    torch.set_num_threads(1)
    disable_progress_bar()
    return load_backbone(backbone, dtype, resolve_device("auto"), engine)


def load_task(
    name: str, data: Path | None, difficulty: str | None, options: Mapping[str, str] | None, allowed: bool
) -> Task:
    """The task as typed, if its answers can be judged here. Raises UsageError."""
    from neuromas_env.registry import make_task, typed_options

    given = typed_options(options)
    task = make_task(name, data=data, difficulty=difficulty, allow_code_execution=allowed, **given)
    task.check_scoring()
    return task


def asked_as(
    data: Path | None, difficulty: str | None, options: Mapping[str, str] | None, allowed: bool
) -> dict[str, Any]:
    """How the task was typed, as fields of a training configuration."""
    return {
        "data": None if data is None else str(data),
        "difficulty": difficulty,
        "task_options": dict(options or {}),
        "allow_code_execution": allowed,
    }


def training_config(task: Task, backbone: str, options: tuple[str, ...], asked: Mapping[str, Any]) -> Any:
    """The configuration that trained methods share. Raises UsageError for a bad `--train` option.

    Training questions come from the data only where the task has none of its own.
    """
    from algorithms.config import TrainConfig

    from .training import with_options

    asked = dict(asked) if task.trains_on_data else {**asked, "data": None}
    base = TrainConfig(task=task.name, backbone=backbone, tensorboard=False, **asked)
    return with_options(base, named_options(options))


def named_options(options: Sequence[str]) -> dict[str, str]:
    """Options typed as NAME=VALUE. Raises UsageError for one that is not."""
    pairs = [option.partition("=") for option in options]
    for (name, equals, value), option in zip(pairs, options, strict=True):
        if not (name and equals and value):
            raise UsageError(f"--train {option}: NAME=VALUE is needed, such as updates=40")
    return {name.replace("-", "_"): value for name, _, value in pairs}


def row_details(
    task: Task, split: str, questions: Sequence[Question], data: Path | None, difficulty: str | None
) -> dict[str, Any]:
    """Columns that say which questions were asked: their hash, and that of the whole split where it has an end."""
    details: dict[str, Any] = {}
    if difficulty or (task.variant and data is None):
        details["difficulty"] = difficulty or task.variant
    elif task.variant:
        details["variant"] = task.variant
    if data is not None:
        details["data"] = data.name
    details["questions_sha256"] = questions_hash(questions)
    if task.size(split) is not None:
        details["split_sha256"] = task.split_hash(split)
    origin = task.origin(split)
    return details | ({"split_origin": origin} if origin else {})


def default_jobs(training: Any) -> int:
    """One training a CPU core; one at a time on a GPU, where they would share its memory."""
    import os

    from algorithms.resolve import resolve_device

    if resolve_device(training.device) != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
