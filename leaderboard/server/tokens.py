"""Who may hand in: tokens with scopes, of which the store keeps hashes only.

A token reads `nm_ID_SECRET`. It has 256 bits of chance in it, so a plain SHA-256 is as good as a slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select, update

from neuromas_env.errors import UsageError
from neuromas_env.text import visible

from ..store import Store, now
from ..store.tables import TokenTable

SCOPES = {"submit": "hand in submissions, and withdraw one's own", "maintain": "withdraw any submission"}
NOBODY = "0" * 64


@dataclass(frozen=True)
class Holder:
    """Whose token it is, and what it is good for."""

    id: str
    name: str
    scopes: frozenset[str]


def create_token(store: Store, name: str, scopes: Sequence[str] = ("submit",)) -> str:
    """A new token, shown this once. Raises UsageError for a scope that is none, or a name that is."""
    for scope in scopes:
        if scope not in SCOPES:
            raise UsageError(f"--scope {scope}: {' or '.join(SCOPES)} is needed")
    if not name.strip() or len(name) > 100 or visible(name) != name:
        raise UsageError("--name: 1 to 100 characters in one line are needed")
    identity, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    token = f"nm_{identity}_{secret}"
    with store.database.writing() as session:
        session.execute(
            insert(TokenTable).values(
                id=identity, name=name.strip(), sha256=_hash(token), scopes=list(scopes), created=now()
            )
        )
    return token


def revoke_token(store: Store, identity: str) -> None:
    """Make a token worthless. `identity` is its middle part. Raises UsageError."""
    with store.database.writing() as session:
        if session.scalar(select(TokenTable.id).where(TokenTable.id == identity)) is None:
            raise UsageError(f"no token {identity[:40]!r}")
        session.execute(update(TokenTable).where(TokenTable.id == identity).values(revoked=now()))


def holder_of(store: Store, token: str) -> Holder | None:
    """Who holds a token, or None. Whether it is unknown, wrong or revoked takes the same time and is not told."""
    match = re.fullmatch(r"nm_([0-9a-f]{16})_[A-Za-z0-9_-]{20,100}", token)
    with store.database.reading() as session:
        row = session.get(TokenTable, match.group(1) if match else "-")
        same = hmac.compare_digest(_hash(token), row.sha256 if row else NOBODY)
        if row is None or not same or row.revoked:
            return None
        return Holder(row.id, row.name, frozenset(row.scopes))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
