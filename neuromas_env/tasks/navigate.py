"""Navigate: does a walk return to its start? In the wording of BIG-Bench Hard's `navigate`.

Two styles, as published: "Always face forward", where every instruction names a direction, and turns, where the
walker moves ahead and turns left, right or around. Generated questions are balanced between Yes and No; half of the
No questions are near misses, one count away from a Yes. `--data FILE` reads the published JSON file
(github.com/suzgunmirac/BIG-Bench-Hard, bbh/navigate.json, MIT) as the split `test`; training and validation stay
generated. The last Yes or No of a message is its answer.

Difficulty is the number of instructions, 1 to 10 (default 2-9, the published range).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError
from ..task import Question
from .bbh_file import read_bbh
from .generated import Draft, GeneratedTask, parse_difficulty

OPENING = "If you follow these instructions, do you return to the starting point?"
FORWARD = "Always face forward."
OPTIONS = "Options:\n- Yes\n- No"
STYLES = ("face", "turns", "both")
DIRECTIONS = ("forward", "right", "backward", "left")  # quarter turns clockwise from the heading
TURNS = {"right": 1, "around": 2, "left": 3}
HEADINGS = ("N", "E", "S", "W")
STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (x, y) of a step towards N, E, S, W


class Walker(NamedTuple):
    """Where the walk stands after `done` instructions."""

    x: int = 0
    y: int = 0
    heading: int = 0
    done: int = 0

    def follow(self, instruction: Instruction) -> Walker:
        if not instruction.steps:
            return Walker(self.x, self.y, (self.heading + instruction.quarter) % 4, self.done + 1)
        dx, dy = STEPS[(self.heading + instruction.quarter) % 4]
        x, y = self.x + dx * instruction.steps, self.y + dy * instruction.steps
        return Walker(x, y, self.heading, self.done + 1)


class Instruction(NamedTuple):
    """A move of `steps` in the direction `quarter` quarter turns from the heading, or a turn where `steps` is 0."""

    steps: int
    quarter: int = 0
    named: bool = False  # whether a move names its direction

    @cache  # noqa: B019 (there are some fifty instructions, and wording one takes as long as drawing it)
    def __str__(self) -> str:
        if not self.steps:
            return "Turn " + next(name for name, quarter in TURNS.items() if quarter == self.quarter) + "."
        unit = "step" if self.steps == 1 else "steps"
        return f"Take {self.steps} {unit} {DIRECTIONS[self.quarter]}." if self.named else f"Take {self.steps} {unit}."


def render(instructions: Sequence[Instruction], face: bool) -> str:
    """The question in the published wording."""
    return f"{' '.join([OPENING, *[FORWARD] * face, *map(str, instructions)])}\n{OPTIONS}"


def walk(instructions: Sequence[Instruction]) -> Walker:
    x = y = heading = 0
    for steps, quarter, _ in instructions:
        if steps:
            dx, dy = STEPS[(heading + quarter) % 4]
            x, y = x + dx * steps, y + dy * steps
        else:
            heading += quarter
    return Walker(x, y, heading % 4, len(instructions))


# A walk that returns is found in some seven trials of up to ten instructions each. What they are made of is therefore
# made once.
NAMED = tuple(tuple(Instruction(steps, quarter, named=True) for quarter in range(4)) for steps in range(1, 11))
AHEAD = tuple(Instruction(steps) for steps in range(1, 11))
TURN = tuple(Instruction(0, quarter) for quarter in range(1, 4))


def draw_instructions(rng: random.Random, count: int, face: bool, returns: bool) -> list[Instruction]:
    """Draw `count` instructions that do, or do not, return to the start; three at least where walkers turn."""
    if not face:
        count = max(count, 3)  # out, around, back: no shorter walk with turns returns
    while True:
        drawn = _draw_face(rng, count) if face else _draw_turns(rng, count)
        near_miss = not returns and rng.random() < 0.5
        if (returns or near_miss) and not _close(rng, drawn):
            continue
        if near_miss:
            _change_one_count(rng, drawn)
        end = walk(drawn)
        if (end.x == end.y == 0) == returns and any(instruction.steps for instruction in drawn):
            return drawn


# The two below draw what `rng.randint(1, 10)`, `rng.randrange(4)` and `rng.randint(1, 3)` would draw, bit for bit, but
# several times faster: as many random bits as the range takes, again until they fall within it.


def _draw_face(rng: random.Random, count: int) -> list[Instruction]:
    bits, drawn = rng.getrandbits, []
    for _ in range(count):
        while (steps := bits(4)) >= 10:
            pass
        while (quarter := bits(3)) >= 4:
            pass
        drawn.append(NAMED[steps][quarter])
    return drawn


def _draw_turns(rng: random.Random, count: int) -> list[Instruction]:
    bits, drawn = rng.getrandbits, []
    for _ in range(count):
        if rng.random() < 0.4:
            while (turn := bits(2)) >= 3:
                pass
            drawn.append(TURN[turn])
        else:
            while (steps := bits(4)) >= 10:
                pass
            drawn.append(AHEAD[steps])
    return drawn


def _close(rng: random.Random, instructions: list[Instruction]) -> bool:
    """Set one count on each axis so that the walk returns; False where no count from 1 to 10 can."""
    heading = x = y = 0
    along_x: list[tuple[int, int]] = []  # (place, sign)
    along_y: list[tuple[int, int]] = []
    for place, (steps, quarter, _) in enumerate(instructions):
        if steps:
            dx, dy = STEPS[(heading + quarter) % 4]
            if dx:
                x += dx * steps
                along_x.append((place, dx))
            else:
                y += dy * steps
                along_y.append((place, dy))
        else:
            heading += quarter
    for axis, end in ((along_x, x), (along_y, y)):
        if axis:
            place, sign = rng.choice(axis)
            steps, quarter, named = instructions[place]
            steps -= sign * end
            if not 1 <= steps <= 10:
                return False
            instructions[place] = Instruction(steps, quarter, named)
    return True


def _change_one_count(rng: random.Random, instructions: list[Instruction]) -> None:
    places = [place for place, instruction in enumerate(instructions) if instruction.steps]
    if places:
        place = rng.choice(places)
        old = instructions[place]
        steps = rng.choice([n for n in range(1, 11) if n != old.steps])
        instructions[place] = Instruction(steps, old.quarter, old.named)


class Navigate(GeneratedTask):
    name = "navigate"
    instruction = "The answer is the last Yes or No of the message."
    max_message_tokens = 12
    balanced = ("Yes", "No")

    def __init__(self, difficulty: str | None = None, style: str = "both", data: str | Path | None = None) -> None:
        super().__init__()
        self.instructions = parse_difficulty(difficulty, "2-9", 2, 10)
        if style not in STYLES:
            raise UsageError(f"unknown style {style!r} of navigate; there are {', '.join(STYLES)}")
        self.style = style
        self._published = None if data is None else read_bbh(Path(data), answers=("Yes", "No"))

    @property
    def variant(self) -> str:
        return f"{self.instructions[0]}-{self.instructions[1]}-{self.style}"

    def size(self, split: str) -> int | None:
        if split == "test" and self._published is not None:
            return len(self._published)
        return super().size(split)

    def question(self, split: str, index: int) -> Question:
        if split != "test" or self._published is None:
            return super().question(split, index)
        if not 0 <= index < len(self._published):
            raise IndexError(f"{self.id} has no question {index} in split 'test' (size {len(self._published)})")
        row = self._published[index]
        return Question(f"{self.id}/published/test/{index}", row.prompt, row.answer, ("Yes", "No"), row.metadata)

    @property
    def scarce(self) -> bool:
        return self.instructions[1] <= 3

    def generate(self, rng: random.Random) -> Draft:
        face = self.style == "face" or (self.style == "both" and rng.random() < 0.5)
        count = rng.randint(*self.instructions)
        returns = rng.random() < 0.5
        drawn = draw_instructions(rng, count, face, returns)
        return Draft(render(drawn, face), "Yes" if returns else "No", {"instructions": len(drawn), "face": face})

    def parse(self, question: Question, text: str, *, strict: bool = True) -> str | None:
        flags = re.NOFLAG if strict else re.IGNORECASE
        found = list(re.finditer(r"(?<!\w)(Yes|No)(?!\w)", text, flags))
        if not found:
            return None
        answer = found[-1][1].capitalize()
        if len(found) > 1 and found[-2][1].capitalize() != answer:
            between = text[found[-2].end() : found[-1].start()]
            if re.fullmatch(r"(\W|and|or)*", between):
                return None  # the options recited, not one of them chosen
        return answer
