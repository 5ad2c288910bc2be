"""Verification beside the server: one process of its own, which takes what was handed in one after the other."""

from __future__ import annotations

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from ..findings import Tier
from ..store import Store, open_store

LOG = logging.getLogger("neuromas.leaderboard")
POLL_SECONDS = 20.0


@dataclass(frozen=True)
class Checking:
    """How submissions are checked: up to which tier, with which data files, and whether programs may run."""

    upto: Tier = "T2"
    data: Path | None = None
    allow_code_execution: bool = False


def check_one(root: Path, url: str | None, identity: str, checking: Checking) -> str | None:
    """Verify one submission of the store at `root`; the tier that it reached."""
    store = open_store(root, url, create=False)
    try:
        data = checking.data
        report = store.verify(identity, checking.upto, data=data, allow_code_execution=checking.allow_code_execution)
        return report.tier
    finally:
        store.close()


class Verifier:
    """Looks for submissions that nobody checked, whenever it is woken and every now and then."""

    def __init__(self, store: Store, url: str | None, checking: Checking) -> None:
        self.store, self.url, self.checking = store, url, checking
        self._wake, self._stop = Event(), Event()
        self._failed: set[str] = set()
        self._thread = Thread(target=self._run, name="verifier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the server's locks and sockets
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            while not self._stop.is_set():
                for identity in self.store.unverified():
                    if self._stop.is_set():
                        return
                    if identity not in self._failed:
                        self._check(pool, identity)
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()

    def _check(self, pool: ProcessPoolExecutor, identity: str) -> None:
        try:
            tier = pool.submit(check_one, self.store.root, self.url, identity, self.checking).result()
            LOG.info("%s: tier %s", identity[:16], tier)
        except Exception:
            # One that breaks the checks must not keep the others from being checked; it stays unverified.
            self._failed.add(identity)
            LOG.exception("%s could not be verified", identity[:16])
