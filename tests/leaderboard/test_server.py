"""The server: handing in, reading, refusing, and what it must never do."""

from __future__ import annotations

import gzip
import json
import re
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

pytest.importorskip("fastapi")

from made import make_submission, read
from serving import free_port, process, served

from leaderboard.client import hand_in
from leaderboard.server import Settings
from leaderboard.server.limits import RateLimit
from leaderboard.server.tokens import create_token, holder_of, revoke_token
from leaderboard.store import Store, open_store
from leaderboard.submission import FILES
from leaderboard.views import Query, Views
from neuromas_env.errors import UsageError

EASY = Settings(read_rate=100_000, write_rate=100_000, most_bytes=2**24, verify=False)


@dataclass
class Site:
    """A server that is up, with a token for it."""

    store: Store
    url: str
    token: str

    def client(self, token: str | None = None) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token or self.token}"}, timeout=60)


@pytest.fixture
def site(sqlite_store: Store) -> Iterator[Site]:
    with served(sqlite_store, EASY) as url:
        yield Site(sqlite_store, url, create_token(sqlite_store, "ada"))


@pytest.fixture
def both(store: Store) -> Iterator[Site]:
    """A server on SQLite, and one on PostgreSQL."""
    with served(store, EASY) as url:
        yield Site(store, url, create_token(store, "ada"))


def upload(client: httpx.Client, files: dict[str, bytes]) -> httpx.Response:
    made = client.post("/api/v1/uploads").json()["upload"]
    for name, data in files.items():
        assert client.put(f"/api/v1/uploads/{made}/files/{name}", content=data).status_code == 200
    return client.post(f"/api/v1/uploads/{made}/finalize")


