"""The leaderboard as files: the same figures, links that lead somewhere, and a database made of them again."""

from __future__ import annotations

import csv
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

import httpx
from made import make_submission, read
from serving import served

from leaderboard import store_commands as commands
from leaderboard.export import board_csv, export, rebuild
from leaderboard.server import Settings
from leaderboard.store import Store, open_store
from leaderboard.submission import FILES
from leaderboard.views import Query, Views
from neuromas_env.errors import UsageError


@pytest.fixture
def filled(sqlite_store: Store, submissions: list[Path]) -> Store:
    return fill(sqlite_store, submissions)


def fill(store: Store, submissions: list[Path]) -> Store:
    """Six submissions, one of them withdrawn, one not verified."""
    identities = [store.submit(folder, f"owner {place % 2}").id for place, folder in enumerate(submissions)]
    for identity in identities[:-1]:
        store.verify(identity)
    store.withdraw(identities[1], "told by mistake")
    return store


def figures(store: Store) -> str:
    """Everything that the views say of a store."""
    views = Views(store)
    boards = [views.whole(key, Query(tier="T1")) for key in store.boards()]
    pairs = [views.compare(b.all[0].id, other.id).to_json() for b in boards for other in b.all[1:]]
    return json.dumps([[board.to_json() for board in boards], pairs], sort_keys=True)


class Links(HTMLParser):
    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def test_every_link_leads_to_a_file_of_the_export(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "site")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for link in Links(page).found:
            assert "://" not in link
            target = (page.parent / link).resolve()
            assert target.is_file(), f"{page}: {link}"
            assert target.is_relative_to((tmp_path / "site").resolve())


