"""Zero-shot chain of thought (Kojima et al., arXiv 2205.11916): one call, told to think before it answers.

The original takes two calls: the reasoning, then a second prompt that extracts the answer. Here the task's own parser
reads the answer, as for every other method, so it is one call. The message limit of the task holds for the thought and
the answer together.
"""

from __future__ import annotations

from .base import Wording
from .direct import Prompted

THINK = "Think step by step, then answer."
"""The instruction to think first; the embedded backbone knows it by exactly these words."""


class ZeroShotCoT(Prompted):
    name = "cot"
    summary = "one call, thinking step by step before the answer"
    wordings = {"answer": Wording(THINK, THINK)}  # noqa: RUF012 - never written to
