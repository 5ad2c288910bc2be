"""The database: SQLite in the store's folder, or PostgreSQL by URL, brought up to date when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session

from neuromas_env.errors import UsageError

SQLITE_NAME = "leaderboard.sqlite"
MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 30
PREPARE_LOCK = 7_421_605
"""Of PostgreSQL: one process at a time brings the tables up to date."""


class Database:
    """Sessions on one engine. `reading()` sees one state; `writing()` is one transaction, done whole or not at all."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, root: Path, url: str | None = None) -> Database:
        """The database at `url`, or in `root`. Raises UsageError where it cannot be reached."""
        try:
            made = make_url(url or f"sqlite:///{root / SQLITE_NAME}")
            if made.drivername in ("postgres", "postgresql"):
                made = made.set(drivername="postgresql+psycopg")
            engine = create_engine(made, pool_pre_ping=made.get_backend_name() != "sqlite")
            if made.get_backend_name() == "sqlite":
                _for_sqlite(engine)
            _upgrade(engine)
        except (ArgumentError, OperationalError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"--database: {reason}; sqlite:///FILE or postgresql://USER@HOST/NAME is needed") from None
        return cls(engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with Session(self.engine.execution_options(write=True)) as session, session.begin():
            yield session

    def close(self) -> None:
        self.engine.dispose()


def _for_sqlite(engine: Engine) -> None:
    """Readers beside a writer, writers that wait for each other, and every commit on disk."""

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_SECONDS}000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and then writes cannot wait for another writer: it would see an old state.
        writes = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(engine: Engine) -> None:
    with engine.execution_options(write=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({PREPARE_LOCK})")
        command.upgrade(_config(connection), "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
