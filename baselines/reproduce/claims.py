"""The claims of the paper (arXiv 2605.16757), each with what was measured here, and whether it held.

A claim is about the sign of differences. One that holds has an interval on the claimed side of zero; where it lies on
the other side the contrary was found; everything else is open. All that hold: reproduced. Some: in part, and where.
None: not reproduced. Nothing here chooses a seed or a learning rate: differences are means over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .report import interval

MOST_NAMED = 3
"""Places that a verdict names; of more it tells the number."""

Found = Mapping[str, Mapping[str, Any]]
"""The data of each section, by its name."""


@dataclass(frozen=True)
class Finding:
    """One difference that bears on a claim: where, and how large with its interval."""

    where: str
    difference: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        return self.low > 0

    @property
    def contradicted(self) -> bool:
        return self.high < 0

    def __str__(self) -> str:
        values = {"difference": self.difference, "low": self.low, "high": self.high}
        return f"{self.where} {interval(values, 'difference', sign=True)}"


@dataclass(frozen=True)
class Claim:
    """What the paper says, its own figures, and the differences that would show it (positive: as claimed)."""

    text: str
    paper: str
    findings: Callable[[Found], Sequence[Finding]]
    note: str = ""


def verdict(findings: Sequence[Finding]) -> str:
    if not findings:
        return "not tested"
    held = [finding.where for finding in findings if finding.holds]
    contrary = [finding.where for finding in findings if finding.contradicted]
    if len(held) == len(findings):
        return "reproduced"
    told = f"reproduced in part ({_places(held, findings)})" if held else "not reproduced"
    return told + (f"; the contrary was found ({_places(contrary, findings)})" if contrary else "")


def _places(named: Sequence[str], findings: Sequence[Finding]) -> str:
    return ", ".join(named) if len(named) <= MOST_NAMED else f"{len(named)} of {len(findings)} differences"


def against(other: str, section: str = "methods", budget: str | None = None) -> Callable[[Found], list[Finding]]:
    def findings(found: Found) -> list[Finding]:
        rows = [
            row
            for row in found.get(section, {}).get("against_single", [])
            if row["against"] == other and budget in (None, row["budget"])
        ]
        return [
            Finding(f"{row['task']} (equal {row['budget']})", row["difference"], row["low"], row["high"])
            for row in rows
        ]

    return findings


def growth(found: Found) -> list[Finding]:
    return [
        Finding(f"{row['task']}, {row['nodes']} nodes, {row['kind']}", row["difference"], row["low"], row["high"])
        for row in found.get("growth", {}).get("differences", [])
    ]


def larger_grown(found: Found) -> list[Finding]:
    return [
        Finding(f"{row['task']}, {row['nodes']} nodes, {row['kind']}", row["difference"], row["low"], row["high"])
        for row in found.get("growth", {}).get("against_three", [])
        if row["kind"] != "scratch"
    ]


def larger_scratch_is_worse(found: Found) -> list[Finding]:
    return [
        Finding(f"{row['task']}, {row['nodes']} nodes", -row["difference"], -row["high"], -row["low"])
        for row in found.get("growth", {}).get("against_three", [])
        if row["kind"] == "scratch"
    ]


def steeper(found: Found) -> list[Finding]:
    """How much steeper the error of the network falls; the interval adds both slopes' (wider than it need be). Where
    one makes no error at any size, nothing can be told."""
    rows = []
    for case in found.get("efficiency", {}).get("cases", []):
        network, single = case["network"], case["one node"]
        if network["slope"] is None or single["slope"] is None:
            continue
        difference = single["slope"] - network["slope"]
        rows.append(
            Finding(
                f"{case['task']} (slopes ×100)", difference, single["low"] - network["high"],
                single["high"] - network["low"],
            )
        )  # fmt: skip
    return rows


def messages_matter(found: Found) -> list[Finding]:
    return [
        Finding(f"{row['task']}, {row['kind']}", row["difference"], row["low"], row["high"])
        for row in found.get("ablations", {}).get("rows", [])
        if row["kind"] in ("silence", "swap")
    ]


CLAIMS = (
    Claim(
        "A trained network of three nodes beats one model trained with as many parameters.",
        "56.5 against 46.0 on ARC, 45.5 against 42.2 on Navigate, and on all four other tasks",
        against("single-rl"),
    ),
    Claim(
        "The gain survives a majority vote with the same sampled tokens (the paper leaves this open).",
        "not reported",
        against("self-consistency"),
    ),
    Claim(
        "Training is what makes the network, not the calls: trained against untrained nodes (left open).",
        "not reported",
        against("untrained:1-1-1"),
    ),
    Claim(
        "The gain holds on a second backbone.",
        "Gemma-3-1B-IT on ARC: 44.5 against 36.0",
        against("single-rl", "backbones"),
    ),
    Claim(
        "Larger networks trained from scratch are worse than the three-node one.",
        "Navigate, 3 / 5 / 7 nodes: 45.5 / 41.0 / 40.5",
        larger_scratch_is_worse,
    ),
    Claim(
        "A grown network beats the same network trained from scratch.",
        "Navigate: 48.0 against 41.0 at 5 nodes, 51.0 against 40.5 at 7",
        growth,
        "Where the section on growth has no more calls than three nodes make, the best checkpoint keeps what is new "
        "closed: such a gain is that of growing late, not of growing.",
    ),
    Claim(
        "Growing goes on to help: a grown network beats the three-node one.",
        "Navigate, grown 3 → 5 → 7: 45.5 / 48.0 / 51.0",
        larger_grown,
        "Function-preserving growth with the best checkpoint kept cannot end far below its parent.",
    ),
    Claim(
        "With trainable parameters q, the network's error falls like q^(-1/a), one policy's like q^(-1/b), a < b.",
        "a capacity argument, not measured there",
        steeper,
        "Positive: the network's error falls faster. Not a test of the exponents themselves.",
    ),
    Claim("The messages carry the gain.", "not reported", messages_matter),
)


def judged(found: Found) -> list[dict[str, Any]]:
    """Every claim with its verdict and its findings, as JSON values."""
    rows = []
    for claim in CLAIMS:
        findings = claim.findings(found)
        rows.append(
            {
                "claim": claim.text,
                "paper": claim.paper,
                "verdict": verdict(findings),
                "note": claim.note,
                "findings": [
                    {"where": f.where, "difference": f.difference, "low": f.low, "high": f.high} for f in findings
                ],
            }
        )
    return rows


DIFFERENCES = "Differences are in points of accuracy, with 95 % intervals."


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The claims as Markdown."""
    parts = []
    for number, row in enumerate(rows, start=1):
        lines = [f"{number}. **{row['claim']}** — {row['verdict']}. Paper: {row['paper']}. {row['note']}".rstrip(), ""]
        findings = [Finding(**finding) for finding in row["findings"]]
        for title, chosen in (
            ("As claimed", [each for each in findings if each.holds]),
            ("Open, the interval holds zero", [each for each in findings if not each.holds and not each.contradicted]),
            ("The contrary", [each for each in findings if each.contradicted]),
        ):
            if chosen:
                lines.append(f"    - {title}: {'; '.join(map(str, chosen))}.")
        parts.append("\n".join(lines).rstrip())
    return DIFFERENCES + "\n\n" + "\n\n".join(parts)
