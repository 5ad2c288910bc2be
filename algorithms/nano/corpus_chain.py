"""What a node may say about a chain: answer it, do an operation or two in place, copy, skip, or junk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from neuromas_env.tasks.chain import OPERATIONS, SLOTS, apply, render
from neuromas_env.tasks.generated import split_of

from .corpus import NOTE_COUNTS, Branch, Document, draw_instruction, node_suffix, weighted
from .vocabulary import ANSWER_NOW, THINK

BEHAVIOURS = {"answer": 0.20, "reduce one": 0.32, "reduce two": 0.16, "copy": 0.15, "skip": 0.09, "junk": 0.08}
NOTES = {"on track": 0.5, "other": 0.36, "answer": 0.06, "junk": 0.08}


@dataclass(frozen=True, slots=True)
class State:
    """A chain with some of its operations done."""

    value: int
    operations: tuple[str, ...]

    def __str__(self) -> str:
        return render(self.value, self.operations)

    def reduced(self, times: int = 1) -> State:
        value = self.value
        for operation in self.operations[:times]:
            value = apply(value, operation)
        return State(value, self.operations[times:])

    @property
    def result(self) -> str:
        return f"= {self.reduced(len(self.operations)).value}"


def draw_state(rng: random.Random, highest: int, lowest: int = 0) -> State:
    count = rng.randint(lowest, highest)
    return State(rng.randrange(10), tuple(rng.choice(OPERATIONS) for _ in range(count)))


def junk(rng: random.Random) -> str:
    return " ".join(rng.choice((".", "=", str(rng.randrange(10)), rng.choice(OPERATIONS))) for _ in range(SLOTS))


class ChainCorpus:
    """Chains of one or two operations up to the share `easy` of a stage, and of up to six after it.

    With `drills`, some branches are bare facts such as `5 +8` → `3`: more at first, few in the end.
    """

    def __init__(self, easy: float = 0.1, drills: bool = False) -> None:
        self.easy, self.drills = easy, drills

    def document(self, rng: random.Random, progress: float, branches: int) -> Document:
        highest = 2 if progress < self.easy else SLOTS - 1
        while split_of(str(question := draw_state(rng, highest, lowest=1))) != "train":
            pass
        drills = 0.0 if not self.drills else 0.4 if progress < self.easy else 0.1
        made = [
            self._drill(rng) if drills and rng.random() < drills else self._branch(rng, question, highest)
            for _ in range(branches)
        ]
        return Document(str(question).split(), made)

    def _drill(self, rng: random.Random) -> Branch:
        value, operation = rng.randrange(10), rng.choice(OPERATIONS)
        return Branch("chain/fact", ["update", str(value), operation], [str(apply(value, operation))])

    def _branch(self, rng: random.Random, question: State, highest: int) -> Branch:
        notes: list[str] = []
        states: list[State] = []
        for _ in range(rng.choices(*NOTE_COUNTS)[0]):
            note, state = self._note(rng, question, highest)
            notes.append(note)
            states += [state] if state else []
        source = _source(rng, states) or question
        instruction = draw_instruction(rng)
        kind, reply = self._reply(rng, source, instruction)
        if notes and not states and notes[-1].startswith("= ") and not instruction and rng.random() < 0.7:
            kind, reply = "copy", notes[-1]
        return Branch(f"chain/{kind}", node_suffix(rng, notes, instruction), reply.split())

    def _note(self, rng: random.Random, question: State, highest: int) -> tuple[str, State | None]:
        match weighted(rng, NOTES):
            case "on track":
                state = question.reduced(rng.randint(0, len(question.operations)))
                return str(state), state
            case "other":
                state = draw_state(rng, highest)
                return str(state), state
            case "answer":
                return f"= {rng.randrange(10)}", None
            case _:
                return junk(rng), None

    def _reply(self, rng: random.Random, source: State, instruction: str) -> tuple[str, str]:
        if instruction == ANSWER_NOW:
            return "direct", source.result
        if instruction == THINK:
            steps = [str(source.reduced(n)) for n in range(1, len(source.operations) + 1)]
            return "think", " ".join([*steps, source.result])
        kind = weighted(rng, BEHAVIOURS)
        if kind.startswith("reduce") and not source.operations:
            kind = "answer"
        match kind:
            case "answer":
                return f"answer {len(source.operations)}", source.result
            case "reduce one":
                return kind, str(source.reduced())
            case "reduce two":
                return kind, str(source.reduced(2))
            case "skip":
                return kind, str(State(source.value, source.operations[1:]))
            case "copy":
                return kind, str(source)
            case _:
                return kind, junk(rng)


def _source(rng: random.Random, states: Sequence[State]) -> State | None:
    """The note a reply builds on: the most advanced one, or any."""
    if not states:
        return None
    return min(states, key=lambda s: len(s.operations)) if rng.random() < 0.5 else rng.choice(states)
