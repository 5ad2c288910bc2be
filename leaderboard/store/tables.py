"""The tables of the store. Submissions, scores and verifications are only ever added; a withdrawal fills two columns.

Times are texts such as 2026-11-25T18:00:00Z: they sort, and every database keeps them alike. The migrations under
`migrations/` make these tables; a test holds the two to each other.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

HASH, TIME, NAME = String(64), String(20), String(300)


class Base(DeclarativeBase):
    """What all tables share."""


class BoardTable(Base):
    """One task, difficulty, split and number of questions: what can be compared with each other."""

    __tablename__ = "boards"

    key: Mapped[str] = mapped_column(String(120), primary_key=True)
    task: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The `task` of the cards on it."""


class SubmissionTable(Base):
    __tablename__ = "submissions"

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    id: Mapped[str] = mapped_column(HASH, unique=True)
    board: Mapped[str] = mapped_column(ForeignKey("boards.key"), index=True)
    owner: Mapped[str] = mapped_column(NAME, index=True)
    """Who handed it in: the name of the token, or of the person at the store."""
    received: Mapped[str] = mapped_column(TIME)
    card: Mapped[dict[str, Any]] = mapped_column(JSON)
    files: Mapped[dict[str, str]] = mapped_column(JSON)
    """SHA-256 by file name."""
    withdrawn: Mapped[str | None] = mapped_column(TIME)
    reason: Mapped[str | None] = mapped_column(Text)


class VerificationTable(Base):
    """What one check of a submission found. The newest counts."""

    __tablename__ = "verifications"

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    submission: Mapped[int] = mapped_column(ForeignKey("submissions.number"), index=True)
    at: Mapped[str] = mapped_column(TIME)
    scorer: Mapped[str] = mapped_column(NAME)
    tier: Mapped[str | None] = mapped_column(String(2))
    report: Mapped[dict[str, Any]] = mapped_column(JSON)


class ScorerTable(Base):
    """A task in a version of this package: by whom answers were judged."""

    __tablename__ = "scorers"

    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)


class ScoreTable(Base):
    """The value of one answer, by one scorer."""

    __tablename__ = "scores"

    submission: Mapped[int] = mapped_column(ForeignKey("submissions.number"), primary_key=True)
    scorer: Mapped[int] = mapped_column(ForeignKey("scorers.number"), primary_key=True)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    question: Mapped[int] = mapped_column(Integer, primary_key=True)
    value: Mapped[float] = mapped_column(Float)


class TokenTable(Base):
    """Who may hand in. Of the token itself only a hash is kept."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    sha256: Mapped[str] = mapped_column(HASH)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created: Mapped[str] = mapped_column(TIME)
    revoked: Mapped[str | None] = mapped_column(TIME)

    __table_args__ = (UniqueConstraint("sha256"),)


class UploadTable(Base):
    """A submission on its way: its files lie in a folder of the same name until it is finalized."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(NAME, index=True)
    created: Mapped[str] = mapped_column(TIME)
