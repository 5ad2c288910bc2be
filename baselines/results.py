"""Results: one row a method and seed, an aggregate row over the seeds, and the intervals that stand beside them.

`{"rows": [...]}` is the whole file. In a row `accuracy`, its interval, `unparsed` and `flexible` are shares between 0
and 1; `calls`, `prompt_tokens` and `sampled_tokens` are means per question; `seconds` is the wall-clock time of the
whole evaluation (training apart); `seed` is null in the aggregate row. `errors` are the questions on which the method
raised (of all seeds together in the aggregate row); they are wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.files import write_json
from neuromas_env.task import Score

OUTCOMES = ("correct", "flexible", "unparsed", "missing", "failed")

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Row:
    """One line of a results table; `extra` holds further keys, which follow the fixed ones in JSON."""

    method: str
    task: str
    split: str
    seed: int | None
    questions: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    unparsed: float
    calls: float
    prompt_tokens: float
    sampled_tokens: float
    trainable_parameters: int
    seconds: float
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        fixed = asdict(self)
        extra = fixed.pop("extra")
        return fixed | {key: value for key, value in extra.items() if key not in fixed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        names = [name for name in cls.__dataclass_fields__ if name != "extra"]
        extra = {key: value for key, value in data.items() if key not in names}
        return cls(**{name: data[name] for name in names}, extra=extra)


@dataclass(frozen=True)
class Outcomes:
    """What became of each question, in order: 1 right or 0 wrong by the strict rule, the same by the lenient one."""

    correct_Q: np.ndarray
    flexible_Q: np.ndarray
    unparsed_Q: np.ndarray
    """No answer could be read, be it that there was no text."""
    missing_Q: np.ndarray
    """There was no text."""
    failed_Q: np.ndarray
    """The judge could not judge it, or the method raised on it."""
    errors: Mapping[int, str] = field(default_factory=dict)
    """What the method raised, by the place of the question."""

    @classmethod
    def of(cls, scores: Sequence[Score], errors: Mapping[int, str] | None = None) -> Outcomes:
        return cls(
            correct_Q=np.array([score.value >= 1.0 for score in scores], bool),
            flexible_Q=np.array([score.flexible >= 1.0 for score in scores], bool),
            unparsed_Q=np.array([score.unread for score in scores], bool),
            missing_Q=np.array([score.status == "missing" for score in scores], bool),
            failed_Q=np.array([score.status == "failed" for score in scores], bool),
            errors=dict(errors or {}),
        )

    def to_json(self) -> dict[str, Any]:
        """Each row of flags as a string of 0 and 1: compact, and readable in a diff."""
        arrays = {name: getattr(self, f"{name}_Q") for name in OUTCOMES}
        flags = {name: "".join("1" if flag else "0" for flag in array) for name, array in arrays.items()}
        return {**flags, "errors": {str(place): text for place, text in self.errors.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcomes:
        flags = {f"{name}_Q": np.array([c == "1" for c in data[name]], bool) for name in OUTCOMES}
        return cls(**flags, errors={int(place): text for place, text in data.get("errors", {}).items()})


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of Wilson (1927) of a share: sound at few questions and at shares near 0 and 1."""
    if total <= 0:
        return 0.0, 1.0
    share = successes / total
    denominator = 1 + Z_95**2 / total
    centre = (share + Z_95**2 / (2 * total)) / denominator
    half = Z_95 / denominator * math.sqrt(share * (1 - share) / total + Z_95**2 / (4 * total**2))
    # At a share of exactly 0 or 1 the bound is that share; rounding must not push it past.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == total else min(1.0, centre + half)
    return low, high


def clustered_means(values_SQ: np.ndarray, resamples: int) -> np.ndarray:
    """Bootstrap draws of the mean over S seeds and Q questions, both resampled.

    Every seed answers the same questions, so the S·Q outcomes are not independent: a hard question is hard for every
    seed, and a badly trained seed is bad on every question. Each resample therefore draws whole seeds and whole
    questions, both with replacement (the "pigeonhole" bootstrap, Owen 2007). The spread between seeds is widened by
    sqrt(S / (S − 1)), because a resample of S seeds shows too little of it. It is still an interval from S runs: with
    two or three seeds it says little about the next one. One seed has no spread to show: only questions are resampled.
    """
    seeds, questions = values_SQ.shape
    rng = np.random.default_rng(0)
    weights_BQ = rng.multinomial(questions, np.full(questions, 1 / questions), size=resamples) / questions
    means_BS: np.ndarray = weights_BQ @ values_SQ.T.astype(float)
    if seeds == 1:
        return means_BS[:, 0]
    weights_BS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    seed_effect_S = values_SQ.mean(axis=1) - values_SQ.mean()
    widen = math.sqrt(seeds / (seeds - 1)) - 1
    draws_B: np.ndarray = (weights_BS * means_BS).sum(axis=1) + widen * (weights_BS @ seed_effect_S)
    return draws_B


def clustered_interval(values_SQ: np.ndarray, resamples: int = 2000) -> tuple[float, float]:
    """The 95 % percentile interval of `clustered_means`."""
    low, high = np.quantile(clustered_means(values_SQ, resamples), [0.025, 0.975])
    return float(low), float(high)


def accuracy_interval(correct_SQ: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of an accuracy: Wilson's for one seed, `clustered_interval` for several.

    Where all seeds gave the same outcomes (a deterministic method, or all right, or all wrong) seeds add nothing: it
    is Wilson's interval over the questions.
    """
    if (correct_SQ == correct_SQ[0]).all():
        return wilson_interval(int(correct_SQ[0].sum()), correct_SQ.shape[1])
    low, high = clustered_interval(correct_SQ)
    return max(0.0, low), min(1.0, high)


def paired_difference(first_SQ: np.ndarray, second_SQ: np.ndarray) -> tuple[float, float, float]:
    """Mean of first − second on the same seeds and questions, with its 95 % `clustered_interval`."""
    difference_SQ = first_SQ.astype(float) - second_SQ.astype(float)
    return float(difference_SQ.mean()), *clustered_interval(difference_SQ)


def aggregate(rows: Sequence[Row], outcomes: Sequence[Outcomes]) -> Row:
    """The row over all seeds of one method: means of the seeds' figures and the interval of `accuracy_interval`."""
    correct_SQ = np.stack([outcome.correct_Q for outcome in outcomes])
    low, high = accuracy_interval(correct_SQ)
    first = rows[0]

    def mean(name: str) -> float:
        return float(np.mean([getattr(row, name) for row in rows]))

    extra = dict(first.extra)
    for key in extra:
        values = [row.extra.get(key) for row in rows]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            extra[key] = float(np.mean([float(value) for value in values if value is not None]))
    extra["seeds"] = len(rows)
    extra["errors"] = sum(len(outcome.errors) for outcome in outcomes)
    return Row(
        method=first.method,
        task=first.task,
        split=first.split,
        seed=None,
        questions=first.questions,
        accuracy=float(correct_SQ.mean()),
        accuracy_low=low,
        accuracy_high=high,
        unparsed=mean("unparsed"),
        calls=mean("calls"),
        prompt_tokens=mean("prompt_tokens"),
        sampled_tokens=mean("sampled_tokens"),
        trainable_parameters=first.trainable_parameters,
        seconds=mean("seconds"),
        extra=extra,
    )


def write_results(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"rows": [row.to_json() for row in rows]})


def read_results(path: Path) -> list[Row]:
    return [Row.from_json(row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
