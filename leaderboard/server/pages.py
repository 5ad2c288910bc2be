"""The pages of the server, and the files that they refer to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from ..export import board_csv
from ..site import Pages, ServerLinks
from ..site.render import ASSETS
from ..views import DEFAULT_TIER, Views
from ..views import Query as BoardQuery

LINKS = ServerLinks()
HEX = r"^[0-9a-f]{64}$"
Id = Annotated[str, Query(pattern=HEX)]
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def pages(request: Request) -> Pages:
    made: Pages = request.app.state.pages
    return made


def views(request: Request) -> Views:
    made: Views = request.app.state.views
    return made


def asked(
    track: str | None = None, tier: str = DEFAULT_TIER, sort: str = "accuracy", method: str = "", page: int = 1
) -> BoardQuery:
    """What a board's address asks for. Raises UsageError."""
    return BoardQuery(track or None, tier, sort, method[:80], page)


Asked = Annotated[BoardQuery, Depends(asked)]


@router.get("/")
def index(request: Request) -> str:
    return pages(request).index(LINKS)


@router.get("/style.css")
@router.get("/icon.svg")
def asset(request: Request) -> Response:
    name = request.url.path[1:]
    return Response(Pages.asset(name), media_type=ASSETS[name], headers={"Cache-Control": "max-age=300"})


@router.get("/boards/{key}.csv")
def board_as_csv(request: Request, key: str) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="board.csv"'}
    return PlainTextResponse(board_csv(views(request).whole(key)), media_type="text/csv", headers=headers)


@router.get("/boards/{key}.json")
def board_as_json(request: Request, key: str) -> Response:
    return JSONResponse(views(request).whole(key).to_json())


@router.get("/boards/{key}")
def board(request: Request, key: str, query: Asked) -> str:
    return pages(request).board(key, query, LINKS)


@router.get("/submissions/{identity}")
def submission(request: Request, identity: str) -> str:
    return pages(request).submission(_id(request, identity), LINKS)


@router.get("/submissions/{identity}/episodes")
def episodes(request: Request, identity: str, start: Annotated[int, Query(ge=0, le=10_000_000)] = 0) -> str:
    return pages(request).episodes(_id(request, identity), start, LINKS)


@router.get("/compare")
def compare(request: Request, first: Id, second: Id) -> str:
    return pages(request).comparison(first, second, LINKS)


@router.get("/methods/{base:path}")
def method(request: Request, base: str) -> str:
    return pages(request).method(base, LINKS)


def _id(request: Request, text: Any) -> str:
    """A submission's id, which people may shorten. Raises UnknownSubmissionError."""
    found: str = request.app.state.store.find(text if str(text).isalnum() else "-")
    return found
