"""The limits of bulk requests: those that are configured, and how many are in flight under overload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cdc_daemon.search.availability import ProbePauses


@dataclass(frozen=True, slots=True)
class BulkLimits:
    """The limits of a bulk writer.

    A request holds at most `documents` operations and `size` bytes (a single larger document is sent alone);
    at most `connections` requests are in flight. `max_body_age` in seconds is half of the index's
    `gc_deletes` (Elasticsearch's default is 60): an older body is never sent. `allowed_clock_difference` is the
    allowed clock skew between two daemons in seconds. `retry_pause` and `longest_retry_pause` in seconds
    bound the pauses under overload, `probe_pauses` those between probes while Elasticsearch is unavailable.
    """

    documents: int = 1000
    size: int = 4 * 1024 * 1024
    connections: int = 4
    request_timeout: float = 30.0
    max_body_age: float = 30.0
    allowed_clock_difference: float = 1.0
    retry_pause: float = 0.1
    longest_retry_pause: float = 5.0
    probe_pauses: ProbePauses = field(default_factory=ProbePauses)


class AdaptiveLimit:
    """A semaphore whose width shrinks under overload and grows back (additive increase, multiplicative decrease).

    Overload halves the width. Requests that started before the last reduction are ignored, as they add no
    information. Each success adds the reciprocal of the width, so about one width of successes
    increases the width by one.
    """

    def __init__(self, ceiling: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ceiling = ceiling
        self._clock = clock
        self._width = float(ceiling)
        self._shrunk = float("-inf")
        self._slots = asyncio.Semaphore(ceiling)
        self._withheld = 0

    @property
    def width(self) -> int:
        """The number of requests that may be in flight now."""
        return int(self._width)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Hold one slot; yield the time at which it was acquired."""
        await self._slots.acquire()
        try:
            yield self._clock()
        finally:
            if self._withheld < self._ceiling - self.width:
                self._withheld += 1
            else:
                self._slots.release()

    def succeeded(self) -> None:
        """Record a request that was accepted without overload."""
        self._width = min(self._width + 1 / self._width, float(self._ceiling))
        while self._withheld > self._ceiling - self.width:
            self._withheld -= 1
            self._slots.release()

    def overloaded(self, started: float) -> bool:
        """Record overload of the request that got its slot at `started`; return whether the width shrank."""
        if started < self._shrunk or self.width == 1:
            return False
        self._width = max(self._width / 2, 1.0)
        self._shrunk = self._clock()
        return True
