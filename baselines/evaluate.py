"""Asking a prepared system every question once, on the meter."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from neuromas_env.budget import Meter
from neuromas_env.episodes import EpisodeBatch, run_episodes
from neuromas_env.errors import UsageError
from neuromas_env.task import SPLITS, Question, Score, Task
from neuromas_env.transcripts import TranscriptWriter

from .base import System
from .results import Outcomes, Row, wilson_interval

if TYPE_CHECKING:
    from neuromas_env.vector import VectorTextNetworkEnv

BATCH = 256
"""Questions asked at once: enough for one full forward pass a layer, few enough for a moving progress bar."""

RAISED = Score(0.0, None, "failed", 0.0)
"""The score of a question on which the method raised."""


def choose_questions(task: Task, split: str, count: int | None) -> list[Question]:
    """The first `count` questions of a split, the same for every method and seed; without a count, all of them.

    Raises UsageError for an unknown or empty split, a count beyond its size, or an endless split without a count.
    """
    try:
        size = task.size(split)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{error} (accepted: {', '.join(SPLITS)})") from None
    if size == 0:
        raise UsageError(f"the split {split!r} of {task.id} is empty")
    if count is None and size is None:
        raise UsageError(f"the split {split!r} of {task.id} is endless: say how many with --questions")
    if count is not None and count < 1:
        raise UsageError(f"--questions {count}: at least 1 question is needed")
    if count is not None and size is not None and count > size:
        raise UsageError(f"--questions {count}: the split {split!r} of {task.id} has only {size}")
    return [task.question(split, index) for index in range(count or size or 0)]


def ask(
    system: System,
    task: Task,
    split: str,
    questions: int,
    *,
    silence: Collection[str] = (),
    transcript: TranscriptWriter | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Outcomes, Meter]:
    """What became of the first `questions` of a split, and what that cost. `progress` hears how many are done.

    The messages of the nodes in `silence` reach nobody, but are made and metered. A question on which the system
    raises is wrong, marked in the outcomes with what was raised, and charged what was spent on it; the others go on.
    Raises TrainingError and EngineError where it does: a server that has gone answers nothing wrong.
    """
    meter, errors = Meter(), dict[int, str]()
    scores: list[Score] = []
    for start in range(0, questions, BATCH):
        places = range(start, min(start + BATCH, questions))
        scores += _ask_some(system, task, split, places, silence, transcript, meter, errors)
        progress(len(scores))
    return Outcomes.of(scores, errors), meter


def _ask_some(
    system: System,
    task: Task,
    split: str,
    places: range,
    silence: Collection[str],
    transcript: TranscriptWriter | None,
    meter: Meter,
    errors: dict[int, str],
) -> list[Score]:
    """The scores of the questions at `places`. Where the system raises they are halved until those at fault are alone.

    Only what is kept is metered: an attempt that was halved is made again, and that is none of the method's cost.
    """
    from algorithms.errors import EngineError, TrainingError

    spent, held = Meter(), _Held()
    try:
        batch = run_episodes(
            task,
            system.topology,
            system.policy,
            places,
            split=split,
            instructions=system.instructions,
            meter=spent,
            transcript=held,
            silence=silence,
        )
    except (TrainingError, EngineError):
        raise
    except Exception as error:
        if len(places) > 1:
            middle = len(places) // 2
            halves = (places[:middle], places[middle:])
            return [
                score
                for half in halves
                for score in _ask_some(system, task, split, half, silence, transcript, meter, errors)
            ]
        errors[places[0]] = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        scores = [RAISED]
    else:
        scores = batch.scores
        if transcript is not None:
            transcript.write(batch, *held.rest)
    meter.calls += spent.calls
    meter.prompt_tokens += spent.prompt_tokens
    meter.sampled_tokens += spent.sampled_tokens
    meter.seconds += spent.seconds
    return scores


class _Held(TranscriptWriter):
    """Holds what would be written until it is wanted, so that a full disk is never taken for an error of a method."""

    def __init__(self) -> None:
        super().__init__("held")

    def write(self, batch: EpisodeBatch, env: VectorTextNetworkEnv, silence: Collection[str] = ()) -> None:
        self.rest = env, silence


def make_row(
    method: str, task: str, split: str, seed: int, system: System, outcomes: Outcomes, meter: Meter, **extra: object
) -> Row:
    """The results row of one system and seed."""
    questions = len(outcomes.correct_Q)
    low, high = wilson_interval(int(outcomes.correct_Q.sum()), questions)
    spent = meter.per_question(questions)
    return Row(
        method=method,
        task=task,
        split=split,
        seed=seed,
        questions=questions,
        accuracy=float(outcomes.correct_Q.mean()),
        accuracy_low=low,
        accuracy_high=high,
        unparsed=float(outcomes.unparsed_Q.mean()),
        calls=spent["calls"],
        prompt_tokens=spent["prompt_tokens"],
        sampled_tokens=spent["sampled_tokens"],
        trainable_parameters=system.trainable_parameters,
        seconds=round(meter.seconds, 3),
        extra={
            "flexible": float(outcomes.flexible_Q.mean()),
            "missing": float(outcomes.missing_Q.mean()),
            "failed": float(outcomes.failed_Q.mean()),
            "errors": len(outcomes.errors),
            "topology": str(system.topology),
            **system.notes,
            **extra,
        },
    )
