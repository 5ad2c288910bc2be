"""`neuromas leaderboard …` on a store: hand in, verify, look, serve, export."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from neuromas_env.errors import UsageError

from .commands import checked_tier

if TYPE_CHECKING:
    from .store import Store
    from .views import Board

StoreFolder = Annotated[Path, arg(metavar="FOLDER")]
Url = Annotated[str | None, arg(metavar="URL")]
TOKEN = "NEUROMAS_TOKEN"
STORE = Path("leaderboard")


def _open(store: Path, database: str | None, create: bool = False) -> Store:
    from .store import open_store

    return open_store(store, database, create)


def submit(
    folder: Annotated[Path, Positional, arg(metavar="SUBMISSION")],
    to: Annotated[str | None, arg(metavar="URL")] = None,
    store: StoreFolder = STORE,
    database: Url = None,
    owner: Annotated[str, arg(metavar="NAME")] = "local",
    data: Annotated[Path | None, arg(metavar="PATH")] = None,
    allow_code_execution: FlagCreatePairsOff[bool] = False,
) -> None:
    """Hand a submission in: to a server, or to a store in a folder, where it is verified at once.

    A server wants a token, in the variable NEUROMAS_TOKEN. It verifies by itself, a little later.

    Args:
        folder: The submission.
        to: A server, such as https://HOST; without it, the store.
        store: The folder of the store; it is made where it is not there.
        database: A database of its own, such as postgresql://USER@HOST/NAME; without it, SQLite in the folder.
        owner: For a store: who hands it in.
        data: For a store: the task's data file, or the folder of its data files.
        allow_code_execution: Run programs that models wrote, where the task is judged so; each runs locked in.
    """
    if to is not None:
        from .client import hand_in

        token = os.environ.get(TOKEN, "")
        if not token:
            raise UsageError(f"a server wants a token: put it into the variable {TOKEN}")
        identity, new = hand_in(folder, to, token)
        print(f"{'handed in' if new else 'was there already'}: {identity}\n{to.rstrip('/')}/submissions/{identity}")
        return
    kept = _open(store, database, create=True)
    made = kept.submit(folder, owner)
    report = kept.verify(made.id, "T2", data=data, allow_code_execution=allow_code_execution)
    print(f"{'handed in' if made.new else 'was there already'}: {made.id}, tier {report.tier}")
    for finding in report.findings[:20]:
        print(finding)
    for tier, note in report.notes.items():
        print(f"{tier} was not checked: {note}")


def verify(
    submission: Annotated[str | None, Positional, arg(metavar="ID")] = None,
    store: StoreFolder = STORE,
    database: Url = None,
    tier: Annotated[str, arg(metavar="T0|T1|T2|T3|T4")] = "T2",
    data: Annotated[Path | None, arg(metavar="PATH")] = None,
    artifacts: Annotated[Path | None, arg(metavar="FOLDER")] = None,
    secret: Annotated[str, arg(metavar="WORD")] = "",
    hidden: Annotated[Path | None, arg(metavar="FILE")] = None,
    all: FlagCreatePairsOff[bool] = False,
    allow_code_execution: FlagCreatePairsOff[bool] = False,
) -> None:
    """Verify submissions of a store: one, those that nobody checked yet, or all again. Earlier outcomes are kept.

    Args:
        submission: Its id, or the beginning of it; without it, those that were not checked.
        store: The folder of the store.
        database: Its database, where it has one of its own.
        tier: The highest tier to check.
        data: The task's data file, or the folder of its data files.
        artifacts: For T3: the folder in which the runs lie that artifacts.json lists.
        secret: For T3 and T4: what only you know; it decides which messages are looked at, and which questions are
            asked where the task makes them.
        hidden: For T4: a data file that was never published.
        all: All submissions once more, as after a new version of this package.
        allow_code_execution: Run programs that models wrote, where the task is judged so; each runs locked in.
    """
    upto, kept = checked_tier(tier), _open(store, database)
    if submission is not None:
        wanted = [kept.find(submission)]
    else:
        wanted = [r.id for r in kept.records() if not r.withdrawn] if all else kept.unverified()
    for identity in wanted:
        options = {"data": data, "artifacts": artifacts, "secret": secret, "hidden": hidden}
        report = kept.verify(identity, upto, **options, allow_code_execution=allow_code_execution)
        print(f"{identity[:16]}… tier {report.tier}" + (f", {len(report.findings)} faults" if report.findings else ""))
    print(f"{len(wanted)} verified")


def board(
    name: Annotated[str | None, Positional, arg(metavar="BOARD")] = None,
    store: StoreFolder = STORE,
    database: Url = None,
    track: Annotated[str | None, arg(metavar="NAME")] = None,
    tier: Annotated[str, arg(metavar="T1|T2|T3|T4")] = "T2",
    sort: Annotated[str, arg(metavar="COLUMN")] = "accuracy",
    csv: Annotated[Path | None, arg(metavar="FILE")] = None,
) -> None:
    """Print a board of a store, or the list of its boards.

    Args:
        name: The board's key, or the beginning of it; without it, all boards are listed, or the only one is shown.
        store: The folder of the store.
        database: Its database, where it has one of its own.
        track: Only closed-frozen, closed-trained or open.
        tier: The lowest tier to show.
        sort: accuracy, tokens, calls, prompt, parameters, training or received.
        csv: Also write the board into this file.
    """
    from .export import board_csv
    from .views import Query, Views

    views = Views(_open(store, database))
    keys = [each.key for each in views.boards()]
    chosen = [key for key in keys if key.startswith(name or "")]
    if not keys:
        print("nothing was handed in yet")
    elif len(chosen) == 1:
        made = views.whole(chosen[0], Query(track=track, tier=tier, sort=sort))
        _print_board(made)
        if csv:
            csv.write_text(board_csv(made), encoding="utf-8")
    elif name:
        raise UsageError(f"{name!r} begins {len(chosen) or 'none'} of {', '.join(keys)}")
    else:
        for each in views.boards():
            print(f"{each.key}: {each.ranked} ranked of {each.submissions}")


def _print_board(made: Board) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from neuromas_env.text import visible

    from .site.render import count

    title = f"{made.label}: {made.task['split']}, {made.task['questions']} questions"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("system", overflow="fold", min_width=16)
    for name in ("accuracy %", "tokens", "calls", "trained"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    table.add_column("id", no_wrap=True, min_width=8)
    for entry in made.entries:
        s = entry.standing
        assert s is not None
        span = "" if s.rank_low == s.rank_high else f" ({s.rank_low}–{s.rank_high})"
        table.add_row(
            f"{s.rank}{span}",
            visible(entry.name)[:60],
            f"{100 * s.accuracy:.1f} ({100 * s.low:.0f}–{100 * s.high:.0f})",
            count(entry.tokens),
            count(entry.calls),
            count(entry.parameters) if entry.parameters else "–",
            entry.tier,
            entry.id[:8],
        )
    Console(markup=False, emoji=False).print(table)
    if made.detectable is not None:
        print(f"Neighbours closer than {100 * made.detectable:.1f} points cannot be told apart (80 % power).")


def withdraw(
    submission: Annotated[str, Positional, arg(metavar="ID")],
    reason: str,
    store: StoreFolder = STORE,
    database: Url = None,
) -> None:
    """Take a submission off its board for good. Its id, its name and the reason stay.

    Args:
        submission: Its id, or the beginning of it.
        reason: Why, in a sentence that everyone can read.
        store: The folder of the store.
        database: Its database, where it has one of its own.
    """
    kept = _open(store, database)
    identity = kept.find(submission)
    kept.withdraw(identity, reason)
    print(f"withdrawn: {identity}")


def token(
    name: Annotated[str | None, arg(metavar="NAME")] = None,
    scope: Annotated[str, arg(metavar="SCOPE,SCOPE")] = "submit",
    revoke: Annotated[str | None, arg(metavar="TOKEN")] = None,
    store: StoreFolder = STORE,
    database: Url = None,
) -> None:
    """Make a token with which someone may hand in at the server, or revoke one. It is shown this once.

    Args:
        name: Whose it is; shown beside what is handed in with it.
        scope: submit, or maintain too (withdraw any submission).
        revoke: A token, or its middle part, that is to be worth nothing from now on.
        store: The folder of the store.
        database: Its database, where it has one of its own.
    """
    from .server.tokens import create_token, revoke_token

    kept = _open(store, database, create=True)
    if revoke is not None:
        middle = revoke.split("_")[1] if revoke.startswith("nm_") and revoke.count("_") > 1 else revoke
        revoke_token(kept, middle)
        print(f"revoked: {middle}")
    elif name is None:
        raise UsageError("--name says whose token it is")
    else:
        print(create_token(kept, name, scope.split(",")))


def serve(
    store: StoreFolder = STORE,
    database: Url = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    data: Annotated[Path | None, arg(metavar="PATH")] = None,
    most_megabytes: int = 2048,
    verify: bool = True,
    allow_code_execution: FlagCreatePairsOff[bool] = False,
) -> None:
    """Serve a store: its pages, and the API with which others hand in.

    What is handed in is verified up to T2 by a process beside the server. Put a proxy with TLS before it.

    Args:
        store: The folder of the store; it is made where it is not there.
        database: A database of its own, such as postgresql://USER@HOST/NAME; without it, SQLite in the folder.
        host: The address to listen at.
        port: The port; 0 takes a free one.
        data: The folder of the tasks' data files, for verification.
        most_megabytes: The largest file that is taken.
        verify: Whether to verify what is handed in.
        allow_code_execution: Run programs that models wrote, where a task is judged so; each runs locked in.
    """
    import uvicorn

    from .server import Settings, create_app
    from .server.verifier import Checking

    checking = Checking("T2", data, allow_code_execution)
    settings = Settings(most_bytes=most_megabytes * 2**20, checking=checking, database=database, verify=verify)
    app = create_app(_open(store, database, create=True), settings)
    uvicorn.run(app, host=host, port=port, log_level="info", server_header=False, limit_concurrency=1000)


def export(
    out: Annotated[Path, Positional, arg(metavar="FOLDER")],
    store: StoreFolder = STORE,
    database: Url = None,
    read: int = 100,
) -> None:
    """Write the leaderboard as a static site, with JSON, CSV and the submissions.

    It opens from disk without a network, and a store can be made of it again.

    Args:
        out: The folder of the site; an earlier export there is replaced.
        store: The folder of the store.
        database: Its database, where it has one of its own.
        read: Of how many lines of each submission there are pages to read.
    """
    from .export import export as write

    files = write(_open(store, database), out, read)
    print(f"{out}: {files} files; open {out / 'index.html'}")


def rebuild(
    folder: Annotated[Path, Positional, arg(metavar="FOLDER")],
    store: StoreFolder = STORE,
    database: Url = None,
    data: Annotated[Path | None, arg(metavar="PATH")] = None,
    verify: bool = True,
    allow_code_execution: FlagCreatePairsOff[bool] = False,
) -> None:
    """Make a store of an export, or of a folder of submissions such as a git repository.

    Args:
        folder: The export, or a folder whose folders are submissions.
        store: The folder of the store; it is made where it is not there.
        database: A database of its own; without it, SQLite in the folder.
        data: The folder of the tasks' data files, for verification.
        verify: Whether to verify everything again, beside what the export tells.
        allow_code_execution: Run programs that models wrote, where a task is judged so; each runs locked in.
    """
    from .export import rebuild as enter

    kept = _open(store, database, create=True)

    def check(identity: str) -> None:
        kept.verify(identity, "T2", data=data, allow_code_execution=allow_code_execution)

    made = enter(kept, folder, print, check if verify else None)
    for name, reason in made.refused.items():
        print(f"refused, {name}: {reason}")
    print(f"{made.entered} entered, {made.withdrawn} withdrawn, {len(made.refused)} refused")
    if made.refused:
        raise SystemExit(1)
