"""The queue of requests: a fair share of the slots for each caller, and a limit on the wait."""

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

from cdc_http.limits.usage import UsageByCaller
from cdc_http.responses import broken_off, too_many

log = structlog.get_logger(__name__)

LONGEST_RETRY = 60
"""Largest value, in seconds, of the Retry-After header."""

_LARGEST_PART_OF_ONE_CALLER = 0.75
"""The largest part of the slots that one caller may use. The rest stays free for other callers."""

_SMOOTHING = 0.1
"""Weight of the newest request in the mean duration: about the last ten of them count."""

_LOG_INTERVAL = 30.0

Waiter = asyncio.Future[bool]
"""True when the request may begin, False when it is refused."""


class RequestQueue:
    """`slots` for requests that run at once, and a queue of `max_waiting` others.

    A free slot goes to the caller with the fewest running requests; among equals, to the one that has waited longest
    since its last slot. When the queue is full, the newest request of the caller with the most waiting ones is refused.
    No request waits longer than `max_wait` seconds.
    """

    def __init__(
        self, slots: int, *, max_waiting: int, max_wait: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._slots = slots
        self._max_of_one_caller = math.ceil(slots * _LARGEST_PART_OF_ONE_CALLER)
        self._max_waiting = max_waiting
        self._max_wait = max_wait
        self._clock = clock
        self._running: Counter[str] = Counter()
        self._started: dict[int, float] = {}
        self._waiting: UsageByCaller[Waiter] = UsageByCaller()
        self._unserved_since: dict[str, int] = {}
        self._serial = count()
        self._mean = 0.0

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        return self._waiting.total

    @asynccontextmanager
    async def slot(self, caller: str, disconnected: Callable[[], Awaitable[None]]) -> AsyncIterator[float]:
        """Wait for a slot and keep it while a block runs. The block gets the seconds of the wait.

        `disconnected` returns when the caller disconnects. Raises `RequestError`: 429 when the queue is full or
        `max_wait` has passed, 400 when the caller has disconnected.
        """
        came = self._clock()
        if self._may_begin(caller):
            self._running[caller] += 1
        else:
            await self._wait(caller, disconnected)
        began = self._clock()
        number = next(self._serial)
        self._started[number] = began
        try:
            yield began - came
        finally:
            del self._started[number]
            self._record_duration(self._clock() - began)
            self._free_slot(caller)

    def retry_after(self, caller: str) -> int:
        """Estimate after how many seconds one more request of a caller would get a slot: 1 to 60."""
        callers = len({caller, *self._running, *self._waiting.callers})
        slots = min(max(self._slots / callers, 1.0), self._max_of_one_caller)
        ahead = self._waiting.used_by(caller) + 1
        return min(max(math.ceil(ahead * self._duration() / slots), 1), LONGEST_RETRY)

    def _may_begin(self, caller: str) -> bool:
        return self._running.total() < self._slots and self._running[caller] < self._max_of_one_caller

    async def _wait(self, caller: str, disconnected: Callable[[], Awaitable[None]]) -> None:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._unserved_since.setdefault(caller, next(self._serial))
        self._waiting.add(caller, waiter)
        if self._waiting.total > self._max_waiting:
            self._refuse_one()
        watching = asyncio.ensure_future(disconnected())
        either: set[asyncio.Future[Any]] = {waiter, watching}
        granted = False
        try:
            await asyncio.wait(either, timeout=self._max_wait, return_when=asyncio.FIRST_COMPLETED)
            granted = waiter.done() and waiter.result()
        finally:
            watching.cancel()
            if not granted:
                self._give_up(caller, waiter)
        if granted:
            return
        if waiter.done():
            raise too_many(f"{self._max_waiting} requests are already waiting.", self.retry_after(caller))
        if watching.done():
            raise broken_off()
        self._log_refusal(caller)
        raise too_many(f"The request waited for more than {self._max_wait:g} seconds.", self.retry_after(caller))

    def _give_up(self, caller: str, waiter: Waiter) -> None:
        if waiter.done() and waiter.result():
            # The slot was granted to a request that was cancelled.
            self._free_slot(caller)
        else:
            self._remove(caller, waiter)

    def _refuse_one(self) -> None:
        caller, loser = self._waiting.newest_of_largest_user()
        self._remove(caller, loser)
        self._log_refusal(caller)
        loser.set_result(False)

    def _log_refusal(self, caller: str) -> None:
        log.warning(
            "http.too_many_requests",
            caller=caller,
            working=self._running.total(),
            waiting=self._waiting.total,
            every=_LOG_INTERVAL,
            every_key=caller,
        )

    def _free_slot(self, caller: str) -> None:
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]
        while (chosen := self._next()) is not None:
            waiter = self._waiting.oldest_of(chosen)
            self._unserved_since[chosen] = next(self._serial)
            self._remove(chosen, waiter)
            self._running[chosen] += 1
            waiter.set_result(True)

    def _next(self) -> str | None:
        return min(
            (caller for caller in self._waiting.callers if self._may_begin(caller)),
            key=lambda caller: (self._running[caller], self._unserved_since[caller]),
            default=None,
        )

    def _remove(self, caller: str, waiter: Waiter) -> None:
        self._waiting.remove(caller, waiter)
        if not self._waiting.used_by(caller):
            self._unserved_since.pop(caller, None)

    def _record_duration(self, seconds: float) -> None:
        self._mean += (seconds - self._mean) * (_SMOOTHING if self._mean else 1.0)

    def _duration(self) -> float:
        """Return how long a request takes: the mean, or more when running requests have taken longer already."""
        now = self._clock()
        ages = [now - began for began in self._started.values()]
        return max(self._mean, sum(ages) / len(ages) if ages else 0.0)
