"""How often someone may ask: a bucket of requests for each, which fills up again with time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from starlette.requests import Request

MOST_REMEMBERED = 10_000


def address(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else "unknown"


class RateLimit:
    """At most `per_minute` requests of one asker a minute, in bursts of as many."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def wait(self, asker: str) -> float:
        """Take one request; 0, or the seconds until there is one to take."""
        with self._lock:
            now = self.clock()
            left, before = self._buckets.pop(asker, (float(self.per_minute), now))
            left = min(float(self.per_minute), left + (now - before) * self.per_minute / 60)
            allowed = left >= 1
            self._buckets[asker] = (left - 1 if allowed else left), now
            while len(self._buckets) > MOST_REMEMBERED:
                self._buckets.popitem(last=False)
            return 0.0 if allowed else (1 - left) * 60 / self.per_minute
