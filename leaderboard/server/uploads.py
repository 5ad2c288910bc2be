"""Submissions on their way: streamed to files under the server's own names, and taken over when finalized."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, func, insert, select

from neuromas_env.errors import UsageError

from ..reading import ACCEPTED
from ..store import Store, Submitted, now
from ..store.tables import UploadTable
from ..submission import ARTIFACTS, CARD, EPISODES

MOST_OPEN = 200
"""Uploads of one owner that may be open at once."""
STALE_HOURS = 24


class TooLargeError(UsageError):
    """A file with more bytes than are taken."""


class UnknownUploadError(UsageError):
    """No upload of this id, or not this owner's."""


class Uploads:
    """The uploads of a store. One that is not finalized within a day is dropped."""

    def __init__(self, store: Store, most_bytes: int) -> None:
        self.store = store
        self.root = store.root / "uploads"
        self.root.mkdir(exist_ok=True)
        self.limits = {
            CARD: min(most_bytes, ACCEPTED.card),
            EPISODES: min(most_bytes, ACCEPTED.compressed),
            ARTIFACTS: min(most_bytes, ACCEPTED.artifacts),
        }

    def create(self, owner: str) -> str:
        """A new upload; its id. Raises UsageError where the owner has too many open ones."""
        self.drop_stale()
        identity = secrets.token_hex(16)
        with self.store.database.writing() as session:
            count = session.scalar(select(func.count(UploadTable.id)).where(UploadTable.owner == owner)) or 0
            if count >= MOST_OPEN:
                raise UsageError(f"{count} uploads are open already: finalize them first, or wait a day")
            session.execute(insert(UploadTable).values(id=identity, owner=owner, created=now()))
        (self.root / identity).mkdir()
        return identity

    def folder(self, identity: str, owner: str) -> Path:
        """Where an upload's files lie. Raises UnknownUploadError."""
        with self.store.database.reading() as session:
            row = session.get(UploadTable, identity)
        if row is None or row.owner != owner or not (self.root / identity).is_dir():
            raise UnknownUploadError(f"no upload {identity[:40]!r} of yours is open")
        return self.root / identity

    async def receive(self, folder: Path, name: str, stream: AsyncIterator[bytes]) -> int:
        """Write one file as it comes; its bytes. Raises TooLargeError, and keeps nothing of it then."""
        part = folder.parent / f"{folder.name}-{secrets.token_hex(8)}.part"
        size = 0
        try:
            with part.open("wb") as file:
                async for piece in stream:
                    size += len(piece)
                    if size > self.limits[name]:
                        raise TooLargeError(f"{name} has more than {self.limits[name]:,} bytes")
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, folder / name)
        finally:
            part.unlink(missing_ok=True)
        return size

    def finalize(self, identity: str, owner: str) -> Submitted:
        """Take the upload over as a submission. Raises RefusedError, and leaves the upload as it is then."""
        made = self.store.submit(self.folder(identity, owner), owner)
        self._drop(identity)
        return made

    def drop_stale(self) -> None:
        """Forget uploads that nobody finalized, and files that no upload has."""
        oldest = (datetime.now(UTC) - timedelta(hours=STALE_HOURS)).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self.store.database.reading() as session:
            stale = list(session.scalars(select(UploadTable.id).where(UploadTable.created < oldest)))
        for identity in stale:
            self._drop(identity)

    def clear_parts(self) -> None:
        """Remove what a killed server left of files that were coming in. For the start, when none are."""
        for part in self.root.glob("*.part"):
            part.unlink(missing_ok=True)

    def _drop(self, identity: str) -> None:
        with self.store.database.writing() as session:
            session.execute(delete(UploadTable).where(UploadTable.id == identity))
        shutil.rmtree(self.root / identity, ignore_errors=True)
