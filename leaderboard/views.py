"""What the pages, the files of an export and the API show, worked out once from a store.

    views = Views(store)
    board = views.board("chain-2-3-test-500-0a1b2c3d4e", Query(track="closed-trained"))

Server, static site and JSON are made of these views only, so their figures are the same. Submissions never change, so
what was worked out of them is kept; what depends on a whole board is kept until the board's state is another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from threading import Lock
from typing import Any, get_args

import numpy as np

from baselines.statistics import holm
from neuromas_env.errors import UsageError

from .findings import Tier
from .reading import read_episodes
from .statistics import Difference, Standing, detectable, paired, standings
from .store import Record, State, Store, board_label
from .submission import EPISODES, EpisodeRow, Track

TRACKS: tuple[Track, ...] = get_args(Track)
RANKED: tuple[Tier, ...] = ("T1", "T2", "T3", "T4")
DEFAULT_TIER: Tier = "T2"
SORTS = {
    "accuracy": "accuracy",
    "tokens": "sampled tokens a question",
    "calls": "calls a question",
    "prompt": "prompt tokens a question",
    "parameters": "trainable parameters",
    "training": "sampled tokens in training",
    "received": "newest first",
}
PAGE = 100
KEPT_BOARDS = 64


class UnknownBoardError(UsageError):
    """No board, or no method, of this name."""


@dataclass(frozen=True)
class Query:
    """Which submissions of a board are shown, and in which order. `tier` is the lowest one."""

    track: str | None = None
    tier: str = DEFAULT_TIER
    sort: str = "accuracy"
    method: str = ""
    """Part of a name or method."""
    page: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (
            ("track", self.track, (None, *TRACKS)),
            ("tier", self.tier, RANKED),
            ("sort", self.sort, tuple(SORTS)),
        ):
            if value not in known:
                accepted = ", ".join(str(each) for each in known if each)
                raise UsageError(f"{name} {str(value)[:40]!r} is none of {accepted}")
        if not 1 <= self.page <= 10_000:
            raise UsageError(f"page {self.page} is none: pages count from 1")


@dataclass(frozen=True)
class Entry:
    """A submission as a line of a board. Costs are means over a submission's questions and seeds."""

    id: str
    name: str
    method: str
    track: str
    backbone: str
    topology: str
    tier: str
    received: str
    owner: str
    seeds: int
    accuracy: float
    tokens: float
    calls: float
    prompt: float
    parameters: int
    training: int | None
    attempts: int
    """As told on the card."""
    handed_in: int
    """Submissions of the same owner on this board, this one and withdrawn ones included."""
    standing: Standing | None = None

    @property
    def base(self) -> str:
        return self.method.partition(":")[0].partition("@")[0]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Board:
    """A board as it is shown: `entries` is one page of those that the query asks for."""

    key: str
    label: str
    task: Mapping[str, Any]
    query: Query
    entries: Sequence[Entry]
    total: int
    """How many the query asks for."""
    pages: int
    all: Sequence[Entry] = field(repr=False)
    """All of the tier and track, the best first, whatever page and method are asked for."""
    detectable: float | None
    """The least difference that can be told apart, as a share."""
    waiting: int
    """Handed in and not verified yet."""
    failed: int
    """Verified, and below tier 1."""
    withdrawn: Sequence[Record]

    def to_json(self) -> dict[str, Any]:
        return {
            "board": self.key,
            "label": self.label,
            "task": dict(self.task),
            "query": asdict(self.query),
            "total": self.total,
            "pages": self.pages,
            "detectable_difference": self.detectable,
            "waiting": self.waiting,
            "failed": self.failed,
            "withdrawn": [
                {"id": r.id, "name": r.card["name"], "withdrawn": r.withdrawn, "reason": r.reason}
                for r in self.withdrawn
            ],
            "entries": [entry.to_json() for entry in self.entries],
        }


@dataclass(frozen=True)
class Summary:
    """A board in the list of boards."""

    key: str
    label: str
    task: Mapping[str, Any]
    submissions: int
    ranked: int
    best: Entry | None


@dataclass(frozen=True)
class Comparison:
    """Two submissions of one board, the first less the second."""

    board: str
    label: str
    first: Entry
    second: Entry
    difference: Difference
    p_holm: float
    """Corrected for as many comparisons as the board has pairs with either of the two."""
    apart: Sequence[tuple[int, float, float]]
    """Questions on which they differ most: place, share of seeds right of the first, and of the second."""

    def to_json(self) -> dict[str, Any]:
        return {
            "board": self.board,
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "difference": asdict(self.difference),
            "p_holm": self.p_holm,
            "questions_apart": [
                {"question": place, "first": first, "second": second} for place, first, second in self.apart
            ],
        }


