"""What a node may say about a tree: answer it, work out one bracket or all lowest ones in place, copy, skip, or junk.

A bracket that is worked out leaves its digit where its operation stood, and a dot for each other word: of
`( ( 3 + 4 ) * ( 2 - 7 ) )` the first bracket makes `( . . 7 . . * ( 2 - 7 ) )`. Nothing moves, so that what is left
alone is copied at a fixed offset. Trees are of two operands and depth 1 or 2.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from neuromas_env.tasks.generated import split_of
from neuromas_env.tasks.tree import FUNCTIONS, Tree, operations

from .corpus import NOTE_COUNTS, Branch, Document, draw_instruction, node_suffix, weighted
from .vocabulary import ANSWER_NOW, THINK

BEHAVIOURS = {"answer": 0.20, "one bracket": 0.22, "level": 0.28, "copy": 0.15, "skip": 0.07, "junk": 0.08}
NOTES = {"on track": 0.5, "other": 0.36, "answer": 0.06, "junk": 0.08}
DOT = "."
PUNCTUATION = ("(", ")", DOT)


@dataclass(frozen=True, slots=True)
class State:
    """A tree with some of its brackets worked out, word by word."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)

    @classmethod
    def parse(cls, text: str) -> State:
        return cls(tuple(text.split()))

    @property
    def done(self) -> bool:
        return "(" not in self.words

    def lowest(self) -> list[tuple[int, int]]:
        """First and last word of each bracket that has no bracket in it."""
        found, start = [], -1
        for place, word in enumerate(self.words):
            if word == "(":
                start = place
            elif word == ")" and start >= 0:
                found.append((start, place))
                start = -1
        return found

    def reduced(self, brackets: Sequence[tuple[int, int]], skip: bool = False) -> State:
        """With these brackets worked out, or, where they are skipped, taken for their first operand."""
        words = list(self.words)
        for start, end in brackets:
            inside = [
                (place, word) for place, word in enumerate(words[start : end + 1], start) if word not in PUNCTUATION
            ]
            (_, first), (middle, operation), (_, second) = inside
            words[start : end + 1] = [DOT] * (end + 1 - start)
            words[middle] = first if skip else str(FUNCTIONS[operation]([int(first), int(second)]))
        return State(tuple(words))

    def level(self) -> State:
        """All lowest brackets worked out."""
        return self.reduced(self.lowest())

    @property
    def result(self) -> str:
        state = self
        while not state.done:
            state = state.level()
        return "= " + next(word for word in state.words if word != DOT)


def draw_state(rng: random.Random, trees: Tree) -> State:
    return State.parse(trees.generate(rng).prompt)


def part_done(rng: random.Random, state: State) -> State:
    """`state` with none, one, or a level of its brackets worked out, or two levels."""
    for _ in range(rng.randint(0, 2)):
        if not state.done:
            brackets = state.lowest()
            state = state.reduced(brackets if rng.random() < 0.6 else [rng.choice(brackets)])
    return state


def junk(rng: random.Random, state: State) -> str:
    return " ".join(rng.choice((DOT, "(", ")", str(rng.randrange(10)), *operations(2))) for _ in state.words)


class TreeCorpus:
    """Trees of depth 1 up to the share `easy` of a stage, and of depth 1 and 2 after it.

    With `drills`, some branches are bare facts such as `3 + 4` → `7`: more at first, few in the end.
    """

    def __init__(self, easy: float = 0.1, drills: bool = False) -> None:
        self.easy, self.drills = easy, drills
        self.simple, self.all = Tree("1"), Tree("1-2")

    def document(self, rng: random.Random, progress: float, branches: int) -> Document:
        trees = self.simple if progress < self.easy else self.all
        while split_of(str(question := draw_state(rng, trees))) != "train":
            pass
        drills = 0.0 if not self.drills else 0.4 if progress < self.easy else 0.1
        made = [
            self._drill(rng) if drills and rng.random() < drills else self._branch(rng, question, trees)
            for _ in range(branches)
        ]
        return Document(list(question.words), made)

    def _drill(self, rng: random.Random) -> Branch:
        first, operation, second = str(rng.randrange(10)), rng.choice(operations(2)), str(rng.randrange(10))
        return Branch("tree/fact", ["update", first, operation, second],
                      [str(FUNCTIONS[operation]([int(first), int(second)]))])  # fmt: skip

    def _branch(self, rng: random.Random, question: State, trees: Tree) -> Branch:
        notes: list[str] = []
        states: list[State] = []
        for _ in range(rng.choices(*NOTE_COUNTS)[0]):
            note, state = self._note(rng, question, trees)
            notes.append(note)
            states += [state] if state else []
        source = rng.choice(states) if states else question
        if states and rng.random() < 0.5:
            source = max(states, key=lambda state: state.words.count(DOT))  # the most advanced one
        instruction = draw_instruction(rng)
        kind, reply = self._reply(rng, source, instruction)
        if notes and not states and notes[-1].startswith("= ") and not instruction and rng.random() < 0.7:
            kind, reply = "copy", notes[-1]
        return Branch(f"tree/{kind}", node_suffix(rng, notes, instruction), reply.split())

    def _note(self, rng: random.Random, question: State, trees: Tree) -> tuple[str, State | None]:
        match weighted(rng, NOTES):
            case "on track":
                state = part_done(rng, question)
                return str(state), state
            case "other":
                state = part_done(rng, draw_state(rng, trees))
                return str(state), state
            case "answer":
                return f"= {rng.randrange(10)}", None
            case _:
                return junk(rng, question), None

    def _reply(self, rng: random.Random, source: State, instruction: str) -> tuple[str, str]:
        if instruction == ANSWER_NOW:
            return "direct", source.result
        if instruction == THINK:
            steps, state = [], source
            while not state.done:
                steps.append(str(state := state.level()))
            return "think", " ".join([*steps, source.result])
        kind = weighted(rng, BEHAVIOURS)
        if kind in ("one bracket", "level", "skip") and source.done:
            kind = "answer"
        match kind:
            case "answer":
                return f"answer {source.words.count('(')}", source.result
            case "one bracket":
                return kind, str(source.reduced(source.lowest()[:1]))
            case "level":
                return kind, str(source.level())
            case "skip":
                return kind, str(source.reduced(source.lowest()[:1], skip=True))
            case "copy":
                return kind, str(source)
            case _:
                return kind, junk(rng, source)
