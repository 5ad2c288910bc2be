"""One submission through the tiers, its episodes read once and a chunk at a time.

    report = verify(Path("submission"), data=Path("navigate.json"))
    report.tier, report.findings

T0 and T1 need the task, T2 the tokenizer too, T3 the weights (`spot.py`). Everything that is wrong is reported at once,
within a tier; a tier is checked where the one before it passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neuromas_env.errors import TopologyError
from neuromas_env.topology import Topology

from ..findings import TIERS, TOPOLOGY, Finding, Tier
from ..reading import ACCEPTED, Limits, check_folder, file_hash, read_artifacts, read_card, read_episodes, submission_id
from ..submission import ARTIFACTS, CARD, EPISODES, FILES, EpisodeRow, Submission
from .hidden import check_hidden
from .replaying import Replaying
from .report import Report
from .rescoring import Rescoring
from .spot import Spot
from .weights import claimed_weights

CHUNK = 256
"""Episodes that are replayed at once."""


def verify(
    folder: Path,
    upto: Tier = "T2",
    *,
    data: Path | None = None,
    allow_code_execution: bool = False,
    tokenizer: Any = None,
    artifacts: Path | None = None,
    secret: str = "",
    hidden: Path | None = None,
    limits: Limits = ACCEPTED,
) -> Report:
    """Check the submission in `folder` up to a tier.

    `data` is the task's data file or folder, where it reads one; without it, it comes from the hub. `tokenizer` spares
    loading that of the backbone. For T3 `artifacts` is the folder in which the files of artifacts.json lie, and
    `secret` decides what is looked at. For T4 `hidden` is a data file that was never published; where the task makes
    its questions, the secret will do. A submission at fault is reported, never raised.
    """
    report = Report()
    report.add(check_folder(folder))
    if report.findings:
        return finish(report, "T0")
    report.submission_id = submission_id(file_hash(folder / name) for name in FILES)
    card, found = read_card(folder / CARD, limits)
    report.add(found)
    files, found = read_artifacts(folder / ARTIFACTS, limits)
    report.add(found)
    topology = None
    if card is not None:
        topology, found = parse_topology(card)
        report.add(found)
    rescoring = replaying = None
    if card is not None and topology is not None and upto != "T0":
        rescoring = Rescoring.of(card, report, data, allow_code_execution)
        if rescoring is not None and upto >= "T2":
            replaying = Replaying.of(card, topology, rescoring.task, rescoring.questions, report, tokenizer)
    with (folder / EPISODES).open("rb") as stream:
        for chunk in chunks(read_rows(stream, report, limits)):
            if rescoring is not None:
                rescoring.check(chunk, report)
            if replaying is not None:
                replaying.check(chunk, report)
    if rescoring is not None:
        rescoring.finish(report)
    spotted = asked = False
    if upto >= "T3" and replaying is not None and card is not None and files is not None and not report.findings:
        weights = claimed_weights(card, replaying.topology, files, artifacts, report)
        if weights is not None:
            spot = Spot(replaying, weights, report, secret)
            with (folder / EPISODES).open("rb") as stream:
                spot.check([each for each in read_rows(stream, report, limits) if spot.wanted(each[1])])
            spotted = True
            if upto == "T4" and not report.findings:
                asked = check_hidden(card, spot, report, hidden, secret, allow_code_execution)
    return finish(report, upto, {"T2": replaying is not None, "T3": spotted, "T4": asked})


def read_rows(stream: Any, report: Report, limits: Limits) -> Iterator[tuple[int, EpisodeRow]]:
    """The lines that can be read, with their numbers; the others are reported."""
    for number, row, found in read_episodes(stream, limits):
        report.add(found)
        if row is not None:
            yield number, row


def chunks(rows: Iterator[tuple[int, EpisodeRow]]) -> Iterator[list[tuple[int, EpisodeRow]]]:
    chunk: list[tuple[int, EpisodeRow]] = []
    for each in rows:
        chunk.append(each)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def parse_topology(card: Submission) -> tuple[Topology | None, list[Finding]]:
    """The topology, where it is one and the card speaks of its nodes only."""
    try:
        topology = Topology.from_json(card.system.topology)
    except (TopologyError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        return None, [Finding(TOPOLOGY, f"{CARD}: system.topology: {error}")]
    strange = [
        node
        for part in (card.system.instructions, card.system.aggregator, card.parameters.per_node)
        for node in part
        if node not in topology.nodes
    ]
    strange += [node for node in card.system.silence if node not in topology.nodes]
    found = [Finding(TOPOLOGY, f"{CARD}: the topology has no node {node!r}") for node in strange[:20]]
    return (None if found else topology), found


def finish(report: Report, upto: Tier, done: Mapping[Tier, bool] | None = None) -> Report:
    """Say how each tier ended. `done` says of T2 to T4 whether they could be checked."""
    for tier in TIERS:
        if tier > upto:
            break
        if tier >= "T2" and not (done or {}).get(tier) and not report.failed(tier):
            break
        report.reached[tier] = "failed" if report.failed(tier) else "passed"
        if report.reached[tier] == "failed":
            break
    return report
