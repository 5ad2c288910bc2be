"""Methods that look for their best form on the training split before they are asked.

The search is no part of answering: what it costs is metered apart, and stands in the results as `search_calls`,
`search_prompt_tokens` and `search_sampled_tokens`. What it finds is kept in a file under `Context.out`, from which a
second run of the same search takes it. Any change of the options, the training questions, the instructions, the weights
or the seed is another search.
"""

from __future__ import annotations

import dataclasses
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from neuromas_env.budget import Meter
from neuromas_env.episodes import EpisodeBatch, run_episodes
from neuromas_env.errors import UsageError
from neuromas_env.node import Policy
from neuromas_env.task import Question, split_size

from .base import Context, Method, System
from .training import digest, slug
from .workflow import frozen

Speak = Callable[[float], Policy]
FORMAT = 1
"""Raised where a method comes to search in another way, so that what it found before is not taken."""


class SearchedMethod(Method):
    """Subclasses say what their search depends on, how it searches, and what to build from what was found."""

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """The numbers that decide the search, `questions` among them: how many training questions it is given."""

    @abstractmethod
    def search(self, context: Context, questions: list[Question], speak: Speak, meter: Meter) -> Any:
        """What was found, as a JSON value. Everything said in the search is added to `meter`."""

    @abstractmethod
    def build(self, context: Context, found: Any, speak: Speak) -> System:
        """The system that answers with what was found. Nothing in it changes any more."""

    def training_questions(self, context: Context) -> list[Question]:
        """Questions of the training split, in an order of the seed. Raises UsageError where the task has none."""
        from algorithms.seeds import question_indices

        task = context.task
        size = split_size(task, "train")
        if size == 0:
            raise UsageError(f"method {str(self.spec)!r} searches on training questions, and {task.id} has none")
        indices = question_indices(context.seed, 1, int(self.settings()["questions"]), size)
        return [task.question("train", index) for index in indices]

    def ask(self, context: Context, system: System, questions: list[Question], meter: Meter) -> EpisodeBatch:
        """The outcome of training questions, on the meter."""
        return run_episodes(
            context.task,
            system.topology,
            system.policy,
            questions,
            split="train",
            instructions=system.instructions,
            meter=meter,
        )

    def key(self, context: Context, questions: list[Question]) -> dict[str, Any]:
        """What the outcome of the search depends on, as JSON values."""
        return {
            "format": FORMAT,
            "method": self.name,
            "settings": dict(self.settings()),
            "wordings": self.worded(context),
            "seed": context.seed,
            "task": [context.task.id, context.task.instruction, context.task.max_message_tokens],
            "questions": digest([[question.id, question.prompt, question.answer] for question in questions]),
            "backbone": context.weights,
        }

    def identity(self, context: Context) -> Mapping[str, Any]:
        searched = digest(self.key(context, self.training_questions(context)))
        return {**super().identity(context), "search": searched}

    def prepare(self, context: Context) -> System:
        return self.system(context)

    def system(self, context: Context, speak: Speak | None = None) -> System:
        """The system after its search. `speak` stands for the frozen backbone of `context` where it is given."""
        speak = speak or frozen(context.backbone, context.seed)
        questions = self.training_questions(context)
        key = self.key(context, questions)
        path = context.out / "searches" / f"{slug(self.name)}-seed{context.seed}-{digest(key)}.json"
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = {}
        if kept.get("key") != key:
            from algorithms.files import write_json

            meter = Meter()
            found = self.search(context, questions, speak, meter)
            cost = {f"search_{name}": int(spent) for name, spent in meter.per_question(1).items()}
            kept = {"key": key, "cost": cost, "found": found}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, kept)
        system = self.build(context, kept["found"], speak)
        return dataclasses.replace(system, notes={**system.notes, **kept["cost"]})
