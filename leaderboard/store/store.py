"""The store of a leaderboard: submissions in files by content, and what is known of them in a database.

    store = open_store(Path("board"))
    made = store.submit(Path("submission"), owner="ada")
    store.verify(made.id, data=Path("navigate.json"))

A submission is there once it is named in the database, after its files are on disk: whenever the process is killed, it
is there whole or not at all. Nothing is written over: the same bytes are the same submission, a second verification
stands beside the first, and a withdrawal leaves a tombstone.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from neuromas_env.errors import UsageError

from ..findings import FILES as FILE_FAULT
from ..findings import Finding, Tier
from ..reading import read_card, submission_id
from ..submission import CARD, FILES, TaskCard
from ..verify import Report, verify
from .boards import board_key
from .database import Database
from .files import ContentFiles
from .tables import BoardTable, ScorerTable, ScoreTable, SubmissionTable, VerificationTable

SCORES_AT_ONCE = 10_000
Scores = Mapping[tuple[int, int], float]
"""The value of an answer, by seed and question."""


class RefusedError(UsageError):
    """A submission that is not taken, with everything that is wrong with it."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = findings
        super().__init__("the submission is refused: " + "; ".join(map(str, findings[:5])))


class UnknownSubmissionError(UsageError):
    """No submission of this id."""


@dataclass(frozen=True)
class Submitted:
    """What became of a submission that was handed in: `new` is False where the same bytes were there before."""

    id: str
    new: bool


@dataclass(frozen=True)
class Record:
    """What the store knows of one submission. `report` is that of the newest verification, or None."""

    number: int
    id: str
    board: str
    owner: str
    received: str
    card: Mapping[str, Any]
    files: Mapping[str, str]
    withdrawn: str | None
    reason: str | None
    report: Mapping[str, Any] | None
    verified: str | None

    @property
    def tier(self) -> Tier | None:
        return self.report["tier"] if self.report else None


@dataclass(frozen=True)
class State:
    """What changes whenever anything on a board does; equal states show equal boards."""

    submissions: int
    withdrawn: int
    verification: int


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def open_store(root: Path, url: str | None = None, create: bool = True) -> Store:
    """The store in the folder `root`, its tables brought up to date. Raises UsageError."""
    if not create and not root.is_dir():
        raise UsageError(f"{root} is no store: `neuromas leaderboard submit` makes one")
    root.mkdir(parents=True, exist_ok=True)
    return Store(root, Database.open(root, url))


