"""Refreshes dependents: finds the documents that show a changed row of another table, and rebuilds them."""

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
from cdc_daemon.store.dependents import ChangedRow, DependentStore, QueuedRow

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Changed rows processed concurrently, so that a row with a million dependents does not block the others."""

INTERVAL = 0.2
"""Seconds between two checks of the queue."""

IN_FLIGHT_SECONDS = 60.0
"""Maximum seconds to wait for rows that were in flight when the processing of a changed row began."""

LONGEST_PAUSE = 30.0
"""Maximum seconds until a row with repeatedly failing refreshes is retried."""

LONGEST_DELAY = 1.0
"""Maximum seconds for which a failed refresh keeps its place among the concurrent ones. Without this delay the daemon
would try every row of the queue while a server is unavailable."""

MOST_FAILED = 1000
"""Maximum number of failed rows; with more, no other rows are started. Failed rows are kept in memory."""

_LOG_INTERVAL = 30.0


class ChangedRowQueue(Protocol):
    """The durable queue of changed rows with dependents."""

    async def oldest(self, limit: int, *, excluding: Sequence[int] = ()) -> Sequence[QueuedRow]:
        """Return the rows that have waited longest."""
        ...

    async def skip(self, queued: QueuedRow) -> None:
        """Skip a row until it changes again, or until `restore_skipped`."""
        ...

    async def restore_skipped(self) -> None:
        """Return all skipped rows to the queue."""
        ...

    async def done(self, queued: QueuedRow) -> None:
        """Delete a row, unless it changed again in the meantime."""
        ...


class StoredChangedRows:
    """The queue of changed rows in the store, for coroutines."""

    def __init__(self, store: DependentStore) -> None:
        self._store = store

    async def add(self, rows: Sequence[ChangedRow]) -> None:
        """Store changed rows durably. Raises `StoreError`."""
        await asyncio.to_thread(self._store.add, rows)

    async def oldest(self, limit: int, *, excluding: Sequence[int] = ()) -> Sequence[QueuedRow]:
        """Return the rows that have waited longest."""
        if not self._store.count:
            return ()
        return await asyncio.to_thread(self._store.oldest, limit, excluding=excluding)

    async def skip(self, queued: QueuedRow) -> None:
        """Skip a row until it changes again, or until `restore_skipped`."""
        await asyncio.to_thread(self._store.skip, queued)

    async def restore_skipped(self) -> None:
        """Return all skipped rows to the queue."""
        await asyncio.to_thread(self._store.restore_skipped)

    async def done(self, queued: QueuedRow) -> None:
        """Delete a row, unless it changed again in the meantime."""
        await asyncio.to_thread(self._store.done, queued)


class DependentsObserver(Protocol):
    """Observes refreshes."""

    def refreshed(self, table: TableName, count: int) -> None:
        """Count documents that were rebuilt because a row of `table` had changed."""
        ...

    def failed(self, table: TableName) -> None:
        """Count a failed refresh of documents that show a row of `table`; it is retried."""
        ...


@dataclass(slots=True)
class _FailedRow:
    """A row with a failed refresh; it is retried at `until` on the loop's clock."""

    until: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(last=LONGEST_PAUSE))


