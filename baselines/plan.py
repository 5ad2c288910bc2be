"""From a protocol to what is run: its tasks made, its methods found, and everything that it states checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algorithms.engines.choose import TRANSFORMERS
from neuromas_env.errors import UsageError
from neuromas_env.task import Task

from .commands import (
    DEFAULT_METHODS,
    asked_as,
    default_jobs,
    load,
    load_task,
    named_options,
    row_details,
    training_config,
)
from .compare import Comparison, add_equal_budget, check_engine, check_names, check_wordings, resolve_method
from .evaluate import choose_questions
from .protocol import FrozenTask, Protocol, check_frozen, frozen_backbone, frozen_task
from .training import slug


def typed_protocol(
    task: str,
    methods: str | None,
    seeds: int | None,
    seed: int | None,
    data: Path | None,
    difficulty: str | None,
    options: Mapping[str, str] | None,
    split: str | None,
    questions: int | None,
    silence_layers: bool,
    train: tuple[str, ...],
) -> Protocol:
    """What was typed at `compare`, as a protocol of one task. Raises UsageError."""
    names = [name.strip() for name in (methods or DEFAULT_METHODS).split(",") if name.strip()]
    if not names:
        raise UsageError("--methods names no method")
    if seeds is not None and seeds < 1:
        raise UsageError(f"--seeds {seeds}: at least 1 seed is needed")
    first, found = seed or 0, None if data is None else str(data.resolve())
    asked = FrozenTask(task, split or "test", questions, difficulty, found, dict(options or {}))
    return Protocol(
        f"compare-{task.replace('/', '-')}",
        [asked],
        names,
        seeds=range(first, first + (seeds or 1)),
        train=named_options(train),
        silence_layers=silence_layers,
    )


def prepare(
    plan: Protocol,
    root: Path,
    folder: Path,
    backbone: str | None,
    allowed: bool,
    jobs: int | None,
    alone: bool,
    engine: str | None = None,
) -> tuple[Protocol, list[Comparison], bool]:
    """The protocol with all that it stands on, its comparisons, and whether self-consistency was added to them.

    Relative data paths start at `root`. A task that is `alone` has `folder` to itself, others a folder below. Raises
    UsageError, before anything is asked or trained, also where something is not what the protocol says.
    """
    chosen, added = add_equal_budget([resolve_method(name) for name in plan.methods])
    check_names(chosen)
    check_wordings(plan.wordings)
    asked = []
    for given in plan.tasks:
        data = None if given.data is None else root / given.data
        problem = load_task(given.id, data, given.difficulty, given.options, allowed)
        questions = choose_questions(problem, given.split, given.questions)
        own_limit = problem.max_message_tokens
        problem.max_message_tokens = min(own_limit, given.message_tokens or own_limit)
        found = frozen_task(given, problem, questions)
        check_frozen(given, found, given.label)
        name = backbone or plan.backbone.pinned
        typed = asked_as(data, given.difficulty, given.options, allowed)
        training = protocol_training(problem, name, {**plan.train, **given.train}, typed, plan.backbone.dtype)
        training = dataclasses.replace(training, engine=engine or training.engine)
        if problem.max_message_tokens < own_limit:  # training makes a task of its own
            longest = min(training.max_tokens or own_limit, problem.max_message_tokens)
            training = dataclasses.replace(training, max_tokens=longest)
        asked.append((found, problem, questions, training, row_details(problem, given.split, questions, data,
                                                                       given.difficulty)))  # fmt: skip
    loaded = load(backbone or plan.backbone.pinned, plan.backbone.dtype, engine or TRANSFORMERS)
    check_engine(chosen, loaded)
    frozen = frozen_backbone(plan.backbone, loaded)
    check_frozen(plan.backbone, frozen, f"backbone {loaded.name}")
    comparisons = [
        Comparison(
            problem,
            found.split,
            questions,
            chosen,
            plan.seeds,
            loaded,
            training,
            folder if alone else folder / slug(found.label),
            silence_layers=plan.silence_layers,
            workers=1 if loaded.engine.one_process else jobs or default_jobs(training),
            details=details,
            wordings=plan.wordings,
        )
        for found, problem, questions, training, details in asked
    ]
    return dataclasses.replace(plan, tasks=[entry[0] for entry in asked], backbone=frozen), comparisons, added


def protocol_training(
    problem: Task, backbone: str, options: Mapping[str, Any], asked: Mapping[str, Any], dtype: str
) -> Any:
    """The configuration that a protocol's trained methods share. `targets` is a list there. Raises UsageError."""
    single = tuple(f"{name}={value}" for name, value in options.items() if name != "targets")
    training = training_config(problem, backbone, single, asked)
    targets = options.get("targets", [])
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise UsageError(f"targets is a list of linear layers, such as [q_proj, v_proj], not {targets!r}")
    return dataclasses.replace(training, targets=tuple(targets), dtype=dtype)
