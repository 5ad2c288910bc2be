"""Handing a submission in: to a store in a folder, or to a server over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neuromas_env.errors import UsageError

from .submission import FILES

CHUNK = 1 << 20
PATIENCE_SECONDS = 600


def hand_in(folder: Path, server: str, token: str) -> tuple[str, bool]:
    """Upload and finalize; the submission's id, and whether it is new. Raises UsageError with what the server says."""
    import httpx

    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"{folder} is no submission: it lacks {', '.join(missing)}")
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=server, headers=headers, timeout=PATIENCE_SECONDS) as client:
            upload = _said(client.post("/api/v1/uploads"))["upload"]
            for name in FILES:
                _said(client.put(f"/api/v1/uploads/{upload}/files/{name}", content=_pieces(folder / name)))
            made = _said(client.post(f"/api/v1/uploads/{upload}/finalize"))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UsageError(f"--to {server}: {error or type(error).__name__}") from None
    return made["submission"], made["new"]


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def _said(response: Any) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not response.is_success:
        findings = [f"  {each['code']}: {each['message']}" for each in body.get("findings", [])[:20]]
        reason = body.get("error", response.reason_phrase)
        raise UsageError("\n".join([f"the server refused ({response.status_code}): {reason}", *findings]))
    found: Mapping[str, Any] = body
    return found
