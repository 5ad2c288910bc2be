"""Where pages are: addresses of the server, or files of an export that refer to each other."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlencode

from ..views import DEFAULT_TIER, Query

EPISODES_A_PAGE = 25


class Links(Protocol):
    """Addresses as a page writes them; None for what is not there."""

    static: bool

    def home(self) -> str: ...
    def asset(self, name: str) -> str: ...
    def board(self, key: str, query: Query) -> str | None: ...
    def board_data(self, key: str, kind: str) -> str: ...
    def submission(self, identity: str) -> str: ...
    def episodes(self, identity: str, start: int) -> str | None: ...
    def file(self, identity: str, name: str) -> str: ...
    def compare(self, first: str, second: str) -> str | None: ...
    def method(self, base: str) -> str: ...


class ServerLinks:
    """Addresses of the server."""

    static = False

    def home(self) -> str:
        return "/"

    def asset(self, name: str) -> str:
        return f"/{name}"

    def board(self, key: str, query: Query) -> str:
        asked = {
            "track": query.track,
            "tier": query.tier if query.tier != DEFAULT_TIER else None,
            "sort": query.sort if query.sort != "accuracy" else None,
            "method": query.method,
            "page": query.page if query.page > 1 else None,
        }
        chosen = urlencode({name: value for name, value in asked.items() if value})
        return f"/boards/{quote(key, safe='')}" + (f"?{chosen}" if chosen else "")

    def board_data(self, key: str, kind: str) -> str:
        return f"/boards/{quote(key, safe='')}.{kind}"

    def submission(self, identity: str) -> str:
        return f"/submissions/{identity}"

    def episodes(self, identity: str, start: int) -> str:
        return f"/submissions/{identity}/episodes?start={start}"

    def file(self, identity: str, name: str) -> str:
        return f"/api/v1/submissions/{identity}/files/{name}"

    def compare(self, first: str, second: str) -> str:
        return f"/compare?first={first}&second={second}"

    def method(self, base: str) -> str:
        return f"/methods/{quote(base, safe='')}"


@dataclass
class StaticLinks:
    """Files of an export, as seen from one that lies `depth` folders down. `pairs` are the comparisons that are made,
    `read` how many lines of a submission's episodes have pages."""

    depth: int = 0
    pairs: set[tuple[str, str]] = field(default_factory=set)
    read: int = 100
    static = True

    def below(self, depth: int) -> StaticLinks:
        return StaticLinks(depth, self.pairs, self.read)

    def _at(self, path: str) -> str:
        return "../" * self.depth + path

    def home(self) -> str:
        return self._at("index.html")

    def asset(self, name: str) -> str:
        return self._at(name)

    def board(self, key: str, query: Query) -> str | None:
        name = board_page(query)
        return None if name is None else self._at(f"boards/{key}/{name}")

    def board_data(self, key: str, kind: str) -> str:
        return self._at(f"boards/{key}/board.{kind}")

    def submission(self, identity: str) -> str:
        return self._at(f"submissions/{identity}/index.html")

    def episodes(self, identity: str, start: int) -> str | None:
        return self._at(f"submissions/{identity}/{episodes_page(start)}") if start < self.read else None

    def file(self, identity: str, name: str) -> str:
        return self._at(f"submissions/{identity}/files/{name}")

    def compare(self, first: str, second: str) -> str | None:
        return self._at(f"compare/{compare_page(first, second)}") if (first, second) in self.pairs else None

    def method(self, base: str) -> str:
        return self._at(f"methods/{method_page(base)}")


def board_page(query: Query) -> str | None:
    """The file of a board's page; None for filters and orders together, which only the server has."""
    plain = query.track is None and query.tier == DEFAULT_TIER and query.sort == "accuracy"
    filtered = query.sort == "accuracy" and (query.track is None or query.tier == DEFAULT_TIER)
    ordered = query.track is None and query.tier == DEFAULT_TIER
    if query.method or not (filtered or ordered):
        return None
    name = (
        "index"
        if plain
        else query.track or (f"from-{query.tier}" if query.tier != DEFAULT_TIER else f"by-{query.sort}")
    )
    return f"{name}{f'-{query.page}' if query.page > 1 else ''}.html"


def episodes_page(start: int) -> str:
    return f"episodes-{start // EPISODES_A_PAGE + 1}.html"


def compare_page(first: str, second: str) -> str:
    return f"{first[:16]}-{second[:16]}.html"


def method_page(base: str) -> str:
    """A file name that is safe on every system, and another one for every method."""
    safe = re.sub(r"[^A-Za-z0-9.-]+", "-", base).strip(".-")[:60]
    return f"{safe}.html" if safe == base else f"{safe}-{hashlib.sha256(base.encode()).hexdigest()[:8]}.html"
