"""Settles a batch of rows: reads them, reads doubtful ones again, and writes them or returns them for a retry."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.clock import HybridClock
from cdc_daemon.model.errors import (
    CassandraReadError,
    CassandraRefusedError,
    CdcError,
    StoreError,
    TableDroppedError,
    alias_of,
)
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.batch_writer import BatchWriter, SetAside
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.giving_up import Poison
from cdc_daemon.pipeline.lifetimes import Lifetimes
from cdc_daemon.pipeline.ports import DeadDocuments, DocumentBuilder, Expiries, Observer, RowReader, Suspects, Writer
from cdc_daemon.pipeline.read_ahead import early_readings
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.server_waits import Waits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.pipeline.unreadable import UnreadableRows

log = structlog.get_logger(__name__)

BATCH_SIZE = 16 * 1024 * 1024
"""Bytes of documents that one batch should not exceed; each worker holds one batch."""

_SAID_AGAIN = 30.0
"""Seconds between log messages that a table cannot be read."""


class Settlement:
    """Settles batches of row entries.

    `second_read_pause` (seconds) is the pause before a second read of a row that does not yet show the change of
    its signal. `router` passes settled changes on to the documents that show them. `waits` records which server is
    awaited. `allowed_clock_difference` (µs) is how far another daemon's clock may correctly be ahead. `dropped`
    builds the writes for keys of dropped tables, `poison` decides which documents to give up.
    `dead` tracks the documents that were set aside earlier: when one is written after all, its letter is deleted.
    `expiries` tracks when values of rows expire, `suspects` which documents a lost request may still write.
    `troubled` tracks which aliases take no writes: a row with documents only under these is parked without a read.
    """

    def __init__(
        self,
        *,
        coalescer: Coalescer,
        clock: HybridClock,
        reader: RowReader,
        builder: DocumentBuilder,
        writer: Writer,
        set_aside: SetAside,
        observer: Observer,
        dropped: DocumentBuilder | None = None,
        poison: Poison | None = None,
        router: Router | None = None,
        dead: DeadDocuments | None = None,
        expiries: Expiries | None = None,
        waits: Waits | None = None,
        suspects: Suspects | None = None,
        troubled: Troubled | None = None,
        second_read_pause: float = 0.05,
        allowed_clock_difference: int = 2_000_000,
    ) -> None:
        self._coalescer = coalescer
        self._clock = clock
        self._reader = reader
        self._observer = observer
        self._dropped = dropped
        poison = poison or Poison()
        self._unreadable = UnreadableRows(poison, coalescer, dead)
        self._lifetimes = Lifetimes(expiries)
        self._waits = waits or Waits()
        self._troubled = troubled or Troubled()
        self._router = router or Router(coalescer, {}, mapped=())
        self._pause = second_read_pause
        self._batches = BatchWriter(
            coalescer=coalescer,
            clock=clock,
            builder=builder,
            writer=writer,
            set_aside=set_aside,
            observer=observer,
            poison=poison,
            router=self._router,
            dead=dead,
            lifetimes=self._lifetimes,
            waits=self._waits,
            suspects=suspects,
            troubled=self._troubled,
            allowed_clock_difference=allowed_clock_difference,
        )

    @property
    def batch_limit(self) -> int:
        """Return how many rows may be settled together so that their documents stay within `BATCH_SIZE`."""
        return max(1, BATCH_SIZE // self._batches.document_size)

    async def settle(self, entries: Sequence[Entry]) -> None:
        """Settle each entry, or return it to be read again. Raises `CassandraUnavailableError` and `StoreError`.

        When it raises, the entries that were not settled are back in the coalescer. Tables are settled in parallel:
        one that Cassandra refuses to read is retried later and blocks no other. Keys of a dropped table
        are settled by the policy for its documents.
        """
        entries = self._park_hopeless(entries) if self._troubled.any else entries
        open_entries = dict.fromkeys(entries)
        by_table: dict[TableName, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_table[entry.key.table].append(entry)
        failures: dict[TableName, BaseException] = {}
        try:
            outcomes = await asyncio.gather(
                *(self._settle_table(table, rows, open_entries) for table, rows in by_table.items()),
                return_exceptions=True,
            )
            failures = {
                table: outcome
                for table, outcome in zip(by_table, outcomes, strict=True)
                if isinstance(outcome, BaseException)
            }
        finally:
            for entry in open_entries:
                self._hand_back(entry, failures.get(entry.key.table))
        for table, failure in failures.items():
            if isinstance(failure, CassandraRefusedError):
                _say("pipeline.table_refused", table, failure)
        # An error that concerns all tables takes precedence over one that concerns a single index.
        for failure in sorted(failures.values(), key=lambda each: alias_of(each) is not None):
            if not isinstance(failure, CassandraRefusedError):
                raise failure

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

    async def _settle_table(self, table: TableName, entries: list[Entry], open_entries: dict[Entry, None]) -> None:
        try:
            await self._settle_rows(table, entries, open_entries)
        except TableDroppedError as error:
            if self._dropped is None:
                raise
            _say("pipeline.table_dropped", table, error)
            left = [entry for entry in entries if entry in open_entries]
            absent = [RowState(None, None)] * len(left)
            reading = Reading(self._clock.next(), time.monotonic(), (), absent)
            await self._batches.write(left, reading, open_entries, self._dropped)

    async def _settle_rows(self, table: TableName, entries: list[Entry], open_entries: dict[Entry, None]) -> None:
        await self._lifetimes.expect(table, entries)
        unread = [entry for entry in entries if entry.early is None]
        if len(unread) == len(entries):
            await self._settle_unread(table, unread, open_entries)
            return
        work = [self._batches.write(several, reading, open_entries) for several, reading in early_readings(entries)]
        if unread:
            work.append(self._settle_unread(table, unread, open_entries))
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def _settle_unread(self, table: TableName, entries: list[Entry], open_entries: dict[Entry, None]) -> None:
        """Read rows together, and those that fail alone; see `UnreadableRows`."""
        alone = dict.fromkeys(self._unreadable.suspects(entries) if len(entries) > 1 else entries)
        together = [entry for entry in entries if entry not in alone]
        work = [self._settle_together(table, together, open_entries)] if together else []
        if alone:
            work.append(self._settle_alone(table, list(alone), open_entries))
        failures = [each for each in await asyncio.gather(*work, return_exceptions=True) if each is not None]
        # Any other error takes precedence over the one that rows cannot be read.
        for failure in sorted(failures, key=lambda each: isinstance(each, CassandraReadError)):
            raise failure

    async def _settle_together(self, table: TableName, entries: list[Entry], open_entries: dict[Entry, None]) -> None:
        try:
            await self._settle_read(table, entries, open_entries)
        except CassandraReadError:
            await self._settle_alone(table, [entry for entry in entries if entry in open_entries], open_entries)

    async def _settle_alone(self, table: TableName, entries: Sequence[Entry], open_entries: dict[Entry, None]) -> None:
        async def settle(several: Sequence[Entry]) -> None:
            await self._settle_read(table, several, open_entries)

        async def give_up(entry: Entry, state: RowState) -> None:
            await self._batches.write([entry], Reading(self._clock.next(), time.monotonic(), (), [state]), open_entries)

        await self._unreadable.settle(entries, open_entries, settle, give_up)

    async def _settle_read(self, table: TableName, entries: Sequence[Entry], open_entries: dict[Entry, None]) -> None:
        with self._waits.on("cassandra", entries):
            reading = await self._reader.read(table, [entry.key for entry in entries])
        self._unreadable.note_read(table, entries)
        doubted: list[Entry] = []
        believed: list[tuple[Entry, RowState]] = []
        for entry, state in zip(entries, reading.states, strict=True):
            if is_doubtful(entry, state):
                doubted.append(entry)
            else:
                believed.append((entry, state))
        if not doubted:
            await self._batches.write(entries, reading, open_entries)
            return
        first = reading._replace(states=[state for _, state in believed])
        self._observer.second_reads(len(doubted))
        written, second = await asyncio.gather(
            self._batches.write([entry for entry, _ in believed], first, open_entries),
            self._read_again(table, doubted),
            return_exceptions=True,
        )
        for failure in (written, second):
            if isinstance(failure, BaseException):
                raise failure
        assert isinstance(second, Reading)
        await self._batches.write(doubted, second, open_entries)

    async def _read_again(self, table: TableName, entries: list[Entry]) -> Reading:
        await asyncio.sleep(self._pause)
        with self._waits.on("cassandra", entries):
            return await self._reader.read(table, [entry.key for entry in entries], confirm=True)


def _say(event: str, table: TableName, error: CdcError) -> None:
    log.warning(
        event,
        table=str(table),
        error=error.message,
        hint=error.hint,
        every=_SAID_AGAIN,
        every_key=str(table),
    )


def is_doubtful(entry: Entry, state: RowState) -> bool:
    """Return whether a first read does not show what the signals said (docs/guarantees.md, promise 2).

    An absent row is as expected when nothing newer than a removal is known. A row that is present has to
    be at least as new as the newest write, and newer than any removal that may have covered it: at equal
    times a deletion wins (Cassandra's `Cells.reconcile`). If a table shows no write time, everything that a
    signal said is doubtful.
    """
    if state.error is not None:
        return False
    if state.row is None:
        return entry.written > entry.removed
    removed = max(entry.removed, entry.suspected)
    if state.newest is None:
        return entry.written > 0 or removed > 0
    return state.newest < entry.written or 0 < removed >= state.newest
