"""The API: create, upload, finalize, read, compare, withdraw, schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from neuromas_env.text import visible

from ..schemas import schema
from ..store import Record
from ..submission import EPISODES, FILES, MODELS
from ..views import Views
from .limits import address
from .pages import Asked
from .tokens import Holder, holder_of

router = APIRouter(prefix="/api/v1")
SubmissionId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
AskedId = Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")]
UploadId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
FileName = Literal["submission.json", "episodes.jsonl.gz", "artifacts.json"]
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "what was asked makes no sense"},
    404: {"description": "there is no such thing"},
    413: {"description": "too large"},
    422: {"description": "it is refused; `findings` or `error` say why"},
    429: {"description": "too many requests; Retry-After says when to ask again"},
}
DENIED: dict[int | str, dict[str, Any]] = {
    401: {"description": "a token is needed"},
    403: {"description": "the token is not good for this"},
    **ERRORS,
}


BYTES = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


class Created(BaseModel):
    """A new upload, and the names of the files that it needs."""

    upload: str
    files: list[str]


class Received(BaseModel):
    name: str
    bytes: int


class Finalized(BaseModel):
    """The id of the submission; `new` is false where the same bytes were handed in before."""

    submission: str
    new: bool


class Withdrawal(BaseModel):
    reason: str = Field(min_length=1, max_length=2000)


def holder(request: Request) -> Holder:
    """Who asks, by the header `Authorization: Bearer TOKEN`."""
    state = request.app.state
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    found = holder_of(state.store, token.strip()) if kind.lower() == "bearer" else None
    if found is None:
        if wait := state.wrong_token_rate.wait(address(request)):
            raise HTTPException(429, "too many wrong tokens", {"Retry-After": str(int(wait) + 1)})
        raise HTTPException(401, "a valid token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
    if wait := state.write_rate.wait(found.id):
        raise HTTPException(429, "too many requests with this token", {"Retry-After": str(int(wait) + 1)})
    return found


def submitter(found: Annotated[Holder, Depends(holder)]) -> Holder:
    if not found.scopes & {"submit", "maintain"}:
        raise HTTPException(403, "the token is not good for handing in")
    return found


Submitter = Annotated[Holder, Depends(submitter)]


# ---------------------------------------------------------------------- handing in


@router.post("/uploads", status_code=201, responses=DENIED)
def create_upload(request: Request, who: Submitter) -> Created:
    """Begin a submission."""
    return Created(upload=request.app.state.uploads.create(who.name), files=list(FILES))


@router.put("/uploads/{upload}/files/{name}", responses=DENIED, openapi_extra=BYTES)
async def upload_file(request: Request, upload: UploadId, name: FileName, who: Submitter) -> Received:
    """One of the three files, as the body. A file that is sent again takes the place of the one before."""
    uploads = request.app.state.uploads
    folder = await run_in_threadpool(uploads.folder, upload, who.name)
    return Received(name=name, bytes=await uploads.receive(folder, name, request.stream()))


@router.post("/uploads/{upload}/finalize", responses=DENIED)
def finalize(request: Request, upload: UploadId, who: Submitter) -> Finalized:
    """Hand the upload in. It is refused, with all findings, where tier 0 is not passed; the rest is checked after."""
    made = request.app.state.uploads.finalize(upload, who.name)
    request.app.state.wake()
    return Finalized(submission=made.id, new=made.new)


@router.post("/submissions/{identity}/withdraw", responses=DENIED)
def withdraw(request: Request, identity: SubmissionId, said: Withdrawal, who: Submitter) -> dict[str, Any]:
    """Take a submission off its board. Its id, its name and the reason stay."""
    store = request.app.state.store
    record = store.record(identity)
    if record.owner != who.name and "maintain" not in who.scopes:
        raise HTTPException(403, "only its owner and maintainers can withdraw a submission")
    store.withdraw(identity, visible(said.reason))
    return submission_json(request, store.record(identity))


# ---------------------------------------------------------------------- reading


@router.get("/boards", responses=ERRORS)
def boards(request: Request) -> list[dict[str, Any]]:
    """All boards."""
    return [
        {
            "board": each.key,
            "label": each.label,
            "task": dict(each.task),
            "submissions": each.submissions,
            "ranked": each.ranked,
            "best": each.best.to_json() if each.best else None,
        }
        for each in request.app.state.views.boards()
    ]


@router.get("/boards/{key}", responses=ERRORS)
def board(request: Request, key: str, query: Asked) -> dict[str, Any]:
    """One page of a board, with ranks, intervals and costs."""
    made: dict[str, Any] = request.app.state.views.board(key, query).to_json()
    return made


@router.get("/submissions/{identity}", responses=ERRORS)
def submission(request: Request, identity: SubmissionId) -> dict[str, Any]:
    """A submission's card, what its verifications found, and its accuracy by seed."""
    return submission_json(request, request.app.state.store.record(identity))


def submission_json(request: Request, record: Record) -> dict[str, Any]:
    views: Views = request.app.state.views
    entry = None if record.withdrawn else views.entry(record)
    return {
        "id": record.id,
        "board": record.board,
        "owner": record.owner,
        "received": record.received,
        "withdrawn": record.withdrawn,
        "reason": record.reason,
        "files": dict(record.files),
        "card": None if record.withdrawn else dict(record.card),
        "entry": entry.to_json() if entry else None,
        "by_seed": {str(seed): accuracy for seed, accuracy in views.by_seed(record)} if entry else {},
        "attempts": views.store.attempts(record),
        "verifications": [{"at": at, **report} for at, report in views.store.verifications(record.id)],
    }


@router.get("/submissions/{identity}/files/{name}", responses=ERRORS, response_class=FileResponse)
def read_file(request: Request, identity: SubmissionId, name: FileName) -> Response:
    """One of the three files, as it was handed in."""
    store = request.app.state.store
    record = store.record(identity)
    if record.withdrawn:
        raise HTTPException(404, "the submission was withdrawn: its files are no longer given out")
    kind = "application/gzip" if name == EPISODES else "application/json"
    return FileResponse(store.files.path(record.files[name]), media_type=kind, filename=f"{identity[:16]}-{name}")


@router.get("/compare", responses=ERRORS)
def compare(request: Request, first: AskedId, second: AskedId) -> dict[str, Any]:
    """Two submissions of one board, paired by question."""
    made: dict[str, Any] = request.app.state.views.compare(first, second).to_json()
    return made


@router.get("/schemas/{name}", responses=ERRORS)
def read_schema(name: str) -> Response:
    """The JSON Schema of one of the files: submission, episode or artifacts."""
    if name not in MODELS:
        raise HTTPException(404, f"there are the schemas {', '.join(MODELS)}")
    return JSONResponse(schema(name), media_type="application/schema+json")
