"""Sampling ahead: batches of coming updates are sampled elsewhere while this process learns from the present one.

A batch of update u is sampled by adapters that are at most `staleness` updates older than those that learn from it;
how many it was is recorded with the update. The learner weighs for it with `truncate`, or by the ratios of a clipped
algorithm, since the sampler's log-probabilities travel with every message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuromas_env.budget import Meter

if TYPE_CHECKING:
    from .network import Network
    from .rollout import Rollout

Play = Callable[[int, Meter], "Rollout"]


def snapshot(network: Network) -> Network:
    """The network as it is now, for an engine that is sent the values of its adapters: nothing else may use it."""
    assert network.adapters is not None
    kept = copy(network)
    kept.adapters = copy(network.adapters)
    kept.adapters.flat_NP = network.adapters.flat_NP.detach().clone()
    return kept


@dataclass(frozen=True)
class _Begun:
    """A batch under way: for which update, and after how many its adapters had been learnt."""

    update: int
    learnt: int
    meter: Meter
    rollout: Future[Rollout]


class Ahead:
    """The batches under way, sampled one after the other in a thread of their own."""

    def __init__(self, staleness: int) -> None:
        self.staleness = staleness
        self._begun: deque[_Begun] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")

    def begin(self, play: Play, learnt: int, last: int) -> None:
        """Begin the batches that may be sampled after `learnt` updates: of the next one and `staleness` more, none
        beyond `last`. `play(update, meter)` samples one with a network that nobody changes any more."""
        first = self._begun[-1].update + 1 if self._begun else learnt + 1
        for update in range(first, min(learnt + 1 + self.staleness, last) + 1):
            meter = Meter()
            rollout = self._thread.submit(play, update, meter)
            self._begun.append(_Begun(update, learnt, meter, rollout))

    def take(self, update: int) -> tuple[Rollout, Meter, int]:
        """The batch of `update`, what it cost, and by how many updates its adapters are older."""
        begun = self._begun.popleft()
        assert begun.update == update
        return begun.rollout.result(), begun.meter, update - 1 - begun.learnt

    def end(self) -> None:
        """Leave what is under way."""
        self._thread.shutdown(wait=False, cancel_futures=True)
