"""Works off changed rows: finds the documents that show each, and has them built anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from cdc_daemon.dependents.finding import DependentFinder
from cdc_daemon.errors import CdcError
from cdc_daemon.pipeline.backoff import Backoff
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over
from cdc_daemon.pipeline.signal import Scope, Signal, TableName
from cdc_daemon.store.dependents import ChangedRow, Dependent

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Changed rows worked off side by side, so that one that a million documents show does not hold up the others."""

INTERVAL = 0.2
"""Seconds between two looks into the queue."""

LANDING_SECONDS = 60.0
_SAID_AGAIN = 30.0


class Queue(Protocol):
    """The durable queue of changed rows."""

    async def oldest(self, limit: int, *, besides: Sequence[int] = ()) -> Sequence[Dependent]:
        """Return the rows that have waited longest."""
        ...

    async def done(self, dependent: Dependent) -> None:
        """Forget a row, unless it changed again meanwhile."""
        ...


class Flights(Protocol):
    """Knows what is being read or written now."""

    async def wait_landed(self, table: TableName, seconds: float) -> None:
        """Wait until each row of a table that is being read or written now has landed, at most so long."""
        ...


class DependentsObserver(Protocol):
    """Is told what is refreshed."""

    def refreshed(self, table: TableName, count: int) -> None:
        """Take note of documents that were built anew because a row of `table` had changed."""
        ...


class DependentsRefresher:
    """Refreshes, for each changed row in the queue, the documents that show it.

    A document built from a read that began before the change was believed may still be on its way when the row comes
    into the queue, and a search would not find it, or find it and be overtaken: so the search begins when every row in
    flight has landed, and after a refresh. Reads that begin later see the change. A document whose version is above the
    row's was read after the change and needs nothing: a search that was broken off, by an outage or a crash, is begun
    anew and passes over what was done. `rate` bounds the documents a second, `margin` (µs) is how far another daemon's
    versions may be ahead; `settle_others` waits for what other daemons have in flight, which cannot be seen.
    """

    def __init__(
        self,
        queue: Queue,
        finders: Mapping[TableName, Sequence[DependentFinder]],
        *,
        flights: Flights,
        sink: BackgroundSink,
        gate: Gate,
        observer: DependentsObserver,
        rate: float,
        margin: int,
        settle_others: Callable[[], Awaitable[None]],
    ) -> None:
        self._queue = queue
        self._finders = finders
        self._flights = flights
        self._sink = sink
        self._gate = gate
        self._observer = observer
        self._rate = rate
        self._margin = margin
        self._settle_others = settle_others
        self._under_way: dict[int, asyncio.Task[None]] = {}

    async def turn(self) -> None:
        """Work off what waits in the queue, and what comes into it meanwhile. Raises `StoreError`."""
        try:
            while await self._start_more():
                await asyncio.wait(self._under_way.values(), timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
            self._under_way = {}

    async def _start_more(self) -> bool:
        """Begin with as many rows as there is room for; return whether any are under way."""
        self._under_way = {identity: task for identity, task in self._under_way.items() if not task.done()}
        room = AT_ONCE - len(self._under_way)
        if room <= 0:
            return True
        waiting = await self._queue.oldest(room, besides=[*self._under_way])
        for dependent in waiting:
            self._under_way[dependent.id] = asyncio.create_task(self._follow(dependent), name="dependents")
        return bool(self._under_way)

    async def _follow(self, dependent: Dependent) -> None:
        """Refresh a row's dependents, however often that has to be tried."""
        backoff = Backoff()
        while True:
            try:
                count = await self._refresh(dependent.row)
                await self._queue.done(dependent)
            except Exception as error:
                delay = backoff.next()
                known = isinstance(error, CdcError)
                log.warning(
                    "dependents.retry",
                    table=str(dependent.row.key.table),
                    error=str(error),
                    hint=error.hint if isinstance(error, CdcError) else None,
                    exc_info=None if known else error,
                    retry_in_seconds=round(delay, 3),
                    every=_SAID_AGAIN,
                    every_key=str(dependent.row.key.table),
                )
                await asyncio.sleep(delay)
                continue
            log.debug("dependents.refreshed", table=str(dependent.row.key.table), documents=count)
            return

    async def _refresh(self, row: ChangedRow) -> int:
        finders = self._finders.get(row.key.table, ())
        for table in {finder.shown_in for finder in finders}:
            await self._flights.wait_landed(table, LANDING_SECONDS)
        await self._settle_others()
        count = 0
        for finder in finders:
            async for keys in finder.find(row.key, read_before=row.version + self._margin):
                await self._signal(keys, row)
                self._observer.refreshed(row.key.table, len(keys))
                count += len(keys)
        return count

    async def _signal(self, keys: Sequence[Key], row: ChangedRow) -> None:
        """Have rows read and their documents built, no faster than they are settled, and than the rate."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        signals = [
            Signal(key.table, key.partition_key, Scope.ROW, key.clustering or (), passed_on=True, since=row.since)
            for key in keys
        ]
        await self._gate.wait_open()
        await hand_over(self._sink.submit_background, signals)
        share = self._rate / AT_ONCE
        await asyncio.sleep(max(0.0, len(keys) / share - (loop.time() - begun)))