def bundle(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


# ---------------------------------------------------------------------- the whole way


def test_hand_in_verify_and_read(both: Site, submissions: list[Path]) -> None:
    identity, new = hand_in(submissions[0], both.url, both.token)
    assert new
    assert hand_in(submissions[0], both.url, both.token) == (identity, False)
    with both.client() as client:
        (board,) = client.get("/api/v1/boards").json()
        assert (board["submissions"], board["ranked"]) == (1, 0)
        both.store.verify(identity)
        made = client.get(f"/api/v1/boards/{board['board']}").json()
        assert [entry["id"] for entry in made["entries"]] == [identity]
        _, rows = read(submissions[0])
        assert made["entries"][0]["accuracy"] == pytest.approx(sum(r["score"]["value"] for r in rows) / len(rows))
        assert made == json.loads(json.dumps(Views(both.store).board(board["board"]).to_json()))
        for name, data in bundle(submissions[0]).items():
            assert client.get(f"/api/v1/submissions/{identity}/files/{name}").content == data
        found = client.get(f"/api/v1/submissions/{identity}").json()
        assert found["owner"] == "ada"
        assert found["verifications"][0]["tier"] == "T2"
        for name in ("submission", "episode", "artifacts"):
            assert client.get(f"/api/v1/schemas/{name}").json()["type"] == "object"


def test_a_fault_is_refused_with_everything_that_is_wrong(site: Site, submissions: list[Path]) -> None:
    files = bundle(submissions[0])
    with site.client() as client:
        answer = upload(client, {**files, "submission.json": b'{"format": "x"}', "artifacts.json": b"NaN"})
        assert answer.status_code == 422
        assert {"NM-E004", "NM-E005"} <= {each["code"] for each in answer.json()["findings"]}
        missing = {name: data for name, data in files.items() if name != "artifacts.json"}
        answer = upload(client, missing)
        assert [each["code"] for each in answer.json()["findings"]] == ["NM-E001"]
        assert client.get("/api/v1/boards").json() == []
    assert site.store.records() == []


def test_an_upload_is_its_owners_and_ends_with_finalize(site: Site, submissions: list[Path]) -> None:
    other = create_token(site.store, "bob")
    with site.client() as mine, site.client(other) as theirs:
        made = mine.post("/api/v1/uploads").json()["upload"]
        assert theirs.put(f"/api/v1/uploads/{made}/files/submission.json", content=b"{}").status_code == 404
        assert theirs.post(f"/api/v1/uploads/{made}/finalize").status_code == 404
        for name, data in bundle(submissions[0]).items():
            mine.put(f"/api/v1/uploads/{made}/files/{name}", content=data)
        assert mine.post(f"/api/v1/uploads/{made}/finalize").json()["new"] is True
        assert mine.post(f"/api/v1/uploads/{made}/finalize").status_code == 404
    assert list((site.store.root / "uploads").iterdir()) == []


def test_withdrawal_is_for_owners_and_maintainers(both: Site, submissions: list[Path]) -> None:
    identity, _ = hand_in(submissions[0], both.url, both.token)
    second, _ = hand_in(submissions[1], both.url, both.token)
    both.store.verify(identity)
    said = {"reason": "a bug\u202e in it"}
    with both.client(create_token(both.store, "bob")) as other:
        assert other.post(f"/api/v1/submissions/{identity}/withdraw", json=said).status_code == 403
    with both.client() as mine:
        assert mine.post(f"/api/v1/submissions/{identity}/withdraw", json={"reason": ""}).status_code == 422
        assert mine.post(f"/api/v1/submissions/{identity}/withdraw", json=said).status_code == 200
        assert mine.get(f"/api/v1/submissions/{identity}").json()["card"] is None
        assert mine.get(f"/api/v1/submissions/{identity}/files/submission.json").status_code == 404
        page = mine.get(f"/submissions/{identity}").text
        assert "Withdrawn" in page
        assert "⟨U+202E⟩" in page
        assert mine.get(f"/submissions/{identity}/episodes").status_code == 200
    with both.client(create_token(both.store, "eve", ["maintain"])) as maintainer:
        assert maintainer.post(f"/api/v1/submissions/{second}/withdraw", json=said).status_code == 200


# ---------------------------------------------------------------------- who may


def test_tokens_are_kept_as_hashes_and_can_be_revoked(store: Store) -> None:
    token = create_token(store, "ada", ["submit"])
    found = holder_of(store, token)
    assert found is not None
    assert (found.name, found.scopes) == ("ada", frozenset({"submit"}))
    for wrong in ("", "nm_", token[:-1], token + "x", token.replace("nm_", "nm-"), token.upper(), "\u20ac" * 50):
        assert holder_of(store, wrong) is None
    with store.database.reading() as session:
        from sqlalchemy import text

        rows = str(session.execute(text("SELECT * FROM tokens")).all())
    assert token.rpartition("_")[2] not in rows
    revoke_token(store, token.split("_")[1])
    assert holder_of(store, token) is None
    for name, scopes in (("", ["submit"]), ("a\nb", ["submit"]), ("ada", ["root"])):
        with pytest.raises(UsageError):
            create_token(store, name, scopes)


def test_without_a_token_nothing_is_taken(site: Site) -> None:
    with httpx.Client(base_url=site.url) as client:
        for headers in ({}, {"Authorization": "Bearer nm_0_x"}, {"Authorization": f"Basic {site.token}"}):
            assert client.post("/api/v1/uploads", headers=headers).status_code == 401
    assert list((site.store.root / "uploads").iterdir()) == []


def test_a_bucket_lets_its_rate_through_and_fills_again() -> None:
    time_now = [0.0]
    limit = RateLimit(60, lambda: time_now[0])
    assert [limit.wait("a") == 0 for _ in range(61)] == [True] * 60 + [False]
    assert limit.wait("b") == 0
    assert limit.wait("a") == pytest.approx(1.0)
    time_now[0] += 2
    assert [limit.wait("a") == 0 for _ in range(3)] == [True, True, False]


def test_too_many_requests_are_told_when_to_come_again(sqlite_store: Store) -> None:
    slow = Settings(read_rate=1000, write_rate=3, wrong_token_rate=2, verify=False)
    with served(sqlite_store, slow) as url, httpx.Client(base_url=url) as client:
        wrong = [client.post("/api/v1/uploads", headers={"Authorization": "Bearer nope"}) for _ in range(4)]
        assert [each.status_code for each in wrong] == [401, 401, 429, 429]
        headers = {"Authorization": f"Bearer {create_token(sqlite_store, 'ada')}"}
        made = [client.post("/api/v1/uploads", headers=headers) for _ in range(5)]
        assert [each.status_code for each in made] == [201, 201, 201, 429, 429]
        assert int(made[-1].headers["retry-after"]) >= 1
    with served(sqlite_store, Settings(read_rate=2, verify=False)) as url, httpx.Client(base_url=url) as client:
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]


