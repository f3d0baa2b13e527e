"""Values that expire: kept in mind when their rows are read, and their rows read again when they have."""

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
from cdc_daemon.store.expiries import Expiry

log = structlog.get_logger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at what is due."""

AFTER = 1.0
"""Seconds after an expiry at which its row is read: Cassandra counts in whole seconds."""

AT_ONCE = 1000
"""Rows that are signalled together; the next ones when these are settled."""


Count = Callable[[int], object]
"""Takes note of a number of rows or documents."""


def _count_nothing(_number: int) -> None:
    """Take no note."""


class Kept(Protocol):
    """Durable expiries; methods block."""

    tables: set[TableName]

    def add_table(self, table: TableName) -> None:
        """Keep that values of this table's rows expire."""
        ...

    def keep(self, lifetimes: Iterable[Lifetime]) -> None:
        """Keep lifetimes of rows."""
        ...

    def due(self, now: int, limit: int) -> list[Expiry]:
        """Return what expires up to `now` (seconds since epoch)."""
        ...

    def done(self, expiries: Sequence[Expiry]) -> None:
        """Forget what was dealt with."""
        ...


class LifeReading(Protocol):
    """Decides for which tables rows are read with what remains of their values' lives."""

    def tracks(self, name: TableName) -> bool:
        """Tell whether this is such a table."""
        ...

    def expect_ttl(self, names: Iterable[TableName]) -> None:
        """Make these such tables."""
        ...


class Expirations:
    """Keeps in mind when values of rows expire, for those tables that have such values.

    They are the tables with a `default_time_to_live`, those `declared` to have them, and those of which the log has
    told a change that expires. A read of theirs tells what remains of the first value to expire, and that is kept
    durably before the read's signal is acknowledged. Reads of other tables do not ask.
    """

    def __init__(self, kept: Kept, reading: LifeReading, *, declared: Iterable[TableName] = ()) -> None:
        self._kept = kept
        self._reading = reading
        reading.expect_ttl({*kept.tables, *declared})

    def tracks(self, table: TableName) -> bool:
        """Tell whether rows of a table are read with the lives of their values."""
        return self._reading.tracks(table)

    def expect(self, table: TableName) -> None:
        """Take note that values of a table's rows expire. It blocks for a commit."""
        self._kept.add_table(table)
        self._reading.expect_ttl([table])
        log.info("removal.table_expires", table=str(table))

    def keep(self, lifetimes: Sequence[Lifetime]) -> None:
        """Keep the lifetimes of rows in place of what was known of them. It blocks for a commit."""
        self._kept.keep(lifetimes)


class ExpiryWatch:
    """Has rows read again just after something of them has expired.

    Cassandra's clock decides: where by it there is something left, that read tells how much, which is kept, and so it
    goes on until the value is gone. `count` is told of rows settled, `now` tells seconds since epoch.
    """

    def __init__(
        self,
        kept: Kept,
        *,
        sink: BackgroundSink,
        gate: Gate,
        count: Count = _count_nothing,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kept = kept
        self._sink = sink
        self._gate = gate
        self._count = count
        self._now = now

    async def turn(self) -> None:
        """Settle everything that is due. Raises `StoreError`."""
        while await self.look():
            pass

    async def look(self) -> bool:
        """Settle the first rows of which something has expired; return whether there may be more."""
        due = await asyncio.to_thread(self._kept.due, int(self._now() - AFTER), AT_ONCE)
        if not due:
            return False
        moments = {each.key: each.at for each in due}
        await self._gate.wait_open()
        signals = [
            Signal(key.table, key.partition_key, Scope.ROW, key.clustering or (), suspected=at * 1_000_000)
            for key, at in moments.items()
        ]
        await hand_over_for_good(self._sink.submit_background, signals)
        await asyncio.to_thread(self._kept.done, due)
        self._count(len(moments))
        return len(due) == AT_ONCE
