"""Expiry of values with a TTL: it is stored when a row is read, and the row is read again afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from cdc_daemon.model.reading import Lifetime
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over_for_good
from cdc_daemon.store.expiries import ExpiryStore

log = structlog.get_logger(__name__)

INTERVAL = 0.5
"""Seconds between two checks for due expiries."""

AFTER = 1.0
"""Seconds from an expiry to the new read of its row: Cassandra expires values in whole seconds."""

AT_ONCE = 1000
"""Rows that are signalled together; the next ones follow when these are written."""

Count = Callable[[int], object]
"""Counts a number of rows or documents."""


def _ignore(_number: int) -> None:
    """Count nothing."""


class TtlReader(Protocol):
    """Reads the remaining TTL of values with the rows of some tables."""

    def tracks(self, name: TableName) -> bool:
        """Return whether TTLs are read for this table."""
        ...

    def expect_ttl(self, names: Iterable[TableName]) -> None:
        """Read TTLs for these tables from now on."""
        ...


class ExpiryTracker:
    """Stores when values of rows expire, for those tables that have such values.

    These are the tables with a `default_time_to_live`, those `declared` to have such values, and those with an expiring
    value in the log. A read of such a table returns the time until the first value expires. That time is stored durably
    before the read's signal is acknowledged. Reads of other tables do not select it.
    """

    def __init__(self, store: ExpiryStore, reading: TtlReader, *, declared: Iterable[TableName] = ()) -> None:
        self._store = store
        self._reading = reading
        reading.expect_ttl({*store.tables, *declared})

    def tracks(self, table: TableName) -> bool:
        """Return whether rows of a table are read with the TTLs of their values."""
        return self._reading.tracks(table)

    def expect(self, table: TableName) -> None:
        """Record that values of a table's rows expire. Blocks for a commit."""
        self._store.add_table(table)
        self._reading.expect_ttl([table])
        log.info("removal.table_expires", table=str(table))

    def keep(self, lifetimes: Sequence[Lifetime]) -> None:
        """Replace the stored lifetimes of rows. Blocks for a commit."""
        self._store.keep(lifetimes)


class ExpiryWatch:
    """Submits rows for a new read just after one of their values has expired.

    Cassandra's clock decides. If the value has not expired by its clock, the read returns the remaining TTL, which is
    stored again. `count` receives the number of rows written; `now` returns seconds since epoch.
    """

    def __init__(
        self,
        store: ExpiryStore,
        *,
        sink: BackgroundSink,
        gate: Gate,
        count: Count = _ignore,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._sink = sink
        self._gate = gate
        self._count = count
        self._now = now

    async def turn(self) -> None:
        """Process everything that is due. Raises `StoreError`."""
        while await self.process_due():
            pass

    async def process_due(self) -> bool:
        """Process the first rows with an expired value; return whether there may be more."""
        due = await asyncio.to_thread(self._store.due, int(self._now() - AFTER), AT_ONCE)
        if not due:
            return False
        moments = {each.key: each.at for each in due}
        await self._gate.wait_open()
        signals = [
            Signal(key.table, key.partition_key, Scope.ROW, key.clustering or (), suspected=at * 1_000_000)
            for key, at in moments.items()
        ]
        await hand_over_for_good(self._sink.submit_background, signals)
        await asyncio.to_thread(self._store.done, due)
        self._count(len(moments))
        return len(due) == AT_ONCE
