"""Synthetic text for the embedded backbone: questions, each with several branches of what a node might read and say.

A document is one question and a few branches; a branch is what follows the question in a node's prompt (messages,
instruction, position) and one reply. Branches of a document never see one another, so that the question is read once
for all of them. Replies come from a mixture of behaviours that nothing in the prompt announces, except under the two
instructions of the prompting baselines: that mixture is what reinforcement learning later selects from.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from neuromas_env.node import Position
from neuromas_env.prompts import position_line

from .vocabulary import ANSWER_NOW, MAX_SLOTS, THINK

NOTE_COUNTS = ((0, 1, 2, 3), (0.35, 0.40, 0.17, 0.08))


@dataclass(frozen=True, slots=True)
class Branch:
    """What a node reads after the question, and what it replies, as words. `kind` names the behaviour, for reports."""

    kind: str
    suffix: list[str]
    reply: list[str]


@dataclass(frozen=True, slots=True)
class Document:
    """A question and its branches. `marks`, where given, names for each word of the question the word that the model
    shall predict there ("" for none): a dense hint at the question's structure, such as the number of an instruction.
    """

    question: list[str]
    branches: list[Branch]
    marks: Sequence[str] = ()


class Corpus(Protocol):
    """A source of documents. `progress`, the share of pretraining done, sets how simple
    the questions are and how many branches are drills."""

    def document(self, rng: random.Random, progress: float, branches: int) -> Document: ...


def weighted(rng: random.Random, table: dict[str, float]) -> str:
    return rng.choices(list(table), list(table.values()))[0]


def draw_slots(rng: random.Random, count: int) -> list[int]:
    """Slots for `count` messages: mostly 1, 2, …; sometimes with silent ones between, rarely from a wide layer."""
    roll = rng.random()
    highest = count if roll < 0.8 else count + 2 if roll < 0.93 else MAX_SLOTS
    return sorted(rng.sample(range(1, highest + 1), count))


def draw_position(rng: random.Random) -> str:
    """A position line. It says nothing about the reply: positions get their meaning in training."""
    kind = "round" if rng.random() < 0.05 else "layer"
    wide = MAX_SLOTS if rng.random() < 0.1 else 4
    position = Position(rng.randint(1, wide), rng.randint(1, wide), rng.random() < 0.25, kind)
    return position_line(position)


def node_suffix(rng: random.Random, notes: Sequence[str], instruction: str) -> list[str]:
    """The words of a node's prompt after the question, in the order of `neuromas_env.prompts`."""
    slots = draw_slots(rng, len(notes))
    lines = [f"[{slot}] {note}" for slot, note in zip(slots, notes, strict=True)]
    return " ".join([*lines, instruction, draw_position(rng)]).split()


def draw_instruction(rng: random.Random) -> str:
    """One of the instructions of the prompting baselines, or none."""
    return rng.choices(("", ANSWER_NOW, THINK), (0.84, 0.11, 0.05))[0]
