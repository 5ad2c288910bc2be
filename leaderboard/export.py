"""The leaderboard as files: the same pages as the server's, with JSON, CSV and the submissions themselves.

    export(store, Path("site"))
    rebuild(store, Path("site"))

An export opens from disk without a network, and holds all that the database knew, so that a store can be made of it.
A plain folder of submissions (each a folder with the three files) makes one too.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from neuromas_env.errors import UsageError

from .reading import shown, strict_json
from .schemas import FOLDER as SCHEMAS
from .site import Pages, StaticLinks
from .site.links import EPISODES_A_PAGE, board_page, compare_page, episodes_page, method_page
from .site.render import ASSETS, others_of
from .store import Record, RefusedError, Store
from .submission import CARD
from .views import DEFAULT_TIER, SORTS, TRACKS, Board, Entry, Query, Views

RECORD = "record.json"
MARK = "leaderboard.json"
UNREADABLE = "unreadable"
FEW = 50
"""Systems on a board up to which each is compared with many others; beyond, with the best and the next one."""
KEPT_OF_WITHDRAWN = ("name", "authors", "licence", "task", "track", "seeds")

COLUMNS = ("rank", "rank_low", "rank_high", "name", "method", "track", "backbone", "topology", "tier", "accuracy",
           "accuracy_low", "accuracy_high", "quartile_mean", "behind", "p_behind", "sampled_tokens", "calls",
           "prompt_tokens", "trainable_parameters", "training_sampled_tokens", "seeds", "attempts", "handed_in",
           "owner", "received", "id")  # fmt: skip


def board_csv(board: Board) -> str:
    """A board as CSV, shares as fractions and costs a question."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in board.entries:
        writer.writerow([_cell(value) for value in _values(entry)])
    return out.getvalue()


def _values(e: Entry) -> list[Any]:
    s = e.standing
    assert s is not None, "lines of a board have standings"
    return [s.rank, s.rank_low, s.rank_high, e.name, e.method, e.track, e.backbone, e.topology, e.tier, s.accuracy,
            s.low, s.high, s.quartile_mean, s.behind, s.p_behind, e.tokens, e.calls, e.prompt, e.parameters, e.training,
            e.seeds, e.attempts, e.handed_in, e.owner, e.received, e.id]  # fmt: skip