class Views:
    """The views of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = Lock()
        self._scores: dict[tuple[int, str], np.ndarray | None] = {}
        self._lines: dict[str, tuple[State, list[Record], list[Entry]]] = {}
        self._boards: OrderedDict[tuple[Any, ...], tuple[State, Any]] = OrderedDict()

    # ------------------------------------------------------------------ boards

    def boards(self) -> list[Summary]:
        """All boards, those with most submissions first."""
        found = []
        for key, task in self.store.boards().items():
            state, _, entries = self._entries(key)
            ranked = sorted((e for e in entries if e.tier >= DEFAULT_TIER), key=lambda e: -e.accuracy)
            best = ranked[0] if ranked else None
            shown = state.submissions - state.withdrawn
            found.append(Summary(key, board_label(task), task, shown, len(ranked), best))
        return sorted(found, key=lambda summary: (-summary.submissions, summary.label))

    def board(self, key: str, query: Query = Query()) -> Board:
        """One board. Raises UnknownBoardError."""
        task = self.store.boards().get(key)
        if task is None:
            raise UnknownBoardError(f"no board {key[:100]!r}")
        state, records, lines = self._entries(key)
        entries, least = self._ranked(key, query.track, query.tier)
        wanted = [e for e in entries if query.method.lower() in f"{e.name} {e.method}".lower()]
        wanted = _sorted(wanted, query.sort)
        start = (query.page - 1) * PAGE
        waiting = sum(record.report is None and not record.withdrawn for record in records)
        return Board(
            key=key,
            label=board_label(task),
            task=task,
            query=query,
            entries=wanted[start : start + PAGE],
            total=len(wanted),
            pages=max(1, -(-len(wanted) // PAGE)),
            all=entries,
            detectable=least,
            waiting=waiting,
            failed=state.submissions - state.withdrawn - waiting - len(lines),
            withdrawn=[record for record in records if record.withdrawn],
        )

    def whole(self, key: str, query: Query = Query()) -> Board:
        """A board with all its lines on one page, whatever their number."""
        board = self.board(key, replace(query, page=1))
        if board.pages == 1:
            return board
        wanted = [e for e in board.all if query.method.lower() in f"{e.name} {e.method}".lower()]
        return replace(board, entries=_sorted(wanted, query.sort), pages=1)

    def _entries(self, key: str) -> tuple[State, list[Record], list[Entry]]:
        """All records of a board, and lines of those that may be ranked."""
        state = self.store.state(key)
        with self._lock:
            before = self._lines.get(key)
            if before is not None and before[0] == state:
                return before
            records = self.store.records(key)
            by_owner: dict[str, int] = {}
            for record in records:
                by_owner[record.owner] = by_owner.get(record.owner, 0) + 1
            entries = []
            for record in records:
                values_SQ = None if record.withdrawn or (record.tier or "") < "T1" else self.scores(record)
                if values_SQ is not None:
                    entries.append(_entry(record, values_SQ, by_owner[record.owner]))
            self._lines[key] = state, records, entries
            return self._lines[key]

    def scores(self, record: Record) -> np.ndarray | None:
        """The values of a submission's answers, [S, Q]; None below tier 1."""
        if record.report is None:
            return None
        key = record.number, record.report["scorer"]
        if key not in self._scores:
            self._scores[key] = self.store.scores(record)
        return self._scores[key]

    def values(self, key: str) -> dict[str, np.ndarray]:
        """The values of the answers of all ranked submissions of a board, [S, Q], by id."""
        _, records, entries = self._entries(key)
        ranked = {entry.id for entry in entries}
        found = {record.id: self.scores(record) for record in records if record.id in ranked}
        return {identity: values_SQ for identity, values_SQ in found.items() if values_SQ is not None}

    def _ranked(self, key: str, track: str | None, tier: str) -> tuple[list[Entry], float | None]:
        """The lines of a track and tier with their standings, the best first, and what can be told apart."""

        def work() -> tuple[list[Entry], float | None]:
            entries = [e for e in self._entries(key)[2] if e.tier >= tier and track in (None, e.track)]
            values = self.values(key)
            scores = [values[e.id] for e in entries]
            made = standings(scores, [int(e.id[:15], 16) for e in entries])
            placed = [replace(e, standing=s) for e, s in zip(entries, made, strict=True)]
            return _sorted(placed, "accuracy"), detectable(scores)

        made: tuple[list[Entry], float | None] = self._kept(("ranked", key, track, tier), key, work)
        return made

    def _kept(self, name: tuple[Any, ...], key: str, work: Any) -> Any:
        """What `work` gave when the board was in this state, or gives now."""
        state = self.store.state(key)
        with self._lock:
            before = self._boards.get(name)
            if before is not None and before[0] == state:
                self._boards.move_to_end(name)
                return before[1]
        made = work()
        with self._lock:
            self._boards[name] = state, made
            while len(self._boards) > KEPT_BOARDS:
                self._boards.popitem(last=False)
        return made

    def plotted(self, name: str, key: str, work: Any) -> Any:
        """Something drawn of a board, kept as long as the board is the same."""
        return self._kept(("plot", name, key), key, work)

    # ------------------------------------------------------------------ submissions

    def entry(self, record: Record) -> Entry | None:
        """A submission's line, where it is ranked."""
        _, _, entries = self._entries(record.board)
        return next((entry for entry in entries if entry.id == record.id), None)

    def by_seed(self, record: Record) -> list[tuple[int, float]]:
        """The accuracy of each seed."""
        values_SQ = self.scores(record)
        means = [] if values_SQ is None else values_SQ.mean(axis=1).tolist()
        return list(zip(record.card["seeds"], means, strict=False))

    def episodes(self, record: Record, start: int = 0, count: int = 25) -> list[EpisodeRow]:
        """`count` lines of a submission from line `start`, counted from 0."""
        with self.store.files.path(record.files[EPISODES]).open("rb") as stream:
            rows = islice(read_episodes(stream), start, start + count)
            return [row for _, row, _ in rows if row is not None]

    def compare(self, first: str, second: str) -> Comparison:
        """Two submissions of one board. Raises UsageError where they are not on one, or not ranked."""
        records = [self.store.record(identity) for identity in (first, second)]
        if records[0].board != records[1].board:
            raise UsageError("the two submissions are of two boards: only the same questions can be compared")
        if records[0].id == records[1].id:
            raise UsageError("a submission cannot be compared with itself")
        entries = [self.entry(record) for record in records]
        scores = [self.scores(record) for record in records]
        if entries[0] is None or entries[1] is None or scores[0] is None or scores[1] is None:
            raise UsageError("one of the submissions is withdrawn, or below tier 1: it has no scores")
        difference = paired(scores[0], scores[1])
        # Whoever compares two of N has in fact looked at the N - 1 others too.
        others = max(1, len(self._entries(records[0].board)[2]) - 1)
        p_holm = holm([difference.p, *([1.0] * (others - 1))])[0]
        first_Q, second_Q = scores[0].mean(axis=0), scores[1].mean(axis=0)
        apart = [int(place) for place in np.argsort(-np.abs(first_Q - second_Q), kind="stable")[:50]]
        return Comparison(
            records[0].board,
            board_label(records[0].card["task"]),
            entries[0],
            entries[1],
            difference,
            p_holm,
            [(q, float(first_Q[q]), float(second_Q[q])) for q in apart if first_Q[q] != second_Q[q]],
        )

    # ------------------------------------------------------------------ methods

    def methods(self) -> dict[str, int]:
        """How many ranked submissions each method has, by its name without arguments."""
        counts: dict[str, int] = {}
        for key in self.store.boards():
            for entry in self._entries(key)[2]:
                counts[entry.base] = counts.get(entry.base, 0) + 1
        return dict(sorted(counts.items()))

    def method(self, base: str) -> dict[str, list[Entry]]:
        """The ranked submissions of a method, oldest first, by board. Raises UnknownBoardError."""
        found: dict[str, list[Entry]] = {}
        for key in self.store.boards():
            own = [entry for entry in self._entries(key)[2] if entry.base == base]
            if own:
                found[key] = sorted(own, key=lambda entry: (entry.received, entry.id))
        if not found:
            raise UnknownBoardError(f"no method {base[:100]!r} on any board")
        return found


