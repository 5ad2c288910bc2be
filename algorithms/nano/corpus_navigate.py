"""What a node may say about a walk: answer, advance by some instructions, copy, skip or junk; and drills.

A node's working is a list of entries, one an instruction followed: `3W +4 -2` says that after three instructions the
walker faces west at x = 4, y = -2. Two drills teach the parts of a step: quoting the instruction of a given number,
and following one instruction from any state.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from neuromas_env.tasks.generated import split_of
from neuromas_env.tasks.navigate import HEADINGS, Instruction, Walker, draw_instructions, render

from .corpus import NOTE_COUNTS, Branch, Document, draw_instruction, node_suffix, weighted
from .vocabulary import ANSWER_NOW, MAX_COORDINATE, THINK, coordinate

BEHAVIOURS = {"answer": 0.20, "advance": 0.49, "advance and answer": 0.17, "copy": 0.07, "skip": 0.03, "junk": 0.04}
AT_THE_END = {"answer": 0.75, "copy": 0.17, "junk": 0.08}
NOTES = {"on track": 0.70, "off track": 0.20, "answer": 0.05, "junk": 0.05}


def entry(walker: Walker) -> str:
    return f"{walker.done}{HEADINGS[walker.heading]} {coordinate(walker.x)} {coordinate(walker.y)}"


def in_range(walker: Walker) -> bool:
    return max(abs(walker.x), abs(walker.y)) <= MAX_COORDINATE


def quote(instruction: Instruction) -> list[str]:
    """What sets an instruction apart, and no more: the first word must be looked up from the number alone."""
    return [word for word in str(instruction).split() if word not in ("Take", "Turn", "step", "steps")]


class Walk:
    """A question's instructions, and the entries that follow from any state."""

    def __init__(self, instructions: Sequence[Instruction], face: bool) -> None:
        self.instructions = instructions
        self.prompt = render(instructions, face)

    @property
    def marks(self) -> list[str]:
        """For each word of an instruction its number: finding an instruction by number is what forms last."""
        numbered = [f"{n}:" for n, i in enumerate(self.instructions, start=1) for _ in str(i).split()]
        before = self.prompt.split().index(str(self.instructions[0]).split()[0])
        return [""] * before + numbered + [""] * (len(self.prompt.split()) - before - len(numbered))

    def onwards(self, walker: Walker, count: int | None = None) -> list[Walker]:
        """The states after `walker`, at most `count` of them."""
        states = []
        for instruction in self.instructions[walker.done :][:count]:
            states.append(walker := walker.follow(instruction))
        return states

    def answer(self, walker: Walker) -> str:
        end = (self.onwards(walker) or [walker])[-1]
        return "Yes" if end.x == end.y == 0 else "No"


