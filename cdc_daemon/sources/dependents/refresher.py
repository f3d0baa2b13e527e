"""Refreshes dependents: finds the documents that show a changed row of another table, and has them rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CdcError, ElasticsearchRefusedError, ElasticsearchUnavailableError, alias_of
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink, InFlightRows, hand_over_each
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.sources.dependents.finders import DependentFinder
from cdc_daemon.store.dependents import ChangedRow, Dependent, DependentStore

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Changed rows processed concurrently, so that a row that a million documents show does not block the others."""

INTERVAL = 0.2
"""Seconds between two checks of the queue."""

IN_FLIGHT_SECONDS = 60.0
"""Maximum seconds to wait for rows that were in flight when the processing of a changed row began."""

LONGEST_PAUSE = 30.0
"""Maximum seconds until a row with repeatedly failing refreshes is retried."""

LONGEST_DELAY = 1.0
"""Maximum seconds that a failed refresh still counts as one of the concurrent ones. Otherwise the whole queue would be
tried while a server is unavailable."""

MOST_FAILING = 1000
"""Maximum number of failed rows; with more, no other rows are started. Failed rows are kept in memory."""

_LOG_INTERVAL = 30.0


class ChangedRowQueue(Protocol):
    """The durable queue of changed rows with dependents."""

    async def oldest(self, limit: int, *, besides: Sequence[int] = ()) -> Sequence[Dependent]:
        """Return the rows that have waited longest."""
        ...

    async def pass_over(self, dependent: Dependent) -> None:
        """Skip a row until it changes again, or until `bring_back`."""
        ...

    async def bring_back(self) -> None:
        """Return all skipped rows to the queue."""
        ...

    async def done(self, dependent: Dependent) -> None:
        """Delete a row, unless it changed again in the meantime."""
        ...


class StoredChangedRows:
    """The queue of changed rows in the store, for coroutines."""

    def __init__(self, store: DependentStore) -> None:
        self._store = store

    async def add(self, rows: Sequence[ChangedRow]) -> None:
        """Store changed rows durably. Raises `StoreError`."""
        await asyncio.to_thread(self._store.add, rows)

    async def oldest(self, limit: int, *, besides: Sequence[int] = ()) -> Sequence[Dependent]:
        """Return the rows that have waited longest."""
        if not self._store.count:
            return ()
        return await asyncio.to_thread(self._store.oldest, limit, besides=besides)

    async def pass_over(self, dependent: Dependent) -> None:
        """Skip a row until it changes again, or until `bring_back`."""
        await asyncio.to_thread(self._store.pass_over, dependent)

    async def bring_back(self) -> None:
        """Return all skipped rows to the queue."""
        await asyncio.to_thread(self._store.bring_back)

    async def done(self, dependent: Dependent) -> None:
        """Delete a row, unless it changed again in the meantime."""
        await asyncio.to_thread(self._store.done, dependent)


class DependentsObserver(Protocol):
    """Observes refreshes."""

    def refreshed(self, table: TableName, count: int) -> None:
        """Count documents that were rebuilt because a row of `table` had changed."""
        ...

    def failed(self, table: TableName) -> None:
        """Count a failed refresh of documents that show a row of `table`; it is retried."""
        ...


@dataclass(slots=True)
class _Failing:
    """A row with a failed refresh; it is retried at `until` on the loop's clock."""

    until: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(last=LONGEST_PAUSE))


