"""The server: pages that work without JavaScript, and an API whose OpenAPI document is at /api/openapi.json.

    app = create_app(store, Settings())

Nothing that a submission says is run, fetched or used as a path. Every answer carries a content policy without scripts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from neuromas_env.errors import NeuromasError

from ..reading import shown
from ..site import Pages, ServerLinks
from ..store import RefusedError, Store, UnknownSubmissionError
from ..views import UnknownBoardError, Views
from .api import router as api
from .limits import RateLimit, address
from .pages import router as pages
from .uploads import TooLargeError, UnknownUploadError, Uploads
from .verifier import Checking, Verifier

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
STATUS = {
    RefusedError: 422,
    UnknownSubmissionError: 404,
    UnknownBoardError: 404,
    UnknownUploadError: 404,
    TooLargeError: 413,
}
SMALL_BODY = 64 * 1024
"""Bytes that are taken where no file is expected."""


@dataclass(frozen=True)
class Settings:
    """Limits and ways of a server. Rates are requests a minute, of one address or one token."""

    read_rate: int = 600
    write_rate: int = 300
    wrong_token_rate: int = 20
    most_bytes: int = 2 * 2**30
    checking: Checking = field(default_factory=Checking)
    database: str | None = None
    verify: bool = True


def create_app(store: Store, settings: Settings = Settings()) -> FastAPI:
    """The application for one store."""
    verifier = Verifier(store, settings.database, settings.checking) if settings.verify else None
    uploads = Uploads(store, settings.most_bytes)

    @asynccontextmanager
    async def alive(app: FastAPI) -> AsyncIterator[None]:
        uploads.clear_parts()
        if verifier:
            verifier.start()
        yield
        if verifier:
            verifier.stop()

    app = FastAPI(
        title="neuromas leaderboard",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=alive,
    )
    views = Views(store)
    app.state.store, app.state.uploads, app.state.views, app.state.pages = store, uploads, views, Pages(views)
    app.state.wake = verifier.wake if verifier else (lambda: None)
    app.state.read_rate, app.state.write_rate = RateLimit(settings.read_rate), RateLimit(settings.write_rate)
    app.state.wrong_token_rate = RateLimit(settings.wrong_token_rate)
    app.include_router(api)
    app.include_router(pages)
    _answer_errors(app)
    app.middleware("http")(guard)
    return app


async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """Rates and sizes before anything is done; headers on everything that is answered."""
    wait = request.app.state.read_rate.wait(address(request))
    length = request.headers.get("content-length", "0")
    streamed = request.method == "PUT"
    if wait:
        response = told(request, 429, "too many requests", {"Retry-After": str(int(wait) + 1)})
    elif not streamed and (not length.isdecimal() or int(length) > SMALL_BODY or "chunked" in _coding(request)):
        response = told(request, 413, f"at most {SMALL_BODY:,} bytes are taken here, and their number must be told")
    else:
        response = await go_on(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _coding(request: Request) -> str:
    return request.headers.get("transfer-encoding", "")


def told(request: Request, status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """An error as a page or as JSON, by who asks."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": message, **more}, status, headers)
    titles = {404: "Not found", 429: "Too many requests"}
    page = request.app.state.pages.error(titles.get(status, "This cannot be shown"), message, ServerLinks())
    return HTMLResponse(page, status, headers)


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(NeuromasError)
    async def known(request: Request, error: NeuromasError) -> Response:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
        more: dict[str, Any] = {}
        if isinstance(error, RefusedError):
            more = {"findings": [{"code": f.code.id, "row": f.row, "message": f.message} for f in error.findings]}
        return told(request, status, str(error), None, **more)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        return told(request, error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()[:10]]
        return told(request, 422, shown("; ".join(faults))[1:-1])