class NavigateCorpus:
    """Walks that grow longer, with fewer and fewer drills; without `curriculum`, as they are at the end."""

    def __init__(self, curriculum: bool = True) -> None:
        self.curriculum = curriculum

    def document(self, rng: random.Random, progress: float, branches: int) -> Document:
        progress = progress if self.curriculum else 1.0
        highest = self.highest(progress)
        highest += highest == 9 and rng.random() < 0.05
        walk, face = self._walk(rng, highest)
        drills = 0.8 if progress < 0.1 else 0.4 if progress < 0.5 else 0.2
        made = [
            self._drill(rng, walk, face) if rng.random() < drills else self._branch(rng, walk) for _ in range(branches)
        ]
        return Document(walk.prompt.split(), made, walk.marks)

    def highest(self, progress: float) -> int:
        """The longest walks: 4 instructions at first, one more at a time, 9 after a fifth of pretraining."""
        return min(9, max(4, int(4 + (progress - 0.05) / 0.03)))

    def _walk(self, rng: random.Random, highest: int) -> tuple[Walk, bool]:
        while True:
            face = rng.random() < 0.5
            instructions = draw_instructions(rng, rng.randint(2, highest), face, rng.random() < 0.5)
            walk = Walk(instructions, face)
            if split_of(walk.prompt) == "train" and all(map(in_range, walk.onwards(Walker()))):
                return walk, face

    def _drill(self, rng: random.Random, walk: Walk, face: bool) -> Branch:
        if rng.random() < 0.6:
            place = rng.randrange(len(walk.instructions))
            number = f"{place + 1}:" if rng.random() < 0.4 else f"{place + 1}{rng.choice(HEADINGS)}"
            return Branch("navigate/quote", ["quote", number], quote(walk.instructions[place]))
        size = MAX_COORDINATE - 10
        heading = 0 if face else rng.randrange(4)
        before = Walker(_coordinate(rng, size), _coordinate(rng, size), heading, rng.randrange(10))
        instruction = rng.choice(walk.instructions)
        suffix = f"update {entry(before)} {instruction}".split()
        return Branch("navigate/update", suffix, entry(before.follow(instruction)).split())

    def _branch(self, rng: random.Random, walk: Walk) -> Branch:
        notes: list[str] = []
        states: list[Walker] = []
        for _ in range(rng.choices(*NOTE_COUNTS)[0]):
            note, state = self._note(rng, walk)
            notes.append(note)
            states += [state] if state else []
        source = _source(rng, states)
        instruction = draw_instruction(rng)
        kind, reply = self._reply(rng, walk, source, instruction)
        if notes and not states and notes[-1] in ("Yes", "No") and not instruction and rng.random() < 0.7:
            kind, reply = "copy", notes[-1]
        return Branch(f"navigate/{kind}", node_suffix(rng, notes, instruction), reply.split())

    def _note(self, rng: random.Random, walk: Walk) -> tuple[str, Walker | None]:
        kind = weighted(rng, NOTES)
        if kind == "answer":
            return rng.choice(("Yes", "No")), None
        if kind == "junk":
            return junk(rng), None
        start = Walker()
        if kind == "off track":
            start = self._elsewhere(rng, walk)
        states = walk.onwards(start) or [start]
        last = rng.randrange(len(states))
        shown = states[max(0, last - rng.randint(0, 3)) : last + 1]
        return " ".join(map(entry, shown)), states[last]

    def _elsewhere(self, rng: random.Random, walk: Walk) -> Walker:
        """A state off the walk's path; half the time one from which the rest leads to the start."""
        heading = 0 if walk.instructions[0].named else rng.randrange(4)
        while True:
            count = rng.randrange(len(walk.instructions))
            walker = Walker(_coordinate(rng, 20), _coordinate(rng, 20), heading, count)
            if rng.random() < 0.5:
                end = walk.onwards(walker)[-1]
                walker = Walker(walker.x - end.x, walker.y - end.y, heading, count)
            if all(map(in_range, [walker, *walk.onwards(walker)])):
                return walker

    def _reply(self, rng: random.Random, walk: Walk, source: Walker, instruction: str) -> tuple[str, str]:
        left = len(walk.instructions) - source.done
        if instruction == ANSWER_NOW:
            return "direct", walk.answer(source)
        if instruction == THINK:
            return "think", " ".join([*map(entry, walk.onwards(source)), walk.answer(source)])
        kind = weighted(rng, BEHAVIOURS if left else AT_THE_END)
        match kind:
            case "answer":
                return f"answer {min(left, 4)}", walk.answer(source)
            case "advance":
                count = rng.choices((1, 2, 3, 4), (0.15, 0.2, 0.25, 0.4))[0]
                return kind, " ".join(map(entry, walk.onwards(source, count)))
            case "advance and answer":
                steps = walk.onwards(source, min(3, left) if rng.random() < 0.6 else rng.randint(1, 3))
                return kind, " ".join([*map(entry, steps), walk.answer(source)])
            case "copy":
                return kind, entry(source)
            case "skip":
                return kind, entry(Walker(source.x, source.y, source.heading, source.done + 1))
            case _:
                return kind, junk(rng)


def _coordinate(rng: random.Random, size: int) -> int:
    """A coordinate, small ones more often: zero is what the answer turns on."""
    return 0 if rng.random() < 0.15 else rng.randint(-size, size) if rng.random() < 0.4 else rng.randint(-8, 8)


def junk(rng: random.Random) -> str:
    words = (coordinate(rng.randint(-9, 9)), f"{rng.randrange(10)}{rng.choice(HEADINGS)}", "Yes", "No", ".")
    return " ".join(rng.choice(words) for _ in range(rng.randint(2, 6)))


def _source(rng: random.Random, states: Sequence[Walker]) -> Walker:
    """The state a reply builds on: of the most advanced note, or of any; the start where there is none."""
    if not states:
        return Walker()
    return max(states, key=lambda s: s.done) if rng.random() < 0.5 else rng.choice(states)
