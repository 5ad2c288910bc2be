"""Tier 1: every answer judged again by the task as it is here, and every question of every seed there exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from neuromas_env.errors import DataFileError, UnknownNameError, UsageError
from neuromas_env.task import Question, Task, questions_hash

from .. import findings as codes
from ..reading import shown
from ..submission import CARD, EpisodeRow, Submission
from .report import Report

CLOSE = 1e-9
FAILED = (0.0, None, "failed", 0.0)


class Rescoring:
    """The checks of one submission, chunk by chunk."""

    def __init__(self, card: Submission, task: Task, questions: Sequence[Question]) -> None:
        self.card, self.task, self.questions = card, task, questions
        self.hashes = [questions_hash([question]) for question in questions]
        self.calls = self.prompt_tokens = self.sampled_tokens = 0

    @classmethod
    def of(cls, card: Submission, report: Report, data: Path | None, allow_code_execution: bool) -> Rescoring | None:
        """The checks, or None, having said why, where the questions cannot be had here."""
        from baselines.commands import load_task

        asked = card.task
        try:
            task = load_task(asked.name, data, asked.difficulty, asked.options, allow_code_execution)
            if task.version != asked.version:
                report.fault(codes.TASK, f"{asked.name} is version {task.version} here, and {asked.version} there")
                return None
            size = task.size(asked.split)
            if size is not None and asked.questions > size:
                report.fault(codes.TASK, f"{asked.split} of {asked.name} has {size} questions, not {asked.questions}")
                return None
            questions = [task.question(asked.split, index) for index in range(asked.questions)]
        except DataFileError as error:
            report.notes["T1"] = f"the data file cannot be read: {error}"
            return None
        except (UsageError, UnknownNameError, ValueError, IndexError) as error:
            report.fault(codes.TASK, f"{CARD}: {error}")
            return None
        if questions_hash(questions) != asked.sha256:
            report.fault(
                codes.QUESTIONS,
                f"the first {asked.questions} questions of {asked.split} of {task.id} have another hash than "
                f"{asked.sha256[:12]}…",
            )
        task.max_message_tokens = min(task.max_message_tokens, card.system.max_message_tokens)
        report.scorer = f"{task.id}, neuromas {version('neuromas')}"
        return cls(card, task, questions)

    def check(self, rows: Sequence[tuple[int, EpisodeRow]], report: Report) -> None:
        known = [each for each in rows if self._place(*each, report)]
        for _, row in rows:
            self.calls += sum(call.calls for call in row.calls)
            self.prompt_tokens += sum(call.prompt_tokens for call in row.calls)
            self.sampled_tokens += sum(call.sampled_tokens for call in row.calls)
        answered = [(number, row) for number, row in known if row.error is None]
        scores = self.task.score_all(
            [self.questions[row.index] for _, row in answered], [row.answer for _, row in answered]
        )
        for (number, row), score in zip(answered, scores, strict=True):
            told = (row.score.value, row.score.parsed, row.score.status, row.score.flexible)
            report.scores[row.seed, row.index] = score.value
            if told != (score.value, score.parsed, score.status, score.flexible):
                report.fault(
                    codes.SCORE,
                    f"{row.question_id}, seed {row.seed}: the answer is {score.status} here ({score.value:g}, read "
                    f"{shown(str(score.parsed))}), and {row.score.status} ({row.score.value:g}) there",
                    number,
                )
        for number, row in known:
            if row.error is not None:
                report.scores[row.seed, row.index] = 0.0
                told = (row.score.value, row.score.parsed, row.score.status, row.score.flexible)
                if row.answer or told != FAILED:
                    report.fault(codes.ERROR_ROW, f"{row.question_id}: it raised, so it has no answer", number)

    def _place(self, number: int, row: EpisodeRow, report: Report) -> bool:
        """Whether the line is of a question that was asked, and the first of it."""
        if row.seed not in self.card.seeds:
            report.fault(codes.STRANGE_ROW, f"seed {row.seed} is none of those in {CARD}", number)
        elif row.index >= len(self.questions):
            report.fault(codes.STRANGE_ROW, f"question {row.index} is none of the {len(self.questions)} asked", number)
        elif (row.question_id, row.question_sha256) != (self.questions[row.index].id, self.hashes[row.index]):
            report.fault(
                codes.STRANGE_ROW, f"question {row.index} is another one here than {shown(row.question_id)}", number
            )
        elif (row.seed, row.index) in report.scores:
            report.fault(codes.DOUBLE_ROW, f"question {row.index} of seed {row.seed} is there twice", number)
        else:
            report.scores[row.seed, row.index] = 0.0
            return True
        return False

    def finish(self, report: Report) -> None:
        card = self.card
        wanted = [(seed, index) for seed in card.seeds for index in range(len(self.questions))]
        missing = [place for place in wanted if place not in report.scores]
        for seed, index in missing:
            report.fault(codes.MISSING_ROW, f"question {index} of seed {seed} is missing")
        report.scores |= dict.fromkeys(missing, 0.0)
        for seed in card.seeds:
            mean = sum(report.scores[seed, index] for index in range(len(self.questions))) / len(self.questions)
            if abs(mean - card.claimed.by_seed[str(seed)]) > CLOSE:
                report.fault(
                    codes.CLAIM, f"seed {seed}: accuracy {mean:.6g} here, {card.claimed.by_seed[str(seed)]:.6g} claimed"
                )
        overall = sum(report.scores[place] for place in wanted) / len(wanted)
        if abs(overall - card.claimed.accuracy) > CLOSE:
            report.fault(codes.CLAIM, f"accuracy {overall:.6g} here, {card.claimed.accuracy:.6g} claimed")
        for name in ("calls", "prompt_tokens", "sampled_tokens"):
            counted, told = getattr(self, name), getattr(card.inference, name)
            if counted != told:
                report.fault(codes.TOTALS, f"{name}: {counted:,} in the lines, {told:,} in {CARD}")