def test_the_figures_are_those_of_the_server(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "site")
    (key,) = filled.boards()
    made = json.loads((tmp_path / "site" / "boards" / key / "board.json").read_text())
    with served(filled, Settings(verify=False)) as url, httpx.Client(base_url=url, timeout=60) as client:
        assert made == client.get(f"/boards/{key}.json").json()
        assert (tmp_path / "site" / "boards" / key / "board.csv").read_text() == client.get(f"/boards/{key}.csv").text
        there = client.get(f"/boards/{key}").text
    here = (tmp_path / "site" / "boards" / key / "index.html").read_text()

    def cells(page: str) -> list[str]:
        return [line.split(">", 1)[1] for line in page.splitlines() if '<td class="num' in line and "rank" not in line]

    assert len(cells(here)) >= 4
    assert cells(here) == cells(there)
    rows = list(csv.DictReader((tmp_path / "site" / "boards" / key / "board.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == [entry["id"] for entry in made["entries"]]
    assert [float(row["accuracy"]) for row in rows] == [entry["standing"]["accuracy"] for entry in made["entries"]]


def test_a_database_is_made_of_the_files_alone(store: Store, submissions: list[Path], tmp_path: Path) -> None:
    filled = fill(store, submissions)
    export(filled, tmp_path / "site")
    again = open_store(tmp_path / "again")
    made = rebuild(again, tmp_path / "site")
    assert (made.entered, made.withdrawn, dict(made.refused)) == (5, 1, {})
    assert figures(again) == figures(filled)
    for before, after in zip(filled.records(), again.records(), strict=True):
        assert (before.id, before.owner, before.received, before.withdrawn, before.reason) == (
            after.id, after.owner, after.received, after.withdrawn, after.reason
        )  # fmt: skip
        assert before.withdrawn or before.report == after.report
    export(again, tmp_path / "site-again")
    for path in (tmp_path / "site").rglob("*"):
        other = tmp_path / "site-again" / path.relative_to(tmp_path / "site")
        assert path.is_dir() or path.read_bytes() == other.read_bytes(), path
    assert len(list((tmp_path / "site").rglob("*"))) == len(list((tmp_path / "site-again").rglob("*")))


def test_a_folder_of_submissions_is_a_leaderboard(submissions: list[Path], tmp_path: Path) -> None:
    """As in a git repository: nothing but submissions, verified anew."""
    store = open_store(tmp_path / "store")
    made = rebuild(store, submissions[0].parent, check=store.verify)
    assert (made.entered, dict(made.refused)) == (6, {})
    assert all(record.tier == "T2" for record in store.records())


def test_what_was_changed_in_an_export_is_not_entered(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "site")
    folders = sorted((tmp_path / "site" / "submissions").iterdir())
    live = [folder for folder in folders if (folder / "files").is_dir()]
    card = json.loads((live[0] / "files" / "submission.json").read_text())
    card["name"] = "renamed"
    (live[0] / "files" / "submission.json").write_text(json.dumps(card))
    record = json.loads((live[1] / "record.json").read_text())
    for rows in record["scores"].values():
        for row in rows:
            row[2] = 1.0
    (live[1] / "record.json").write_text(json.dumps(record))
    (live[2] / "record.json").write_text("{]")
    again = open_store(tmp_path / "again")
    made = rebuild(again, tmp_path / "site", check=again.verify)
    assert set(made.refused) >= {repr(live[0].name), repr(live[2].name)}
    if record["scores"]:
        assert "never written over" in made.refused[repr(live[1].name)]


def test_an_export_takes_the_place_of_an_export_and_of_nothing_else(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "site")
    (tmp_path / "site" / "old.html").write_text("old")
    export(filled, tmp_path / "site")
    assert not (tmp_path / "site" / "old.html").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds something else"):
        export(filled, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    with pytest.raises(UsageError, match="holds no submissions"):
        rebuild(filled, tmp_path / "mine")


def test_no_cell_is_a_formula(sqlite_store: Store, tmp_path: Path) -> None:
    make_submission(tmp_path / "one", "=HYPERLINK(1)")
    sqlite_store.verify(sqlite_store.submit(tmp_path / "one", "@ada").id)
    (key,) = sqlite_store.boards()
    row = next(csv.DictReader(board_csv(Views(sqlite_store).whole(key)).splitlines()))
    assert (row["name"], row["owner"]) == ("'=HYPERLINK(1)", "'@ada")


# ---------------------------------------------------------------------- the commands, as a person types them


@pytest.fixture
def typed(tmp_path: Path, submissions: list[Path], capsys: pytest.CaptureFixture[str]) -> Path:
    for folder in submissions[:3]:
        commands.submit(folder, store=tmp_path / "store", owner="ada")
    assert capsys.readouterr().out.count("tier T2") == 3
    return tmp_path / "store"


def test_the_commands_go_the_whole_way(
    typed: Path, submissions: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.board(store=typed, csv=tmp_path / "board.csv")
    told = capsys.readouterr().out
    assert [f"system {place}" in told for place in range(4)] == [True, True, True, False]
    assert len((tmp_path / "board.csv").read_text().splitlines()) == 4
    (key,) = open_store(typed).boards()
    identity = Views(open_store(typed)).board(key).all[0].id
    commands.verify(identity[:12], store=typed)
    assert "tier T2" in capsys.readouterr().out
    commands.withdraw(identity[:12], "told by mistake", store=typed)
    commands.verify(store=typed, all=True)
    assert "2 verified" in capsys.readouterr().out
    commands.export(tmp_path / "site", store=typed)
    commands.rebuild(tmp_path / "site", store=tmp_path / "again")
    assert "2 entered, 1 withdrawn, 0 refused" in capsys.readouterr().out
    commands.token(name="bob", store=typed)
    token = capsys.readouterr().out.strip()
    commands.token(revoke=token, store=typed)
    assert "revoked" in capsys.readouterr().out
    for wrong in (
        lambda: commands.board("nothing", store=typed),
        lambda: commands.board(store=typed, sort="luck"),
        lambda: commands.withdraw("zzzzzz", "why", store=typed),
        lambda: commands.token(store=typed),
        lambda: commands.submit(submissions[0], to="http://127.0.0.1:1"),
        lambda: commands.verify(store=tmp_path / "nothing"),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_a_submission_that_cannot_be_taken_says_why(typed: Path, submissions: list[Path], tmp_path: Path) -> None:
    shutil.copytree(submissions[3], tmp_path / "bad")
    (tmp_path / "bad" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"NM-E001.*notes.txt"):
        commands.submit(tmp_path / "bad", store=typed)
    assert set(FILES) < {path.name for path in (tmp_path / "bad").iterdir()}
    assert read(tmp_path / "bad")[0]["name"] == "system 3"