class DependentsRefresher:
    """Refreshes, for each changed row in the queue, the documents that show it.

    A document built from a read before the change may still be in flight when the row enters the queue. A search would
    miss it, or the document would be written after it was found. So the search begins when every row in flight is
    written, and after a refresh of the index. Reads that begin later see the change.

    A document with a version above the row's was read after the change and needs nothing. So a search that an outage or
    a crash interrupted is restarted, and skips the documents that are done. A failed row is retried after a pause, one
    such row at a time, so that it does not delay the others.

    `rate` limits the documents a second. `margin` (µs) is how far another daemon's versions may be ahead.
    `wait_for_others` waits for what other daemons have in flight, which cannot be observed. `troubled` returns the
    aliases in trouble. A row that documents under such an alias show is skipped after its other documents are
    refreshed, until an alias accepts writes again. `search_failed` receives an alias that could not be searched.
    """

    def __init__(
        self,
        queue: ChangedRowQueue,
        finders: Mapping[TableName, Sequence[DependentFinder]],
        *,
        flights: InFlightRows,
        sink: BackgroundSink,
        gate: Gate,
        observer: DependentsObserver,
        rate: float,
        margin: int,
        wait_for_others: Callable[[], Awaitable[None]],
        troubled: Troubled | None = None,
        search_failed: Callable[[str], None] = lambda _alias: None,
    ) -> None:
        self._troubled = troubled or Troubled()
        self._search_failed = search_failed
        self._waited: set[str] | None = None
        self._queue = queue
        self._finders = finders
        self._flights = flights
        self._sink = sink
        self._gate = gate
        self._observer = observer
        self._rate = rate
        self._margin = margin
        self._wait_for_others = wait_for_others
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._failing: dict[int, _Failing] = {}
        self._delay = Backoff(last=LONGEST_DELAY)

    async def turn(self) -> None:
        """Process the rows in the queue, and those that enter it in the meantime. Raises `StoreError`."""
        try:
            while await self._start_more():
                await asyncio.wait(self._under_way.values(), timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
            self._under_way = {}

    async def _start_more(self) -> bool:
        """Start as many rows as there is room for; return whether any are in progress."""
        await self._bring_back()
        self._under_way = {identity: task for identity, task in self._under_way.items() if not task.done()}
        room = AT_ONCE - len(self._under_way)
        if room > 0 and not self._failing.keys() & self._under_way.keys():
            now = asyncio.get_running_loop().time()
            due = [identity for identity, each in self._failing.items() if each.until <= now]
            begun = await self._begin(1, besides=self._failing.keys() - due)
            room -= begun
            if not begun:
                for identity in due:  # they are no longer in the queue
                    del self._failing[identity]
        if room > 0 and len(self._failing) < MOST_FAILING:
            await self._begin(room, besides=self._failing)
        return bool(self._under_way)

    async def _bring_back(self) -> None:
        """Return skipped rows to the queue: at first, and when an alias that they wait for accepts writes again."""
        if self._waited is None or (self._waited and self._waited - self._troubled.among(self._waited).keys()):
            self._waited = set()
            await self._queue.bring_back()

    async def _begin(self, room: int, *, besides: Iterable[int]) -> int:
        """Start the rows that have waited longest, except those in `besides`; return how many were started."""
        waiting = await self._queue.oldest(room, besides=[*{*besides, *self._under_way}])
        for dependent in waiting:
            self._under_way[dependent.id] = asyncio.create_task(self._process(dependent), name="dependents")
        return len(waiting)

    async def _process(self, dependent: Dependent) -> None:
        """Refresh a row's dependents, or schedule a retry."""
        table = dependent.row.key.table
        try:
            count, waited = await self._refresh(dependent.row)
            if waited:
                await self._queue.pass_over(dependent)
                self._waited = waited | (self._waited or set())
            else:
                await self._queue.done(dependent)
        except Exception as error:
            failing = self._failing.setdefault(dependent.id, _Failing())
            delay = failing.backoff.next()
            failing.until = asyncio.get_running_loop().time() + delay
            self._observer.failed(table)
            if (alias := alias_of(error)) is not None:
                self._search_failed(alias)
            known = isinstance(error, CdcError)
            log.warning(
                "dependents.retry",
                table=str(table),
                error=str(error),
                hint=error.hint if isinstance(error, CdcError) else None,
                exc_info=None if known else error,
                retry_in_seconds=round(delay, 3),
                every=_LOG_INTERVAL,
                every_key=str(table),
            )
            await asyncio.sleep(self._delay.next())
            return
        self._failing.pop(dependent.id, None)
        self._delay.reset()
        log.debug("dependents.refreshed", table=str(table), documents=count)

    async def _refresh(self, row: ChangedRow) -> tuple[int, set[str]]:
        """Refresh a row's dependents; return how many, and the aliases in trouble that some of them wait for."""
        finders = self._finders.get(row.key.table, ())
        for table in {finder.shown_in for finder in finders}:
            await self._flights.wait_landed(table, IN_FLIGHT_SECONDS)
        await self._wait_for_others()
        count = 0
        waited: set[str] = set()
        failure: CdcError | None = None
        for finder in finders:
            if troubles := self._troubled.whole_table(finder.shown_in):
                waited |= troubles.keys()
                continue
            try:
                async for keys in finder.find(row.key, read_before=row.version + self._margin):
                    waited |= await self._signal(keys, row)
                    self._observer.refreshed(row.key.table, len(keys))
                    count += len(keys)
            except (ElasticsearchRefusedError, ElasticsearchUnavailableError) as error:
                troubles = self._troubled.among([alias_of(error) or ""])
                waited |= troubles.keys()
                if not troubles:
                    failure = failure or error
        if failure is not None:
            raise failure
        return count, waited

    async def _signal(self, keys: Sequence[Key], row: ChangedRow) -> set[str]:
        """Request that rows are read and their documents built, no faster than they are written and than the rate.

        Return the aliases in trouble that some of them wait for.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        signals = [
            Signal(key.table, key.partition_key, Scope.ROW, key.clustering or (), passed_on=True, since=row.since)
            for key in keys
        ]
        await self._gate.wait_open()
        refused = await hand_over_each(self._sink.submit_background, signals)
        share = self._rate / AT_ONCE
        await asyncio.sleep(max(0.0, len(keys) / share - (loop.time() - begun)))
        return {trouble.alias for trouble in refused.values() if trouble.alias is not None}