# ---------------------------------------------------------------------- what strangers send


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{7*7}}\u202e\x1b[2J"
PLAIN_ATTRIBUTES = {"href", "class", "title", "content", "name", "value", "d", "x", "y", "id", "action", "method"}


def test_html_in_every_field_is_shown_as_text(site: Site, tmp_path: Path) -> None:
    make_submission(tmp_path / "plain")
    card, _ = read(tmp_path / "plain")
    one_line = HOSTILE[:100]
    instructions = dict.fromkeys(card["system"]["topology"]["nodes"], HOSTILE)
    make_submission(
        tmp_path / "hostile",
        one_line,
        description=HOSTILE,
        authors=[{"name": one_line, "affiliation": one_line, "url": "javascript:alert(1)//" + one_line}],
        licence=one_line,
        environment={"python": one_line, "packages": {"neuromas": one_line, one_line: one_line}, "commit": None},
        system={**card["system"], "instructions": instructions, "extensions": [one_line], "method": one_line},
        track="open",
        backbone={**card["backbone"], "name": one_line, "revision": one_line, "licence": one_line},
        selection=HOSTILE,
        contamination=HOSTILE,
    )
    token = create_token(site.store, one_line[:60].replace("\u202e", "").replace("\x1b", "") or "x")
    identity, _ = hand_in(tmp_path / "hostile", site.url, token)
    other, _ = hand_in(tmp_path / "plain", site.url, site.token)
    for each in (identity, other):
        site.store.verify(each, "T1")
    (key,) = site.store.boards()
    base = next(base for base in Views(site.store).methods() if base.startswith("<"))
    attack = "<script>alert(1)</script>"
    addresses = (
        "/",
        f"/boards/{key}?tier=T1",
        f"/boards/{key}?tier=T1&method={quote(attack)}",
        f"/submissions/{identity}",
        f"/submissions/{identity}/episodes",
        f"/compare?first={identity}&second={other}",
        f"/nothing/{attack}",
        f"/boards/{quote(attack, safe='')}",
        f"/boards/{key}?sort={attack}",
    )
    with site.client() as client:
        pages = [client.get(address) for address in (*addresses, f"/methods/{quote(base, safe='')}")]
    assert pages[-1].status_code == 200
    for page in pages:
        assert page.headers["content-type"].startswith("text/html"), page.url
        assert "script-src" not in page.headers["content-security-policy"]
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not {"\u202e", "\x1b"} & set(page.text), page.url
        for tag, attributes in Tags(page.text).seen:
            assert tag not in ("script", "img", "iframe", "object", "embed", "base"), page.url
            assert not [name for name in attributes if name.startswith("on") or name == "style"], page.url
            assert not (attributes.get("href") or "").lower().startswith(("javascript:", "data:")), page.url
    assert all("{{7*7}}" in page.text for page in pages[1:5])
    assert sum("&lt;script&gt;" in page.text for page in pages) >= 5


def test_paths_and_names_lead_nowhere(both: Site) -> None:
    with both.client() as client:
        made = client.post("/api/v1/uploads").json()["upload"]
        for name in ("../evil", "..%2fevil", "%2e%2e/%2e%2e/evil", "run.py", "submission.json.part", "a" * 5000, "%00"):
            assert client.put(f"/api/v1/uploads/{made}/files/{name}", content=b"x").status_code in (404, 405, 422)
        for identity in ("..%2f..%2fleaderboard.sqlite", "%00", "0" * 63, "A" * 64, "%", "_" * 64):
            assert client.get(f"/api/v1/submissions/{identity}").status_code in (404, 422)
            assert client.get(f"/submissions/{identity}").status_code == 404
        assert client.get("/methods/%00").status_code == 404
        assert client.get("/boards/%00.csv").status_code == 404
    files = [path for path in both.store.root.rglob("*") if path.is_file() and "sqlite" not in path.name]
    assert files == []


def test_more_bytes_than_taken_are_cut_off_and_leave_nothing(site: Site) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"\0" * 2**20

    with site.client() as client:
        made = client.post("/api/v1/uploads").json()["upload"]
        try:
            status = client.put(f"/api/v1/uploads/{made}/files/episodes.jsonl.gz", content=endless()).status_code
        except httpx.WriteError:  # the server closed the line before everything was sent
            status = 413
        assert status == 413
        assert list((site.store.root / "uploads" / made).iterdir()) == []
        assert not list((site.store.root / "uploads").glob("*.part"))
        large = client.post(f"/api/v1/submissions/{'0' * 64}/withdraw", content=b"x" * 100_000)
        assert large.status_code == 413


def test_bombs_are_refused_at_finalize_with_a_reason(site: Site, submissions: list[Path]) -> None:
    files = bundle(submissions[0])
    bombs = {
        "zip bomb": gzip.compress(b"\0" * 300_000_000),
        "long line": gzip.compress(b'"' + b"\\u0041" * 2_000_000 + b'"\n'),
        "deep": gzip.compress(b"[" * 50_000 + b"]" * 50_000 + b"\n"),
        "not finite": gzip.compress(b'{"seed": Infinity}\n'),
        "no UTF-8": gzip.compress(b'{"seed": "\xff"}\n'),
    }
    with site.client() as client:
        for name, data in bombs.items():
            answer = upload(client, {**files, "episodes.jsonl.gz": data})
            assert answer.status_code == 422, name
            assert answer.json()["findings"], name
            assert len(answer.text) < 10_000, name


# ---------------------------------------------------------------------- many at once, and a kill in between


def test_fifty_clients_at_once_lose_nothing_and_double_nothing(both: Site, tmp_path: Path) -> None:
    folders = []
    for place in range(25):
        make_submission(tmp_path / str(place), f"system {place}", seeds=1, questions=2, topology="1")
        folders.append(tmp_path / str(place))
    with ThreadPoolExecutor(50) as pool:
        made = list(pool.map(lambda place: hand_in(folders[place % 25], both.url, both.token), range(50)))
    assert sum(new for _, new in made) == 25
    records = both.store.records()
    assert {record.id for record in records} == {identity for identity, _ in made}
    assert len(records) == 25
    assert all(both.store.files.whole(sha256) for record in records for sha256 in record.files.values())
    assert list((both.store.root / "uploads").iterdir()) == []


def test_a_kill_in_the_middle_loses_nothing_finalized_and_leaves_no_half(tmp_path: Path) -> None:
    folders = []
    for place in range(30):
        make_submission(tmp_path / str(place), f"system {place}", seeds=1, questions=2, topology="1")
        folders.append(tmp_path / str(place))
    store = open_store(tmp_path / "store")
    token, port, told = create_token(store, "ada"), free_port(), []
    url = f"http://127.0.0.1:{port}"

    def send(folder: Path) -> None:
        with suppress(UsageError):  # the server is gone
            told.append(hand_in(folder, url, token)[0])

    with process(tmp_path / "store", port, "--no-verify") as server:
        threads = [threading.Thread(target=lambda own=own: [send(f) for f in folders[own::6]]) for own in range(6)]
        for thread in threads:
            thread.start()
        while len(told) < 8:
            time.sleep(0.005)
        server.kill()
        for thread in threads:
            thread.join(timeout=60)
    assert 8 <= len(told) < 30, "the kill came when everything was done"
    store.close()
    again = open_store(tmp_path / "store")
    there = {record.id for record in again.records()}
    assert set(told) <= there
    for record in again.records():
        assert all(again.files.whole(sha256) for sha256 in record.files.values())
        assert again.verify(record.id).tier == "T2"
    with process(tmp_path / "store", port, "--no-verify"):
        made = [hand_in(folder, url, token) for folder in folders]
    assert {identity for identity, new in made if not new} == there
    assert len(again.records()) == 30
    assert not list((tmp_path / "store" / "uploads").glob("*.part"))


def test_memory_stays_flat_while_a_large_upload_streams(tmp_path: Path) -> None:
    """300 MB go through a server that may take them, and its memory does not follow."""
    token = create_token(open_store(tmp_path / "store"), "ada")
    port = free_port()
    with process(tmp_path / "store", port, "--no-verify") as server:

        def memory() -> int:
            return int((Path("/proc") / str(server.pid) / "statm").read_text().split()[1]) * resource.getpagesize()

        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}) as client:
            made = client.post("/api/v1/uploads").json()["upload"]
            before = memory()
            peak = [before]
            piece = b"\x55" * 2**20

            def pieces() -> Iterator[bytes]:
                for place in range(300):
                    if place % 20 == 0:
                        peak.append(memory())
                    yield piece

            answer = client.put(f"/api/v1/uploads/{made}/files/episodes.jsonl.gz", content=pieces(), timeout=120)
            assert answer.json()["bytes"] == 300 * 2**20
        assert max(peak) - before < 60 * 2**20


