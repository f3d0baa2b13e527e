"""Makes written documents visible to searches, at once or with a shared refresh."""

from __future__ import annotations

import asyncio
import time
from enum import Enum

from cdc_daemon.search.documents import refresh
from cdc_daemon.search.engine import SearchEngine


class Refresh(Enum):
    """Whether a request waits until searches see the written documents."""

    NO = "false"
    NOW = "true"
    """An extra refresh, at once."""

    SHARED = "wait_for"
    """The next of at most one extra refresh a second, however many requests wait for it."""


class Refresher:
    """Refreshes aliases. `interval` is the minimum time in seconds between two shared refreshes.

    With Elasticsearch's own `wait_for`, a write request stays open for the index's `refresh_interval`, or forever if
    that is -1. A limited number of refreshes has the same effect for callers and costs the index little.
    """

    def __init__(self, engine: SearchEngine, *, interval: float = 1.0) -> None:
        self._engine = engine
        self._interval = interval
        self._last: dict[str, float] = {}
        self._next: dict[str, asyncio.Task[None]] = {}

    async def refresh(self, alias: str, when: Refresh) -> None:
        """Wait until searches see everything written before this call.

        Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`.
        """
        if when is Refresh.NOW:
            await self._refresh(alias)
        elif when is Refresh.SHARED:
            shared = self._next.get(alias)
            if shared is None:
                shared = self._next[alias] = asyncio.create_task(self._refresh_later(alias), name="shared-refresh")
            await asyncio.shield(shared)

    async def close(self) -> None:
        """Cancel the pending refreshes."""
        tasks = list(self._next.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh_later(self, alias: str) -> None:
        await asyncio.sleep(max(0.0, self._last.get(alias, 0.0) + self._interval - time.monotonic()))
        # Later callers need writes that this refresh may not show.
        del self._next[alias]
        self._last[alias] = time.monotonic()
        await self._refresh(alias)

    async def _refresh(self, alias: str) -> None:
        await refresh(self._engine, alias)
