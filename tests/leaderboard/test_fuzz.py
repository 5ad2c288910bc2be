"""Whatever is asked and whatever is handed in: no failure of the server, no text that is not escaped."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

pytest.importorskip("fastapi")
pytest.importorskip("schemathesis")

import schemathesis
from made import make_submission, read
from schemathesis.checks import not_a_server_error
from serving import served

from leaderboard.reading import strict_json
from leaderboard.server import Settings
from leaderboard.server.tokens import create_token
from leaderboard.store import Store, open_store
from leaderboard.submission import FILES
from leaderboard.verify import verify

OFTEN = 10_000_000
EASY = Settings(OFTEN, OFTEN, OFTEN, most_bytes=2**22, verify=False)
EXAMPLES = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much,
                                                           HealthCheck.data_too_large])  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, submissions: list[Path]
) -> Iterator[tuple[str, str, Store]]:
    """A server with two submissions, and a token for it."""
    url = None
    if request.param == "postgresql":
        import psycopg

        server = request.getfixturevalue("postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("CREATE DATABASE fuzzed")
        url = f"{server.rpartition('/')[0]}/fuzzed"
    store = open_store(tmp_path_factory.mktemp("fuzz") / "store", url)
    for folder in submissions[:2]:
        store.verify(store.submit(folder, "ada").id)
    with served(store, EASY) as where:
        yield where, create_token(store, "ada", ["submit", "maintain"]), store
    store.close()


def test_no_request_that_the_document_allows_or_not_makes_the_server_fail(address: tuple[str, str, Store]) -> None:
    url, token, _ = address
    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:
        for mode in schemathesis.GenerationMode:

            @EXAMPLES
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=[not_a_server_error])

            try:
                ask()
            except Unsatisfiable:  # there is no wrong way to ask for what takes no parameters
                assert mode is schemathesis.GenerationMode.NEGATIVE


@EXAMPLES
@given(path=st.text(max_size=60), query=st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4))
def test_no_page_fails(address: tuple[str, str, Store], path: str, query: dict[str, str]) -> None:
    url, _, store = address
    (key,) = store.boards()
    with httpx.Client(base_url=url) as client:
        for place in ("/", "/boards/", f"/boards/{key}?track=", "/methods/", "/submissions/", "/compare?first="):
            try:
                asked = client.build_request("GET", place + httpx.URL("/", params={"q": path}).query.decode()[2:])
            except httpx.InvalidURL:
                continue
            assert client.send(asked).status_code < 500
        try:
            assert client.get(f"/boards/{key}", params=query).status_code < 500
        except (httpx.InvalidURL, UnicodeEncodeError):
            return


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("whole") / "one"
    make_submission(folder, questions=3, seeds=1)
    return read(folder)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield (*path, name)
        yield from places(each, (*path, name))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A JSON value with another one at a path."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(value[path[0]], path[1:], new)
    return copied


@settings(EXAMPLES, max_examples=100)
@given(data=st.data())
def test_any_value_anywhere_is_told_or_harmless(
    whole: tuple[dict[str, Any], list[dict[str, Any]]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`verify` never raises; what it lets through as T2 says the same scores as the whole submission."""
    card, rows = whole
    document = {"card": card, "rows": rows}
    path = data.draw(st.sampled_from(sorted(places(document), key=str)))
    changed = put(document, path, data.draw(VALUES))
    folder = tmp_path_factory.mktemp("changed")
    (folder / "submission.json").write_text(json.dumps(changed["card"]))
    lines = changed["rows"] if isinstance(changed["rows"], list) else [changed["rows"]]
    (folder / "episodes.jsonl.gz").write_bytes(gzip.compress(b"".join(json.dumps(r).encode() + b"\n" for r in lines)))
    (folder / "artifacts.json").write_text('{"files": []}')
    report = verify(folder)
    told = json.dumps(report.to_json(), allow_nan=False)
    assert "\u202e" not in told
    if report.tier is not None and report.tier >= "T1" and path[0] == "rows":
        assert report.accuracy == card["claimed"]["accuracy"]


@settings(EXAMPLES, max_examples=25)
@given(files=st.fixed_dictionaries({name: st.binary(max_size=200) for name in FILES}), pack=st.booleans())
def test_any_bytes_are_refused_and_never_fail(
    files: dict[str, bytes], pack: bool, address: tuple[str, str, Store]
) -> None:
    url, token, store = address
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
        made = client.post("/api/v1/uploads").json()["upload"]
        for name, data in files.items():
            body = gzip.compress(data) if pack and name.endswith(".gz") else data
            assert client.put(f"/api/v1/uploads/{made}/files/{name}", content=body).status_code == 200
        answer = client.post(f"/api/v1/uploads/{made}/finalize")
        assert answer.status_code == 422
        assert answer.json()["findings"]
    for folder in (store.root / "uploads").iterdir():
        for file in folder.iterdir():
            file.unlink()


@given(st.recursive(st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_strict_json_is_json_without_what_json_has_not(value: Any) -> None:
    def finite(each: Any) -> bool:
        return all(map(finite, each)) if isinstance(each, list) else not isinstance(each, float) or math.isfinite(each)

    text = json.dumps(value).encode()
    if finite(value):
        assert strict_json(text) == value
    else:
        with pytest.raises(ValueError, match="no number of JSON"):
            strict_json(text)
