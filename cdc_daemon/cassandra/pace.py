"""The speed limit of a scan: a configured rate, and Cassandra's response times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

CALM = 3.0
"""How many times its usual time a page may take before the scan slows down."""

NOISE = 0.05
"""Seconds by which page times may differ without significance."""

LONGEST_PAUSE = 5.0
"""The longest pause between two pages in seconds."""


class Pace:
    """Throttles a scan.

    `rate` is in rows per second, None for no limit. If pages take `CALM` times their usual time, Cassandra
    is busy with other work: the pause after a page then grows until the scan takes a small part of its time.
    """

    def __init__(
        self,
        rate: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        self._usual: float | None = None
        self.pause = 0.0
        """Seconds by which the next page is delayed because Cassandra is busy."""

    async def take(self, rows: int) -> None:
        """Wait until the rate permits that many more rows."""
        if self._rate is None:
            return
        now = self._clock()
        start = max(self._free_at, now)
        self._free_at = start + rows / self._rate
        if start > now:
            await self._sleep(start - now)

    async def after_page(self, seconds: float) -> None:
        """Record Cassandra's response time for a page; wait if it was long."""
        self.note(seconds)
        if self.pause:
            await self._sleep(self.pause)

    def note(self, seconds: float) -> None:
        """Record Cassandra's response time for a page, or a timeout after that time."""
        usual = seconds if self._usual is None else self._usual
        if seconds > CALM * usual + NOISE:
            self.pause = min(max(2 * self.pause, seconds), LONGEST_PAUSE)
            self._usual = 1.01 * usual  # a time that stays slow becomes the usual time
            return
        self.pause = self.pause / 2 if self.pause > NOISE else 0.0
        self._usual = seconds if seconds < usual else 0.9 * usual + 0.1 * seconds