def test_what_is_handed_in_is_verified_beside_the_server(tmp_path: Path, submissions: list[Path]) -> None:
    token = create_token(open_store(tmp_path / "store"), "ada")
    port = free_port()
    with process(tmp_path / "store", port):
        identity, _ = hand_in(submissions[0], f"http://127.0.0.1:{port}", token)
        for _ in range(600):
            found = httpx.get(f"http://127.0.0.1:{port}/api/v1/submissions/{identity}").json()
            if found["verifications"]:
                break
            time.sleep(0.1)
    assert [each["tier"] for each in found["verifications"]] == ["T2"]


def test_pages_are_the_views(site: Site, submissions: list[Path]) -> None:
    for folder in submissions:
        site.store.verify(hand_in(folder, site.url, site.token)[0])
    views = Views(site.store)
    (key,) = site.store.boards()
    board = views.board(key)
    with site.client() as client:
        page = client.get(f"/boards/{key}").text
        names = re.findall(r'<a href="/submissions/[0-9a-f]{64}">(system \d)</a> <span class="tier', page)
        assert names == [entry.name for entry in board.entries]
        by_tokens = client.get(f"/boards/{key}?sort=tokens").text
        names = re.findall(r'<a href="/submissions/[0-9a-f]{64}">(system \d)</a> <span class="tier', by_tokens)
        assert names == [entry.name for entry in views.board(key, Query(sort="tokens")).entries]
        assert client.get(f"/boards/{key}.json").json() == json.loads(json.dumps(views.whole(key).to_json()))
        for asked in ("track=none", "tier=T0", "sort=luck", "page=0", "page=99999999999999999999"):
            assert client.get(f"/boards/{key}?{asked}").status_code in (400, 422)
        first, second = board.entries[0], board.entries[-1]
        made = client.get(f"/api/v1/compare?first={first.id}&second={second.id}").json()
        assert made["difference"]["mean"] == pytest.approx(first.accuracy - second.accuracy)
        assert client.get(f"/compare?first={first.id}&second={first.id}").status_code == 400
