"""Pages of a query's result, throttled: while Cassandra is slow, pages are smaller and requested less often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CassandraUnavailableError

CALM = 3.0
"""The scan slows down when a page takes this many times its usual time."""

NOISE = 0.05
"""Differences between page times below this many seconds are ignored."""

LONGEST_PAUSE = 5.0
"""The longest pause between two pages in seconds."""


class ScanThrottle:
    """Throttles a scan.

    `rate` is in rows per second, None for no limit. If a page takes more than `CALM` times its usual time, Cassandra
    is assumed to be busy with other work. The pause after each page then grows, up to `LONGEST_PAUSE`.
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
        """Wait until the rate permits `rows` more rows."""
        if self._rate is None:
            return
        now = self._clock()
        start = max(self._free_at, now)
        self._free_at = start + rows / self._rate
        if start > now:
            await self._sleep(start - now)

    async def after_page(self, seconds: float) -> None:
        """Record Cassandra's response time for a page; pause if Cassandra is busy."""
        self.note(seconds)
        if self.pause:
            await self._sleep(self.pause)

    def note(self, seconds: float) -> None:
        """Record Cassandra's response time for a page, or the time after which the request failed."""
        usual = seconds if self._usual is None else self._usual
        if seconds > CALM * usual + NOISE:
            self.pause = min(max(2 * self.pause, seconds), LONGEST_PAUSE)
            self._usual = 1.01 * usual  # a time that stays slow becomes the usual time
            return
        self.pause = self.pause / 2 if self.pause > NOISE else 0.0
        self._usual = seconds if seconds < usual else 0.9 * usual + 0.1 * seconds


log = structlog.get_logger(__name__)

SMALLEST_PAGE = 10
"""The smallest page size in rows, even if Cassandra is slow."""

PageResult = tuple[list[Any], bytes | None]
"""Rows, and the paging state of the next page."""


class Pages:
    """Iterates over the pages of a query. Each comes with a flag that is true for the last page.

    `fetch` requests a page, given a paging state and a page size. If Cassandra does not answer, the page is requested
    again with a smaller size. After `patience` seconds the error is raised.
    """

    def __init__(
        self,
        fetch: Callable[[bytes | None, int], Awaitable[PageResult]],
        *,
        page_rows: int,
        pace: ScanThrottle,
        patience: float,
    ) -> None:
        self.page_rows = page_rows
        """The page size in rows while Cassandra answers in time."""
        self._fetch = fetch
        self._slowed: int | None = None
        self._pace = pace
        self._patience = patience

    async def __aiter__(self) -> AsyncIterator[tuple[list[Any], bool]]:
        state: bytes | None = None
        while True:
            rows, state = await self._page(state)
            yield rows, state is None
            if state is None:
                return

    async def _page(self, state: bytes | None) -> PageResult:
        backoff = Backoff()
        until = time.monotonic() + self._patience
        while True:
            started = time.monotonic()
            size = self.page_rows if self._slowed is None else min(self._slowed, self.page_rows)
            try:
                result = await self._fetch(state, size)
            except CassandraUnavailableError as error:
                self._pace.note(time.monotonic() - started)
                if time.monotonic() > until:
                    raise
                self._slowed = max(SMALLEST_PAGE, size // 2)
                delay = max(backoff.next(), self._pace.pause)
                log.info("cassandra.page_again", error=error.message, page_rows=self._slowed, every=10.0)
                await asyncio.sleep(delay)
                continue
            if self._slowed is not None:
                grown = size + size // 4 + 1
                self._slowed = grown if grown < self.page_rows else None
            await self._pace.after_page(time.monotonic() - started)
            return result