class Store:
    """Submissions, verifications and scores."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root, self.database = root, database
        self.files = ContentFiles(root / "files")

    def close(self) -> None:
        self.database.close()

    # ------------------------------------------------------------------ handing in

    def submit(self, folder: Path, owner: str, received: str | None = None) -> Submitted:
        """Take the submission in `folder`. Raises RefusedError where tier 0 is not passed."""
        report = verify(folder, "T0")
        if report.findings:
            raise RefusedError(report.findings)
        hashes = {name: self.files.add(folder / name) for name in FILES}
        identity = submission_id(hashes.values())
        card, found = read_card(self.files.path(hashes[CARD]))
        if card is None or identity != report.submission_id:
            raise RefusedError(found or [Finding(FILE_FAULT, "the files changed while they were read")])
        values = {
            "id": identity,
            "board": board_key(card.task),
            "owner": owner,
            "received": received or now(),
            "card": card.model_dump(mode="json"),
            "files": hashes,
        }
        return Submitted(identity, self._insert(values, card.task))

    def _insert(self, values: Mapping[str, Any], task: TaskCard) -> bool:
        """Whether the submission is new. Two that hand in the same at once are told apart by the database."""
        for _ in range(2):
            try:
                with self.database.writing() as session:
                    if session.scalar(select(SubmissionTable.number).where(SubmissionTable.id == values["id"])):
                        return False
                    if session.get(BoardTable, values["board"]) is None:
                        session.execute(insert(BoardTable).values(key=values["board"], task=task.model_dump()))
                    session.execute(insert(SubmissionTable).values(**values))
                    return True
            except IntegrityError:
                continue  # another process was first, with the submission or with its board
        return False

    def bury(self, identity: str, owner: str, received: str, card: Mapping[str, Any], files: Mapping[str, str]) -> None:
        """Enter a submission whose files are gone, to be withdrawn at once: what an export keeps of a withdrawn one."""
        task = TaskCard.model_validate(card["task"])
        values = {"id": identity, "board": board_key(task), "owner": owner, "received": received, "card": dict(card)}
        self._insert({**values, "files": dict(files)}, task)

    def withdraw(self, identity: str, reason: str, at: str | None = None) -> None:
        """Take a submission off its board for good; its id, its names and the reason stay. Raises UsageError."""
        if not reason.strip():
            raise UsageError("a withdrawal needs a reason: it stays where the submission was")
        with self.database.writing() as session:
            number = _number(session, identity)
            session.execute(
                update(SubmissionTable)
                .where(SubmissionTable.number == number, SubmissionTable.withdrawn.is_(None))
                .values(withdrawn=at or now(), reason=reason.strip())
            )

    # ------------------------------------------------------------------ verification

    @contextmanager
    def folder(self, identity: str) -> Iterator[Path]:
        """The submission as a folder, for as long as it is needed."""
        record = self.record(identity)
        work = Path(tempfile.mkdtemp(prefix="checking-", dir=self.root))
        try:
            for name, sha256 in record.files.items():
                self.files.give(sha256, work / name)
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def verify(self, identity: str, upto: Tier = "T2", **options: Any) -> Report:
        """Check a submission (see `verify`) and keep what was found."""
        with self.folder(identity) as folder:
            report = verify(folder, upto, **options)
        self.keep(identity, report)
        return report

    def keep(self, identity: str, report: Report) -> None:
        """Add a verification, and its scores where this scorer has given none yet.

        Raises UsageError where the same scorer gave other scores before: one of the two is then not what it says.
        """
        self.restore(identity, now(), report.to_json(), report.scores)

    def restore(self, identity: str, at: str, report: Mapping[str, Any], scores: Scores) -> None:
        """Add a verification of an earlier time, as `keep` does."""
        scorer, tier = report["scorer"], report["tier"]
        with self.database.writing() as session:
            number = _number(session, identity)
            session.execute(
                insert(VerificationTable).values(submission=number, at=at, scorer=scorer, tier=tier, report=report)
            )
            if scores and tier is not None and tier >= "T1":
                self._keep_scores(session, number, scorer, scores)

    def _keep_scores(self, session: Session, number: int, name: str, scores: Scores) -> None:
        scorer = session.scalar(select(ScorerTable.number).where(ScorerTable.name == name))
        if scorer is None:
            session.execute(insert(ScorerTable).values(name=name))
            scorer = session.scalar(select(ScorerTable.number).where(ScorerTable.name == name))
            assert scorer is not None
        before = _scores(session, number, scorer)
        if before:
            if before != dict(scores):
                raise UsageError(f"{name} gave other scores before: scores are never written over")
            return
        rows = [
            {"submission": number, "scorer": scorer, "seed": seed, "question": question, "value": value}
            for (seed, question), value in scores.items()
        ]
        for start in range(0, len(rows), SCORES_AT_ONCE):
            session.execute(insert(ScoreTable), rows[start : start + SCORES_AT_ONCE])

    def unverified(self) -> list[str]:
        """Submissions that nobody checked yet, oldest first."""
        with self.database.reading() as session:
            checked = select(VerificationTable.submission)
            wanted = SubmissionTable.number.not_in(checked), SubmissionTable.withdrawn.is_(None)
            return list(session.scalars(select(SubmissionTable.id).where(*wanted).order_by(SubmissionTable.number)))

    # ------------------------------------------------------------------ reading

    def boards(self) -> dict[str, dict[str, Any]]:
        """The task of every board, by its key."""
        with self.database.reading() as session:
            return {row.key: row.task for row in session.scalars(select(BoardTable).order_by(BoardTable.key))}

    def state(self, board: str | None = None) -> State:
        """What to compare, to know whether a board (or any) is still the same."""
        on = [] if board is None else [SubmissionTable.board == board]
        with self.database.reading() as session:
            submissions, withdrawn = session.execute(
                select(func.count(SubmissionTable.number), func.count(SubmissionTable.withdrawn)).where(*on)
            ).one()
            newest = select(func.max(VerificationTable.number))
            if board is not None:
                newest = newest.join(SubmissionTable, SubmissionTable.number == VerificationTable.submission).where(*on)
            return State(submissions, withdrawn, session.scalar(newest) or 0)

    def records(self, board: str | None = None, after: int = 0) -> list[Record]:
        """All submissions of a board, or of all, in the order in which they came, those after number `after`."""
        wanted = [SubmissionTable.number > after]
        if board is not None:
            wanted.append(SubmissionTable.board == board)
        return self._records(*wanted)

    def record(self, identity: str) -> Record:
        """One submission. Raises UnknownSubmissionError."""
        found = self._records(SubmissionTable.id == identity)
        if not found:
            raise UnknownSubmissionError(f"no submission {identity[:64]!r}")
        return found[0]

    def find(self, start: str) -> str:
        """The id that begins with `start`, as people shorten it. Raises UnknownSubmissionError."""
        with self.database.reading() as session:
            wanted = SubmissionTable.id.startswith(start, autoescape=True)
            found = list(session.scalars(select(SubmissionTable.id).where(wanted).limit(2)))
        if len(found) != 1 or len(start) < 6:
            reason = "several begin so" if len(found) > 1 else "at least 6 characters of an id are needed"
            raise UnknownSubmissionError(f"no submission {start[:64]!r}" + (f": {reason}" if found else ""))
        return found[0]

    def _records(self, *wanted: Any) -> list[Record]:
        newest = (
            select(VerificationTable.submission, func.max(VerificationTable.number).label("number"))
            .group_by(VerificationTable.submission)
            .subquery()
        )
        query = (
            select(SubmissionTable, VerificationTable)
            .outerjoin(newest, newest.c.submission == SubmissionTable.number)
            .outerjoin(VerificationTable, VerificationTable.number == newest.c.number)
            .where(*wanted)
            .order_by(SubmissionTable.number)
        )
        with self.database.reading() as session:
            return [
                Record(
                    row.number, row.id, row.board, row.owner, row.received, row.card, row.files, row.withdrawn,
                    row.reason, None if checked is None else checked.report, None if checked is None else checked.at,
                )
                for row, checked in session.execute(query)
            ]  # fmt: skip

    def verifications(self, identity: str) -> list[tuple[str, Mapping[str, Any]]]:
        """When a submission was checked and what was found, oldest first."""
        with self.database.reading() as session:
            query = (
                select(VerificationTable.at, VerificationTable.report)
                .join(SubmissionTable, SubmissionTable.number == VerificationTable.submission)
                .where(SubmissionTable.id == identity)
                .order_by(VerificationTable.number)
            )
            return [(at, report) for at, report in session.execute(query)]

    def scores(self, record: Record) -> np.ndarray | None:
        """The values of the newest verification's scorer, [S, Q] in the order of the card's seeds, or None."""
        if record.report is None:
            return None
        with self.database.reading() as session:
            scorer = session.scalar(select(ScorerTable.number).where(ScorerTable.name == record.report["scorer"]))
            found = {} if scorer is None else _scores(session, record.number, scorer)
        if not found:
            return None
        seeds, questions = record.card["seeds"], record.card["task"]["questions"]
        return np.array([[found[seed, question] for question in range(questions)] for seed in seeds])

    def all_scores(self, record: Record) -> dict[str, Scores]:
        """Everything that any scorer gave a submission, by scorer."""
        with self.database.reading() as session:
            scorers = session.execute(
                select(ScorerTable.name, ScorerTable.number).where(
                    ScorerTable.number.in_(select(ScoreTable.scorer).where(ScoreTable.submission == record.number))
                )
            ).all()
            return {name: _scores(session, record.number, number) for name, number in scorers}

    def attempts(self, record: Record) -> int:
        """How many submissions the same owner has handed in on the same board, withdrawn ones included."""
        same = SubmissionTable.board == record.board, SubmissionTable.owner == record.owner
        with self.database.reading() as session:
            return session.scalar(select(func.count(SubmissionTable.number)).where(*same)) or 0


def _number(session: Session, identity: str) -> int:
    number = session.scalar(select(SubmissionTable.number).where(SubmissionTable.id == identity))
    if number is None:
        raise UnknownSubmissionError(f"no submission {identity[:64]!r}")
    return number


def _scores(session: Session, number: int, scorer: int) -> dict[tuple[int, int], float]:
    query = select(ScoreTable.seed, ScoreTable.question, ScoreTable.value).where(
        ScoreTable.submission == number, ScoreTable.scorer == scorer
    )
    return {(seed, question): value for seed, question, value in session.execute(query)}
