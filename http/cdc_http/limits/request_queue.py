"""Scheduling of requests: a fair share for each caller, and a bounded queue with a deadline."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import structlog

from cdc_http.limits.usage import Holdings
from cdc_http.responses import broken_off, too_many

log = structlog.get_logger(__name__)

LONGEST_RETRY = 60
"""The most seconds that a refused caller is told to wait."""

_MOST_OF_ONE = 0.75
"""The largest part of the places that one caller may use. The rest stays free for others, however long it works."""

_SMOOTHING = 0.1
"""Weight of the newest request in the mean duration: about the last ten of them count."""

_SAID_AGAIN = 30.0

Waiter = asyncio.Future[bool]
"""True when the request may begin, False when it is refused."""


class Turns:
    """`places` for requests that run at once, and a queue of `most_waiting` others.

    A free place goes to the caller with the fewest running requests; among equals, to the one that was not served
    for longest. When the queue is full, the newest request of the caller with the most waiting ones is refused. No
    request waits longer than `patience` seconds.
    """

    def __init__(
        self, places: int, *, most_waiting: int, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._places = places
        self._most_of_one = math.ceil(places * _MOST_OF_ONE)
        self._most_waiting = most_waiting
        self._patience = patience
        self._clock = clock
        self._working: Counter[str] = Counter()
        self._began: dict[int, float] = {}
        self._waiting: Holdings[Waiter] = Holdings()
        self._unserved_since: dict[str, int] = {}
        self._serial = count()
        self._mean = 0.0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._waiting.total

    @asynccontextmanager
    async def turn(self, share: str, left: Callable[[], Awaitable[None]]) -> AsyncIterator[float]:
        """Wait for a place and keep it for a block, which gets the seconds of the wait.

        `left` returns when the caller disconnects. Raises `RequestError`: 429 when the queue is full or the deadline
        passes, 400 when the caller has left.
        """
        came = self._clock()
        if self._may_begin(share):
            self._working[share] += 1
        else:
            await self._wait(share, left)
        began = self._clock()
        number = next(self._serial)
        self._began[number] = began
        try:
            yield began - came
        finally:
            del self._began[number]
            self._note(self._clock() - began)
            self._leave(share)

    def retry_after(self, share: str) -> int:
        """Estimate the whole seconds until one more request of a caller would have its turn, 1 to 60."""
        callers = len({share, *self._working, *self._waiting.shares})
        places = min(max(self._places / callers, 1.0), self._most_of_one)
        ahead = self._waiting.held_by(share) + 1
        return min(max(math.ceil(ahead * self._duration() / places), 1), LONGEST_RETRY)

    def _may_begin(self, share: str) -> bool:
        return self._working.total() < self._places and self._working[share] < self._most_of_one

    async def _wait(self, share: str, left: Callable[[], Awaitable[None]]) -> None:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._unserved_since.setdefault(share, next(self._serial))
        self._waiting.add(share, waiter)
        if self._waiting.total > self._most_waiting:
            self._refuse_one()
        watching = asyncio.ensure_future(left())
        either: set[asyncio.Future[Any]] = {waiter, watching}
        granted = False
        try:
            await asyncio.wait(either, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            granted = waiter.done() and waiter.result()
        finally:
            watching.cancel()
            if not granted:
                self._give_up(share, waiter)
        if granted:
            return
        if waiter.done():
            raise too_many(f"{self._most_waiting} requests wait already.", self.retry_after(share))
        if watching.done():
            raise broken_off()
        self._say_refused(share)
        raise too_many(f"No turn came within {self._patience:g} seconds.", self.retry_after(share))

    def _give_up(self, share: str, waiter: Waiter) -> None:
        if waiter.done() and waiter.result():
            # The place was granted to a request that was cancelled.
            self._leave(share)
        else:
            self._forget(share, waiter)

    def _refuse_one(self) -> None:
        share, loser = self._waiting.newest_of_largest()
        self._forget(share, loser)
        self._say_refused(share)
        loser.set_result(False)

    def _say_refused(self, share: str) -> None:
        log.warning(
            "http.too_many_requests",
            caller=share,
            working=self._working.total(),
            waiting=self._waiting.total,
            every=_SAID_AGAIN,
            every_key=share,
        )

    def _leave(self, share: str) -> None:
        self._working[share] -= 1
        if not self._working[share]:
            del self._working[share]
        while (chosen := self._next()) is not None:
            waiter = self._waiting.oldest_of(chosen)
            self._unserved_since[chosen] = next(self._serial)
            self._forget(chosen, waiter)
            self._working[chosen] += 1
            waiter.set_result(True)

    def _next(self) -> str | None:
        return min(
            (share for share in self._waiting.shares if self._may_begin(share)),
            key=lambda share: (self._working[share], self._unserved_since[share]),
            default=None,
        )

    def _forget(self, share: str, waiter: Waiter) -> None:
        self._waiting.remove(share, waiter)
        if not self._waiting.held_by(share):
            self._unserved_since.pop(share, None)

    def _note(self, seconds: float) -> None:
        self._mean += (seconds - self._mean) * (_SMOOTHING if self._mean else 1.0)

    def _duration(self) -> float:
        """Return how long a request takes: the mean, or more when running requests have taken longer already."""
        now = self._clock()
        ages = [now - began for began in self._began.values()]
        return max(self._mean, sum(ages) / len(ages) if ages else 0.0)