class DependentsRefresher:
    """Refreshes, for each changed row in the queue, the documents that show it.

    When the row enters the queue, a document built from a read before the change may still be in flight. A search would
    miss that document, or find it before it is written. So the search begins only after every row in flight is written
    and the index is refreshed. Reads that begin later see the change.

    A document with a version above the row's was built from a read after the change and needs no refresh. A search that
    an outage or a crash interrupted is restarted, and it skips the documents that are already refreshed. A failed row
    is retried after a pause. Only one failed row is retried at a time, so that failed rows do not delay the others.

    `rate` limits the documents a second. `margin` (µs) is how far another daemon's versions may be ahead.
    `wait_for_others` waits for the in-flight rows of other daemons, which this daemon cannot observe. `troubled`
    returns the aliases that accept no writes at present. If a row appears in documents of such an alias, its other
    documents are refreshed, and the row is then skipped until an alias accepts writes again. `search_failed` receives
    an alias that could not be searched.
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
        self._blocking: set[str] | None = None
        self._queue = queue
        self._finders = finders
        self._flights = flights
        self._sink = sink
        self._gate = gate
        self._observer = observer
        self._rate = rate
        self._margin = margin
        self._wait_for_others = wait_for_others
        self._in_progress: dict[int, asyncio.Task[None]] = {}
        self._failed: dict[int, _FailedRow] = {}
        self._delay = Backoff(last=LONGEST_DELAY)

    async def turn(self) -> None:
        """Process the rows in the queue, and those that enter it in the meantime. Raises `StoreError`."""
        try:
            while await self._start_more():
                await asyncio.wait(self._in_progress.values(), timeout=INTERVAL, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._in_progress.values():
                task.cancel()
            await asyncio.gather(*self._in_progress.values(), return_exceptions=True)
            self._in_progress = {}

    async def _start_more(self) -> bool:
        """Start rows until `AT_ONCE` are in progress; return whether any are in progress."""
        await self._restore_skipped()
        self._in_progress = {identity: task for identity, task in self._in_progress.items() if not task.done()}
        room = AT_ONCE - len(self._in_progress)
        if room > 0 and not self._failed.keys() & self._in_progress.keys():
            now = asyncio.get_running_loop().time()
            due = [identity for identity, each in self._failed.items() if each.until <= now]
            started = await self._begin(1, excluding=self._failed.keys() - due)
            room -= started
            if not started:
                for identity in due:  # they are no longer in the queue
                    del self._failed[identity]
        if room > 0 and len(self._failed) < MOST_FAILED:
            await self._begin(room, excluding=self._failed)
        return bool(self._in_progress)

    async def _restore_skipped(self) -> None:
        """Return skipped rows to the queue: at the first call, and when an alias they wait for accepts writes again."""
        if self._blocking is None or (self._blocking and self._blocking - self._troubled.among(self._blocking).keys()):
            self._blocking = set()
            await self._queue.restore_skipped()

    async def _begin(self, room: int, *, excluding: Iterable[int]) -> int:
        """Start the rows that have waited longest, except the ids in `excluding`; return how many were started."""
        waiting = await self._queue.oldest(room, excluding=[*{*excluding, *self._in_progress}])
        for queued in waiting:
            self._in_progress[queued.id] = asyncio.create_task(self._process(queued), name="dependents")
        return len(waiting)

    async def _process(self, queued: QueuedRow) -> None:
        """Refresh a row's dependents, or schedule a retry."""
        table = queued.row.key.table
        try:
            count, blocking = await self._refresh(queued.row)
            if blocking:
                await self._queue.skip(queued)
                self._blocking = blocking | (self._blocking or set())
            else:
                await self._queue.done(queued)
        except Exception as error:
            failed_row = self._failed.setdefault(queued.id, _FailedRow())
            delay = failed_row.backoff.next()
            failed_row.until = asyncio.get_running_loop().time() + delay
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
        self._failed.pop(queued.id, None)
        self._delay.reset()
        log.debug("dependents.refreshed", table=str(table), documents=count)

    async def _refresh(self, row: ChangedRow) -> tuple[int, set[str]]:
        """Refresh a row's dependents; return how many, and the aliases in trouble that block some of them."""
        finders = self._finders.get(row.key.table, ())
        for table in {finder.shown_in for finder in finders}:
            await self._flights.wait_landed(table, IN_FLIGHT_SECONDS)
        await self._wait_for_others()
        count = 0
        blocking: set[str] = set()
        failure: CdcError | None = None
        for finder in finders:
            if troubles := self._troubled.whole_table(finder.shown_in):
                blocking |= troubles.keys()
                continue
            try:
                async for keys in finder.find(row.key, read_before=row.version + self._margin):
                    blocking |= await self._signal(keys, row)
                    self._observer.refreshed(row.key.table, len(keys))
                    count += len(keys)
            except (ElasticsearchRefusedError, ElasticsearchUnavailableError) as error:
                troubles = self._troubled.among([alias_of(error) or ""])
                blocking |= troubles.keys()
                if not troubles:
                    failure = failure or error
        if failure is not None:
            raise failure
        return count, blocking

    async def _signal(self, keys: Sequence[Key], row: ChangedRow) -> set[str]:
        """Submit the keys of dependents, and wait until they are written and the rate permits more.

        Return the aliases in trouble that block some of them.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        signals = [
            Signal(key.table, key.partition_key, Scope.ROW, key.clustering or (), passed_on=True, since=row.since)
            for key in keys
        ]
        await self._gate.wait_open()
        refused = await hand_over_each(self._sink.submit_background, signals)
        share = self._rate / AT_ONCE
        await asyncio.sleep(max(0.0, len(keys) / share - (loop.time() - started)))
        return {trouble.alias for trouble in refused.values() if trouble.alias is not None}
