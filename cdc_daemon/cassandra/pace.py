"""How fast a scan may go: by a rate that somebody set, and by how Cassandra takes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

CALM = 3.0
"""How many times its usual time a page may take before the scan slows down."""

NOISE = 0.05
"""Seconds by which the times of pages may differ without meaning anything."""

LONGEST_PAUSE = 5.0
"""Seconds of pause between two pages at most."""


class Pace:
    """Holds a scan back.

    `rate` is in rows a second, None for no bound. Where pages take `CALM` times as long as they usually do, Cassandra
    is busy with something else: the pause after a page then grows until the scan takes a small part of its time.
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
        """Seconds that the next page is held back because Cassandra is busy."""

    async def take(self, rows: int) -> None:
        """Wait until so many more rows may be handled."""
        if self._rate is None:
            return
        now = self._clock()
        start = max(self._free_at, now)
        self._free_at = start + rows / self._rate
        if start > now:
            await self._sleep(start - now)

    async def after_page(self, seconds: float) -> None:
        """Take note of how long Cassandra took for a page; wait if that was long."""
        self.note(seconds)
        if self.pause:
            await self._sleep(self.pause)

    def note(self, seconds: float) -> None:
        """Take note of how long Cassandra took for a page, or that it did not answer in that time."""
        usual = seconds if self._usual is None else self._usual
        if seconds > CALM * usual + NOISE:
            self.pause = min(max(2 * self.pause, seconds), LONGEST_PAUSE)
            self._usual = 1.01 * usual  # what was slow for long is the usual in the end
            return
        self.pause = self.pause / 2 if self.pause > NOISE else 0.0
        self._usual = seconds if seconds < usual else 0.9 * usual + 0.1 * seconds
