"""What can be wrong with a submission: stable codes, by the tier that finds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tier = Literal["T0", "T1", "T2", "T3", "T4"]
TIERS: dict[Tier, str] = {
    "T0": "the files are whole, within limits, and follow the schema",
    "T1": "rescored: every answer judged again, every question of every seed there",
    "T2": "replayed: recorded messages stepped through the environment, prompts and tokens the same",
    "T3": "spot-checked: a sample of messages is what the claimed weights say",
    "T4": "asked questions that nobody else has",
}


@dataclass(frozen=True)
class Code:
    """A kind of fault. Its `id` never changes its meaning and is never used again."""

    id: str
    tier: Tier
    title: str

    def __str__(self) -> str:
        return self.id


CODES: dict[str, Code] = {}


def code(number: int, title: str) -> Code:
    """A new code; its first digit is its tier. Raises ValueError for a number that is taken."""
    made = Code(f"NM-E{number:03}", f"T{number // 100}", title)  # type: ignore[arg-type]
    if made.id in CODES or made.tier not in TIERS:
        raise ValueError(f"{made.id} is taken, or of no tier")
    CODES[made.id] = made
    return made


@dataclass(frozen=True)
class Finding:
    """One fault, with the line of `episodes.jsonl.gz` that it is in (from 1), where it is in one."""

    code: Code
    message: str
    row: int | None = None

    def __str__(self) -> str:
        where = "" if self.row is None else f", line {self.row}"
        return f"{self.code.id} ({self.code.tier}{where}): {self.message}"


FILES = code(1, "a file is missing, is no plain file, or is not one of the three")
SIZE = code(2, "a file is larger than accepted, compressed or expanded")
ENCODING = code(3, "a file is not UTF-8, or no whole gzip of one member")
JSON = code(4, "not JSON, or JSON with NaN, infinities, a name twice, or too deep")
SCHEMA = code(5, "the schema is not followed")
SECRET = code(6, "a text holds what looks like a key or a token")
TOPOLOGY = code(7, "the topology is none")

TASK = code(101, "the task, its version, its options or its split are not known here")
QUESTIONS = code(102, "the questions are not those that the task has")
STRANGE_ROW = code(103, "a line is of a question or a seed that was not asked")
MISSING_ROW = code(104, "a question of a seed is missing")
DOUBLE_ROW = code(105, "a question of a seed is there twice")
SCORE = code(106, "an answer is worth another score")
CLAIM = code(107, "the claimed accuracy is not that of the lines")
TOTALS = code(108, "calls or tokens of the card are not those of the lines")
ERROR_ROW = code(109, "a question on which the method raised has an answer or a score")

HIDDEN_CALL = code(201, "a call is not in the schedule of the topology")
LOST_CALL = code(202, "a call of the schedule is missing")
PROMPT = code(203, "a prompt is not what the environment would have shown")
PARENTS = code(204, "a node did not hear whom the topology says")
DELIVERED = code(205, "a message could not have been delivered so")
PROMPT_TOKENS = code(206, "the tokens of a prompt are not as many as told")
TOKEN_IDS = code(207, "token ids are not those of the message")
SAMPLED_TOKENS = code(208, "the sampled tokens are not as many as told, or more than the task allows")
ANSWER = code(209, "the answer is not what the output node said")
COMPUTED = code(210, "a computed message is not what its rule gives")
TOKENIZER = code(211, "the tokenizer is not the claimed one")
LEAK = code(212, "an instruction holds questions, and maybe their answers")
METHOD = code(213, "the system is not what its method's name says")

WEIGHTS = code(301, "the weights are not the claimed ones")
IMPROBABLE = code(302, "messages are not what the claimed weights would say")
OTHERWISE = code(303, "asked again with the same seed, the system says something else")
PARAMETERS = code(304, "the trainable parameters are not as many as the adapters have")

HIDDEN = code(401, "the accuracy on hidden questions is below what was claimed")