def _entry(record: Record, values_SQ: np.ndarray, handed_in: int) -> Entry:
    card = record.card
    answers = values_SQ.size
    spent, training = card["inference"], card["training"]
    return Entry(
        id=record.id,
        name=card["name"],
        method=card["system"]["method"],
        track=card["track"],
        backbone=card["backbone"]["name"],
        topology=_shape(card["system"]["topology"]),
        tier=record.tier or "",
        received=record.received,
        owner=record.owner,
        seeds=len(card["seeds"]),
        accuracy=float(values_SQ.mean()),
        tokens=spent["sampled_tokens"] / answers,
        calls=spent["calls"] / answers,
        prompt=spent["prompt_tokens"] / answers,
        parameters=card["parameters"]["total"],
        training=None if training is None else training["sampled_tokens"],
        attempts=card["attempts"],
        handed_in=handed_in,
    )


def _shape(topology: Mapping[str, Any]) -> str:
    from neuromas_env.topology import Topology

    return str(Topology.from_json(dict(topology)))


def _sorted(entries: Sequence[Entry], by: str) -> list[Entry]:
    """By a column, the best first; equals by accuracy, then the older first."""

    def key(entry: Entry) -> Any:
        cost = {
            "accuracy": 0.0,
            "tokens": entry.tokens,
            "calls": entry.calls,
            "prompt": entry.prompt,
            "parameters": entry.parameters,
            "training": entry.training or 0,
            "received": 0.0,
        }[by]
        return cost, -entry.accuracy, entry.received, entry.id

    if by == "received":
        return sorted(entries, key=lambda entry: (entry.received, entry.id), reverse=True)
    return sorted(entries, key=key)
