"""A server on loopback, in a thread of the test or in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from leaderboard.server import Settings, create_app
from leaderboard.store import Store

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(store: Store, settings: Settings) -> Iterator[str]:
    """The address of a server of this process."""
    config = uvicorn.Config(create_app(store, settings), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(400):
        if server.started:
            break
        time.sleep(0.05)
    assert server.started
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)


@contextmanager
def process(store: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`neuromas leaderboard serve` in a process of its own; it answers once this is entered."""
    command = [sys.executable, "-c", "from neuromas_env.cli import main; main()", "leaderboard", "serve",
               "--store", str(store), "--port", str(port), *options]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        command, env=environment, cwd=store.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            assert running.poll() is None, "the server ended by itself"
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield running
    finally:
        running.kill()
        running.wait(timeout=60)
