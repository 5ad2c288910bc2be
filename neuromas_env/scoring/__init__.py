"""Reading the answer in a text, and judging it: the one place that says what counts as an answer.

Each reader has a strict and a flexible rule. Strict takes explicit forms only ("Answer: B", "\\boxed{42}", a text that
is nothing but the answer; all are listed in `forms`), of several the last. Flexible reads what strict reads and, where
that is nothing, the last plain mention. Tasks report both and pay the strict one.
"""

from .choice import read_choice, read_word
from .forms import read_boxed
from .mathematics import MathJudge, MathVerdict, shared_math_judge
from .number import read_number
from .text import read_text

__all__ = [
    "MathJudge",
    "MathVerdict",
    "read_boxed",
    "read_choice",
    "read_number",
    "read_text",
    "read_word",
    "shared_math_judge",
]
