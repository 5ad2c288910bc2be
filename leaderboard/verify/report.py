"""What verification found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..findings import TIERS, Code, Finding, Tier

Outcome = Literal["passed", "failed", "not checked"]
MOST_OF_A_KIND = 100
"""Findings of one code that are kept; the others are counted."""


@dataclass
class Report:
    """Findings by tier, and the scores as they were worked out here.

    `reached` says how each tier ended; a tier is only checked where the one before it passed. `scores` holds the value
    of every question of every seed, by (seed, index).
    """

    submission_id: str = ""
    scorer: str = ""
    """By which task, in which version of this package, answers were judged."""
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    reached: dict[Tier, Outcome] = field(default_factory=lambda: dict.fromkeys(TIERS, "not checked"))
    notes: dict[Tier, str] = field(default_factory=dict)
    """Why a tier was not checked, and what was checked of it."""
    scores: dict[tuple[int, int], float] = field(default_factory=dict)

    def add(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self.counts[finding.code.id] += 1
            if self.counts[finding.code.id] <= MOST_OF_A_KIND:
                self.findings.append(finding)

    def fault(self, code: Code, message: str, row: int | None = None) -> None:
        self.add([Finding(code, message, row)])

    def failed(self, tier: Tier) -> bool:
        return any(finding.code.tier == tier for finding in self.findings)

    @property
    def tier(self) -> Tier | None:
        """The highest tier that was passed, with all below it."""
        best: Tier | None = None
        for tier in TIERS:
            if self.reached[tier] != "passed":
                break
            best = tier
        return best

    @property
    def accuracy(self) -> float | None:
        return sum(self.scores.values()) / len(self.scores) if self.scores else None

    def to_json(self) -> dict[str, Any]:
        return {
            "submission_id": self.submission_id,
            "scorer": self.scorer,
            "tier": self.tier,
            "reached": self.reached,
            "notes": self.notes,
            "accuracy": self.accuracy,
            "counts": dict(self.counts),
            "findings": [
                {"code": f.code.id, "tier": f.code.tier, "row": f.row, "message": f.message} for f in self.findings
            ],
        }
