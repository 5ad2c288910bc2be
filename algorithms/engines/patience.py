"""Asking a server many things at once, patiently: retries, a common rate limit, a deadline for each whole reply.

What is worth another try (an overloaded or failing server, a lost connection, a reply that is late, cut or no JSON)
is tried again after 1, 2, 4 … seconds, or after what the server asks for; what it refuses for good is told at once.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from neuromas_env.errors import NeuromasError, UsageError

from ..errors import EngineError

if TYPE_CHECKING:
    import httpx

TRY_AGAIN = {408, 409, 425, 429}
LONGEST_WAIT = 60.0
T = TypeVar("T")


class RefusedError(NeuromasError):
    """The server refuses this one request for good: it is too long for the model, say."""


class _AgainError(Exception):
    """Why a try failed that may succeed later, and the seconds that the server asks to wait."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass
class Spent:
    """What a server was asked: requests that were answered, tries that were not, and the tokens of the answers."""

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    sampled_tokens: int = 0


@dataclass
class Patience:
    """How a server is asked. `per_minute` bounds tries (0: no bound), `timeout` is for each whole reply in seconds.

    `tries` counts the first one; `wait` is the first pause between tries in seconds.
    """

    concurrency: int = 16
    per_minute: float = 0.0
    timeout: float = 300.0
    tries: int = 8
    wait: float = 1.0
    spent: Spent = field(default_factory=Spent)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _next: float = field(default=0.0, repr=False)
    _jitter: random.Random = field(default_factory=lambda: random.Random(0), repr=False)

    def __post_init__(self) -> None:
        for name in ("concurrency", "timeout", "tries"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name}={getattr(self, name)}: a number above 0 is needed")
        if self.per_minute < 0 or self.wait < 0:
            raise UsageError("per_minute and wait cannot be below 0")

    def all(self, ask: Callable[[T], Any], what: Sequence[T]) -> list[Any]:
        """What `ask` gives for each of `what`, in order, several at a time; an exception stands for its own answer.

        After an EngineError nothing more is asked.
        """
        broken = threading.Event()

        def one(each: T) -> Any:
            if broken.is_set():
                return EngineError("not asked")
            try:
                return ask(each)
            except EngineError as error:
                broken.set()
                return error
            except RefusedError as error:
                return error

        with ThreadPoolExecutor(max_workers=min(self.concurrency, max(1, len(what)))) as pool:
            return list(pool.map(one, what))

    def answered(self, prompt_tokens: int, sampled_tokens: int) -> None:
        """Count an answer that is used."""
        with self._lock:
            self.spent.requests += 1
            self.spent.prompt_tokens += prompt_tokens
            self.spent.sampled_tokens += sampled_tokens

    def post(self, client: httpx.Client, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
        """What `read` makes of the reply, a JSON object; see `tell`."""
        return self.tell(client, path, body, lambda data: read(_object(data)))

    def tell(self, client: httpx.Client, path: str, body: dict[str, Any], read: Callable[[bytes], T]) -> T:
        """What `read` makes of the reply; it raises ValueError for one that is malformed, which is asked again.

        Raises RefusedError where the server refuses this request, EngineError where it answers none.
        """
        for number in range(self.tries):
            try:
                return read(self._once(client, path, body))
            except ValueError as error:
                reason, wait = f"a malformed reply ({error})", None
            except _AgainError as error:
                reason, wait = str(error), error.wait
            with self._lock:
                self.spent.retries += 1
                pause = min(LONGEST_WAIT, self.wait * 2**number) * self._jitter.uniform(0.75, 1.25)
            if number + 1 < self.tries:
                self._hold(pause if wait is None else wait, all_of_us=wait is not None)
        raise EngineError(f"{client.base_url}{path} gave no answer in {self.tries} tries; the last time: {reason}")

    def _once(self, client: httpx.Client, path: str, body: dict[str, Any]) -> bytes:
        """The reply of one try."""
        import httpx

        self._take_turn()
        deadline = time.monotonic() + self.timeout
        data = bytearray()
        try:
            with client.stream("POST", path, json=body, timeout=self.timeout) as reply:
                for piece in reply.iter_bytes():
                    data += piece
                    if time.monotonic() > deadline:  # httpx counts the time between two pieces only
                        raise _AgainError(f"no whole reply in {self.timeout:g} s")
        except httpx.TimeoutException:
            raise _AgainError(f"no reply in {self.timeout:g} s") from None
        except httpx.HTTPError as error:
            raise _AgainError(f"{type(error).__name__}: {error}") from None
        if reply.status_code in TRY_AGAIN or reply.status_code >= 500:
            raise _AgainError(f"status {reply.status_code}", _seconds(reply.headers.get("retry-after")))
        if reply.status_code != 200:
            told = f"status {reply.status_code}: {' '.join(data.decode(errors='replace').split())[:300]}"
            if reply.status_code in (400, 413, 422):
                raise RefusedError(told)
            raise EngineError(f"{client.base_url}{path} refuses: {told}")
        return bytes(data)

    def _take_turn(self) -> None:
        """Wait until the rate limit, and what the server has asked for, let the next try go."""
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next:
                    self._next = now + (60.0 / self.per_minute if self.per_minute else 0.0)
                    return
                wait = self._next - now
            time.sleep(wait)

    def _hold(self, seconds: float, all_of_us: bool) -> None:
        """Wait before the next try; a server that names a time is left alone by everybody."""
        if all_of_us:
            with self._lock:
                self._next = max(self._next, time.monotonic() + min(seconds, LONGEST_WAIT))
        else:
            time.sleep(seconds)


def _object(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _seconds(text: str | None) -> float | None:
    """Of a Retry-After header, where it names seconds."""
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
