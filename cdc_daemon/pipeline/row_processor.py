"""Processes pending rows: takes them, reads them, reads doubtful ones again, and has their documents written."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import (
    CassandraReadError,
    CassandraRefusedError,
    CdcError,
    StoreError,
    TableDroppedError,
    Trouble,
    alias_of,
)
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.document_writer import DocumentWriter
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.lifetimes import Lifetimes
from cdc_daemon.pipeline.ports import DocumentBuilder, MappingUpdater, Observer, RowReader
from cdc_daemon.pipeline.ready_queue import Lane
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.row_batch import ReadRows, RowBatch
from cdc_daemon.pipeline.server_waits import RetryPause, ServerWaits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.pipeline.unreadable import UnreadableRows

log = structlog.get_logger(__name__)

ALONE_AT_ONCE = 16
"""Rows read alone in parallel. If none of them can be read, and no other read succeeds, it is an outage."""

_LOG_INTERVAL = 30.0
"""Seconds between log messages that a table cannot be read."""


class RowProcessor:
    """Brings the documents of pending rows up to date, batch by batch.

    The steps are: take, read, doubt, read again, build, write, judge, pass on, acknowledge. Those from `build` on
    are in `documents`. The tables of a batch are processed in parallel.
    `second_read_pause` (seconds) is the pause before a second read of a row that does not yet show the change of
    its signal. `server_waits` records which server is awaited. `dropped` builds the operations for keys of dropped
    tables. `mappings` keeps mappings and indices in step with the schema; without it, tables never change. `router`
    knows which tables other tables' documents show. `troubled` tracks which aliases take no writes: a row with
    documents only under these is parked without a read.
    """

    def __init__(
        self,
        *,
        coalescer: Coalescer,
        clock: HybridClock,
        reader: RowReader,
        documents: DocumentWriter,
        unreadable: UnreadableRows,
        lifetimes: Lifetimes,
        observer: Observer,
        router: Router,
        mappings: MappingUpdater | None = None,
        dropped: DocumentBuilder | None = None,
        server_waits: ServerWaits | None = None,
        troubled: Troubled | None = None,
        second_read_pause: float = 0.05,
    ) -> None:
        self._coalescer = coalescer
        self._clock = clock
        self._reader = reader
        self.documents = documents
        self._unreadable = unreadable
        self._lifetimes = lifetimes
        self._observer = observer
        self._router = router
        self._mappings = mappings
        self._dropped = dropped
        self._server_waits = server_waits or ServerWaits()
        self._troubled = troubled or Troubled()
        self._pause = second_read_pause

    async def run(self, lanes: Sequence[Lane], *, limit: int, pause: RetryPause) -> None:
        """Process batches of at most `limit` rows of these lanes until cancelled."""
        backoff = Backoff()
        while True:
            await self.documents.wait_available()
            entries = await self._coalescer.take_rows(min(limit, self.documents.batch_limit), lanes)
            try:
                await self.process(entries)
                backoff.reset()
            except CdcError as error:
                await pause.after(error, backoff)

    async def process(self, entries: Sequence[Entry]) -> None:
        """Process rows that were taken. Raises `CassandraUnavailableError` and `StoreError`.

        When it raises, the entries with unfinished work are back in the coalescer. A table that Cassandra refuses to
        read is retried later and blocks no other. Keys of a dropped table are processed by the policy for its
        documents.
        """
        entries = self._park_hopeless(entries) if self._troubled.any else entries
        batches: dict[TableName, RowBatch] = {}
        for entry in entries:
            batches.setdefault(entry.key.table, RowBatch(entry.key.table)).add(entry)
        failures: dict[TableName, BaseException] = {}
        try:
            outcomes = await asyncio.gather(*map(self._process_table, batches.values()), return_exceptions=True)
            failures = {
                table: outcome
                for table, outcome in zip(batches, outcomes, strict=True)
                if isinstance(outcome, BaseException)
            }
        finally:
            for entry in entries:
                if entry in batches[entry.key.table].open:
                    self._hand_back(entry, failures.get(entry.key.table))
        for table, failure in failures.items():
            if isinstance(failure, CassandraRefusedError):
                _log_refusal("pipeline.table_refused", table, failure)
        # An error that concerns all tables takes precedence over one that concerns a single index.
        for failure in sorted(failures.values(), key=lambda each: alias_of(each) is not None):
            if not isinstance(failure, CassandraRefusedError):
                raise failure

    async def _process_table(self, batch: RowBatch) -> None:
        await self._lifetimes.expect(batch.table, batch.entries)
        unread = [entry for entry in batch.entries if entry.prefetched is None]
        alone = unread if len(unread) == 1 else self._unreadable.suspects(unread)
        apart = set(alone)
        together = [entry for entry in unread if entry not in apart]
        work = [self.documents.write(batch, rows) for rows in ReadRows.prefetched(batch.entries)]
        if together:
            work.append(self._read_together(batch, together))
        if alone:
            work.append(self._read_alone(batch, alone))
        try:
            await _all(*work)
        except TableDroppedError as error:
            if self._dropped is None:
                raise
            _log_refusal("pipeline.table_dropped", batch.table, error)
            left = list(batch.open)
            rows = ReadRows(left, self._no_reading([RowState(None, None)] * len(left)))
            await self.documents.write(batch, rows, self._dropped)

    async def _read_together(self, batch: RowBatch, entries: Sequence[Entry]) -> None:
        try:
            await self._read_and_write(batch, entries)
        except CassandraReadError:
            await self._read_alone(batch, [entry for entry in entries if entry in batch.open])

    async def _read_alone(self, batch: RowBatch, entries: Sequence[Entry]) -> None:
        """Read each row alone, so that a row that can never be read blocks no other.

        A row that cannot be read is retried, or given up. Raises `CassandraReadError` if Cassandra itself seems to
        fail, and not its rows.
        """
        began = self._unreadable.now()
        # In random order: the first ones may all be unreadable.
        shuffled = random.sample(entries, len(entries))
        for at in range(0, len(shuffled), ALONE_AT_ONCE):
            several = shuffled[at : at + ALONE_AT_ONCE]
            work = (self._read_and_write(batch, [entry]) for entry in several)
            failed: list[tuple[Entry, CassandraReadError]] = []
            for entry, outcome in zip(several, await asyncio.gather(*work, return_exceptions=True), strict=True):
                if isinstance(outcome, CassandraReadError):
                    failed.append((entry, outcome))
                elif isinstance(outcome, BaseException):
                    raise outcome
            if len(failed) == len(several) and not self._unreadable.has_read_since(began):
                raise failed[0][1]
            for entry, error in failed:
                if self._unreadable.gives_up(entry):
                    rows = ReadRows([entry], self._no_reading([RowState(None, None, error)]))
                    await self.documents.write(batch, rows)
                else:
                    del batch.open[entry]
                    self._unreadable.retry(entry, error)

    async def _read_and_write(self, batch: RowBatch, entries: Sequence[Entry]) -> None:
        """Read rows and have their documents written; read doubtful rows again while the others are written."""
        reading = await self._read(batch.table, entries)
        self._unreadable.note_read(batch.table, entries)
        rows = ReadRows(entries, reading)
        doubtful = [at for at, each in enumerate(zip(entries, reading.states, strict=True)) if is_doubtful(*each)]
        if not doubtful:
            await self.documents.write(batch, rows)
            return
        self._observer.second_reads(len(doubtful))
        doubted = [entries[at] for at in doubtful]
        written = self.documents.write(batch, rows.without(doubtful))
        _, again = await _all(written, self._read_again(batch.table, doubted))
        await self.documents.write(batch, ReadRows(doubted, again))

    async def _read_again(self, table: TableName, entries: Sequence[Entry]) -> Reading:
        await asyncio.sleep(self._pause)
        return await self._read(table, entries, confirm=True)

    async def _read(self, table: TableName, entries: Sequence[Entry], *, confirm: bool = False) -> Reading:
        """Read rows, then update the mappings of their table, so that an index has the fields of all their columns."""
        keys = [entry.key for entry in entries]
        with self._server_waits.on("cassandra", entries):
            reading = await self._reader.read(table, keys, confirm=confirm)
        if self._mappings is not None:
            with self._server_waits.on("elasticsearch", entries):
                await self._mappings.update(table, keys, reading)
        return reading

    def _no_reading(self, states: Sequence[RowState]) -> Reading:
        """Return a reading of rows that do not exist or cannot be read."""
        return Reading(self._clock.next(), time.monotonic(), (), states)

    def _park_hopeless(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Park the rows for which no document can be written, except those that other tables' documents show."""
        troubles = {table: self._troubled.whole_table(table) for table in {entry.key.table for entry in entries}}
        left = []
        for entry in entries:
            if troubles[entry.key.table] and not self._router.leads_on(entry):
                self._coalescer.park(entry, troubles[entry.key.table])
            else:
                left.append(entry)
        return left

    def _hand_back(self, entry: Entry, failure: BaseException | None) -> None:
        if isinstance(failure, CdcError):
            entry.delay(Trouble.of(failure))
        # Errors that other workers need not meet at once: a missing table, an index with a missing setting, a store
        # that cannot write.
        pauses = isinstance(failure, (CassandraRefusedError, StoreError)) or alias_of(failure) is not None
        self._coalescer.retry(entry, Backoff.delay(entry.attempts) if pauses else 0.0)


async def _all(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Wait for all of the work, then raise its first failure: that rows cannot be read comes after any other."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for failure in sorted(failures, key=lambda each: isinstance(each, CassandraReadError)):
        raise failure
    return outcomes


def _log_refusal(event: str, table: TableName, error: CdcError) -> None:
    log.warning(
        event,
        table=str(table),
        error=error.message,
        hint=error.hint,
        every=_LOG_INTERVAL,
        every_key=str(table),
    )


def is_doubtful(entry: Entry, state: RowState) -> bool:
    """Return whether a first read does not show the changes of the signals (docs/guarantees.md, promise 2).

    An absent row is as expected when nothing newer than a removal is known. A row that is present has to
    be at least as new as the newest write, and newer than any removal that may have covered it: at equal
    times a deletion wins (Cassandra's `Cells.reconcile`). If a table shows no write time, every change
    is doubtful.
    """
    if state.error is not None:
        return False
    if state.row is None:
        return entry.written > entry.removed
    removed = max(entry.removed, entry.suspected)
    if state.newest is None:
        return entry.written > 0 or removed > 0
    return state.newest < entry.written or 0 < removed >= state.newest