def _cell(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


# ---------------------------------------------------------------------- the site


def export(store: Store, out: Path, read: int = 100) -> int:
    """Write the site into `out`, with pages for the first `read` lines of every submission; the number of files.

    Raises UsageError where `out` holds something else than an earlier export, which is replaced once the new one is
    whole.
    """
    if out.exists() and not (out.is_dir() and ((out / MARK).is_file() or not any(out.iterdir()))):
        raise UsageError(f"{out} holds something else than an export; a new or empty folder is needed")
    making = out.with_name(out.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    site = Site(store, making, read)
    site.write()
    shutil.rmtree(out, ignore_errors=True)
    making.rename(out)
    return site.files


@dataclass
class Site:
    """The writing of one export."""

    store: Store
    out: Path
    read: int
    files: int = 0
    links: StaticLinks = field(init=False)

    def __post_init__(self) -> None:
        self.views = Views(self.store)
        self.pages = Pages(self.views)
        self.links = StaticLinks(read=self.read)

    def write(self) -> None:
        records = self.store.records()
        for key in self.store.boards():
            self.links.pairs |= _pairs(self.views.board(key, Query(tier="T1")).all)
            self.links.pairs |= _pairs(self.views.board(key).all)
        self._put("index.html", self.pages.index(self.links))
        for name in ASSETS:
            self._put(name, self.pages.asset(name))
        self._put(MARK, _json({"format": "neuromas-leaderboard", "version": 1, "neuromas": version("neuromas")}))
        for path in sorted(SCHEMAS.glob("*.json")):
            self._put(f"schemas/{path.name}", path.read_text(encoding="utf-8"))
        for key in self.store.boards():
            self._board(key)
        for record in records:
            self._submission(record)
        for first, second in sorted(self.links.pairs):
            page = self.pages.comparison(first, second, self.links.below(1))
            self._put(f"compare/{compare_page(first, second)}", page)
        for base in self.views.methods():
            self._put(f"methods/{method_page(base)}", self.pages.method(base, self.links.below(1)))

    def _put(self, name: str, text: str) -> None:
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.files += 1

    def _board(self, key: str) -> None:
        links = self.links.below(2)
        queries = [Query(), *(Query(sort=sort) for sort in SORTS if sort != "accuracy"),
                   *(Query(track=track) for track in TRACKS),
                   *(Query(tier=tier) for tier in ("T1", "T3", "T4") if tier != DEFAULT_TIER)]  # fmt: skip
        for query in queries:
            for page in range(1, self.views.board(key, query).pages + 1):
                asked = Query(query.track, query.tier, query.sort, "", page)
                self._put(f"boards/{key}/{board_page(asked)}", self.pages.board(key, asked, links))
        whole = self.views.whole(key)
        self._put(f"boards/{key}/board.json", _json(whole.to_json()))
        self._put(f"boards/{key}/board.csv", board_csv(whole))

    def _submission(self, record: Record) -> None:
        folder, links = f"submissions/{record.id}", self.links.below(2)
        self._put(f"{folder}/index.html", self.pages.submission(record.id, links))
        self._put(f"{folder}/{RECORD}", _json(self._record(record)))
        if record.withdrawn:
            return
        (self.out / folder / "files").mkdir(parents=True, exist_ok=True)
        for name, sha256 in record.files.items():
            shutil.copyfile(self.store.files.path(sha256), self.out / folder / "files" / name)
            self.files += 1
        lines = len(record.card["seeds"]) * record.card["task"]["questions"]
        for start in range(0, min(lines, self.read), EPISODES_A_PAGE):
            self._put(f"{folder}/{episodes_page(start)}", self.pages.episodes(record.id, start, links))

    def _record(self, record: Record) -> dict[str, Any]:
        """What the database knows beyond the files."""
        card = {name: record.card[name] for name in KEPT_OF_WITHDRAWN} if record.withdrawn else None
        history = [] if record.withdrawn else self.store.verifications(record.id)
        scores = {} if record.withdrawn else self.store.all_scores(record)
        return {
            "id": record.id,
            "number": record.number,
            "owner": record.owner,
            "received": record.received,
            "withdrawn": record.withdrawn,
            "reason": record.reason,
            "card": card,
            "files": dict(record.files),
            "verifications": [{"at": at, "report": report} for at, report in history],
            "scores": {
                scorer: [[seed, question, value] for (seed, question), value in sorted(values.items())]
                for scorer, values in scores.items()
            },
        }


def _pairs(ranked: Sequence[Entry]) -> set[tuple[str, str]]:
    """The comparisons that pages refer to."""
    if len(ranked) <= FEW:
        made = {(entry.id, other.id) for entry in ranked for other in others_of(entry, ranked)}
    else:
        made = {(entry.id, after.id) for entry, after in pairwise(ranked)}
    return made | {(entry.id, ranked[0].id) for entry in ranked[1:]}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------------- back again


@dataclass(frozen=True)
class Rebuilt:
    """What became of the submissions in a folder."""

    entered: int
    withdrawn: int
    refused: Mapping[str, str]
    """Why a folder was not taken, by its name."""


def rebuild(
    store: Store,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
    check: Callable[[str], Any] | None = None,
) -> Rebuilt:
    """Enter every submission below `folder` into the store, in the order in which they were received.

    Verifications that an export kept are entered as they were. `check` is called for every submission's id, to verify
    it again; a submission whose scores are then others is told as refused. Raises UsageError where there is none.
    """
    found = sorted(_found(folder), key=lambda each: (each[1].get("number", 0), each[0].parent.name, each[0].name))
    if not found:
        raise UsageError(f"{folder} holds no submissions: folders with {CARD}, or an export's `submissions`")
    entered = withdrawn = 0
    refused: dict[str, str] = {}
    for path, record in found:
        try:
            if UNREADABLE in record:
                raise UsageError(f"{RECORD}: {record[UNREADABLE]}")
            if record.get("withdrawn"):
                store.bury(record["id"], record["owner"], record["received"], record["card"], record["files"])
                store.withdraw(record["id"], record["reason"], record["withdrawn"])
                withdrawn += 1
                continue
            made = store.submit(path, record.get("owner", folder.name), record.get("received"))
            if record and made.id != record["id"]:
                raise UsageError(f"its files are not those of {record['id'][:16]}…")
            if made.new:
                _restore(store, made.id, record)
            if check is not None:
                check(made.id)
            entered += 1
            say(f"{made.id[:16]}… {path.parent.name if record else path.name}")
        except (RefusedError, UsageError, KeyError, TypeError, ValueError) as error:
            refused[shown(path.name if not record else path.parent.name)] = str(error)[:500]
    return Rebuilt(entered, withdrawn, refused)


def _restore(store: Store, identity: str, record: Mapping[str, Any]) -> None:
    scores = {
        scorer: {(seed, question): value for seed, question, value in rows}
        for scorer, rows in record.get("scores", {}).items()
    }
    for each in record.get("verifications", []):
        report = each["report"]
        store.restore(identity, each["at"], report, scores.get(report["scorer"], {}))


def _found(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every submission's folder, with what an export knows of it."""
    root = folder / "submissions" if (folder / "submissions").is_dir() else folder
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        record = path / RECORD
        if record.is_file():
            yield path / "files", _read_record(record)
        elif (path / CARD).is_file():
            yield path, {}


def _read_record(path: Path) -> dict[str, Any]:
    """What an export knows of a submission, or why it cannot be read."""
    try:
        record = strict_json(path.read_bytes())
    except ValueError as error:
        return {UNREADABLE: str(error)}
    return record if isinstance(record, dict) and isinstance(record.get("number"), int) else {UNREADABLE: "no record"}
