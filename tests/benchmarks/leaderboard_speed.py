"""How fast the leaderboard is with many submissions.

    PYTHONPATH=.:tests/leaderboard python tests/benchmarks/leaderboard_speed.py

A store is filled with submissions whose scores are drawn, not answered; then a server of one worker serves the board, a
submission and a comparison, and a large upload streams through it while its memory is watched. Everything printed is
measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
from made import make_submission
from serving import free_port, process

from leaderboard.server.tokens import create_token
from leaderboard.store import Store, open_store
from leaderboard.submission import CARD, EPISODES
from leaderboard.verify import Report


def fill(store: Store, work: Path, submissions: int, questions: int) -> None:
    """Submissions of one board, each with a score for every question. All share the lines of one that is real."""
    make_submission(work / "one", seeds=1, questions=5, topology="1", difficulty="3")
    card = json.loads((work / "one" / CARD).read_text())
    card["task"]["questions"] = questions
    rng = np.random.default_rng(0)
    started = time.monotonic()
    for place in range(submissions):
        share = float(rng.uniform(0.2, 0.95))
        values_Q = (rng.random(questions) < share).astype(float)
        card["name"], card["attempts"] = f"system {place}", place + 1
        card["inference"]["sampled_tokens"] = int(rng.lognormal(8, 1))
        card["inference"]["calls"] = int(rng.integers(1, 9)) * questions
        (work / "one" / CARD).write_text(json.dumps(card))
        identity = store.submit(work / "one", f"owner {place % 50}").id
        report = Report(identity, "chain-v0, neuromas 0.1.0")
        report.reached |= {"T0": "passed", "T1": "passed", "T2": "passed"}
        report.scores = {(0, index): value for index, value in enumerate(values_Q.tolist())}
        store.keep(identity, report)
    print(f"filled with {submissions} submissions of {questions} answers in {time.monotonic() - started:.0f} s")


def timed(client: httpx.Client, address: str, times: int) -> str:
    first = time.perf_counter()
    client.get(address).raise_for_status()
    first = time.perf_counter() - first
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        page = client.get(address)
        taken.append(time.perf_counter() - begun)
    page.raise_for_status()
    quantile = sorted(taken)[int(0.95 * len(taken))]
    return (
        f"median {1000 * statistics.median(taken):6.1f} ms, 95 % below {1000 * quantile:6.1f} ms, "
        f"first {1000 * first:7.1f} ms, {len(page.content) / 1024:.0f} KiB"
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--submissions", type=int, default=1000)
    asked.add_argument("--questions", type=int, default=1000)
    asked.add_argument("--megabytes", type=int, default=1024)
    asked.add_argument(
        "--times", type=int, default=60, help="requests of each page; all together stay below the rate limit"
    )
    asked.add_argument("--database")
    options = asked.parse_args()
    work = Path(tempfile.mkdtemp(prefix="neuromas-speed-"))
    try:
        store = open_store(work / "store", options.database)
        fill(store, work, options.submissions, options.questions)
        (key,) = store.boards()
        records = store.records()
        token, port = create_token(store, "ada"), free_port()
        store.close()
        database = ["--database", options.database] if options.database else []
        with process(work / "store", port, "--no-verify", "--most-megabytes", "4096", *database) as server:
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=600) as client:
                pages = {
                    "board": f"/boards/{key}",
                    "board, page 7": f"/boards/{key}?page=7",
                    "board by tokens": f"/boards/{key}?sort=tokens",
                    "board as JSON": f"/api/v1/boards/{key}",
                    "submission": f"/submissions/{records[0].id}",
                    "comparison": f"/compare?first={records[0].id}&second={records[1].id}",
                    "all boards": "/",
                }
                for name, address in pages.items():
                    print(f"{name:16} {timed(client, address, options.times)}", flush=True)
                print(stream(client, server.pid, options.megabytes))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def stream(client: httpx.Client, pid: int, megabytes: int) -> str:
    """Upload one large file and watch the server's resident memory."""

    def memory() -> int:
        return int((Path("/proc") / str(pid) / "statm").read_text().split()[1]) * resource.getpagesize() // 2**20

    upload = client.post("/api/v1/uploads").json()["upload"]
    before = memory()
    peak = [before]
    piece = b"\x55" * 2**20

    def pieces() -> Iterator[bytes]:
        for place in range(megabytes):
            if place % 16 == 0:
                peak.append(memory())
            yield piece

    begun = time.perf_counter()
    client.put(f"/api/v1/uploads/{upload}/files/{EPISODES}", content=pieces()).raise_for_status()
    taken = time.perf_counter() - begun
    return (
        f"upload of {megabytes} MiB: {megabytes / taken:.0f} MiB/s, memory {before} MiB before, at most {max(peak)} MiB"
    )


if __name__ == "__main__":
    main()
