"""Sequential pages of a query's result, smaller ones if Cassandra is slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog

from cdc_daemon.cassandra.pace import Pace
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CassandraUnavailableError

log = structlog.get_logger(__name__)

SMALLEST_PAGE = 10
"""The smallest page size in rows, even if Cassandra is slow."""

Answer = tuple[list[Any], bytes | None]
"""Rows, and the paging state of the next page."""


class Pages:
    """The pages that `ask` returns for a paging state and a size, each with whether it is the last one.

    After an error a page is requested again, smaller; the error is raised after `patience` seconds.
    """

    def __init__(
        self,
        ask: Callable[[bytes | None, int], Awaitable[Answer]],
        *,
        page_rows: int,
        pace: Pace,
        patience: float,
    ) -> None:
        self.page_rows = page_rows
        """The page size in rows while Cassandra answers in time."""
        self._ask = ask
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

    async def _page(self, state: bytes | None) -> Answer:
        backoff = Backoff()
        until = time.monotonic() + self._patience
        while True:
            started = time.monotonic()
            size = self.page_rows if self._slowed is None else min(self._slowed, self.page_rows)
            try:
                answer = await self._ask(state, size)
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
            return answer
