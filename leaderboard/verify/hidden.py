"""Tier 4: questions that nobody else has, asked by the one who checks.

They come from a data file that was never published, in the format of the task's, or, where a task makes its questions,
from a place far out in its endless training split that a secret decides. The system is put together from the card with
the real weights, as for T3. It fails where it is clearly worse there than on the public questions: that is what having
seen those, or having been chosen by them, looks like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neuromas_env.errors import NeuromasError
from neuromas_env.task import Question, Task

from .. import findings as codes
from ..statistics import drawn_means, question_weights
from ..submission import Submission
from .report import Report
from .spot import Spot

QUESTIONS = 500
LEAST_GAP = 0.03
"""As a share: a smaller loss on new questions is no fault, however sure."""
SURE = 0.01
"""The chance of a gap as large without a cause."""
NEAR, FAR = 10**6, 10**9
"""Between which places of an endless split hidden questions lie; training begins at 0."""


def check_hidden(
    card: Submission, spot: Spot, report: Report, data: Path | None, secret: str, allow_code_execution: bool = False
) -> bool:
    """Ask every seed of the system the hidden questions; whether it could be done. `report.notes["T4"]` says more."""
    try:
        task, questions = hidden_questions(card, data, secret, allow_code_execution)
    except (NeuromasError, ValueError, IndexError) as error:
        report.notes["T4"] = str(error)[:500]
        return False
    hidden = []
    for seed in card.seeds:
        system = spot.system(seed, questions)
        if system is None:
            report.notes["T4"] = "the card does not say how the system is put together"
            return False
        hidden.append(spot.ask(system, task, questions))
    hidden_SQ = np.array(hidden)
    public_SQ = np.array([[report.scores[seed, index] for index in range(card.task.questions)] for seed in card.seeds])
    gap, sure = compare(public_SQ, hidden_SQ)
    told = (
        f"accuracy {100 * hidden_SQ.mean():.1f} % on {len(questions)} hidden questions, "
        f"{100 * public_SQ.mean():.1f} % on the public ones"
    )
    report.notes["T4"] = told
    if sure and gap > LEAST_GAP:
        report.fault(codes.HIDDEN, told)
    return True


def hidden_questions(
    card: Submission, data: Path | None, secret: str, allow_code_execution: bool
) -> tuple[Task, Sequence[Question]]:
    """The task and the questions. Raises UsageError where there are none to be had."""
    from baselines.commands import load_task
    from neuromas_env.errors import UsageError

    asked = card.task
    task = load_task(asked.name, data, asked.difficulty, asked.options, allow_code_execution)
    task.max_message_tokens = min(task.max_message_tokens, card.system.max_message_tokens)
    if data is not None:
        size = task.size("test") or QUESTIONS
        return task, [task.question("test", index) for index in range(min(size, QUESTIONS))]
    if task.size("train") is not None or not secret:
        raise UsageError("hidden questions need --hidden FILE, or a --secret where the task makes its questions")
    start = NEAR + int(hashlib.sha256(secret.encode()).hexdigest(), 16) % (FAR - NEAR)
    return task, [task.question("train", start + index) for index in range(QUESTIONS)]


def compare(public_SQ: np.ndarray, hidden_TQ: np.ndarray) -> tuple[float, bool]:
    """How much worse the hidden answers are, as a share, and whether that is sure: other questions, the same seeds."""
    public_B = drawn_means(public_SQ, question_weights(public_SQ.shape[1]), 0)
    weights = np.random.default_rng(2).permutation(question_weights(hidden_TQ.shape[1]))
    hidden_B = drawn_means(hidden_TQ, weights, 0)
    gap = float(public_SQ.mean() - hidden_TQ.mean())
    return gap, float(np.quantile(public_B - hidden_B, SURE)) > 0
