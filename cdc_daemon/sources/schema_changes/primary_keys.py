"""Detects tables that are re-created with another primary key while the daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import CassandraRefusedError, TableRekeyedError
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.signal import Clustering, Key, TableName
from cdc_daemon.pipeline.ports import ExtendingReader

INTERVAL = 0.5
"""Seconds between two checks of tables that are not read. A check uses the cached schema."""


class CurrentTables(Protocol):
    """The current tables."""

    def generation(self, name: TableName) -> str | None:
        """Return a text that changes whenever the table changes; None when there is no such table."""
        ...

    def table(self, name: TableName) -> TableMetadata:
        """Return a table. Raises `CassandraRefusedError` when there is none."""
        ...


class PrimaryKeyWatch:
    """Compares the primary keys of the current tables with those that the daemon's parts were built for.

    Ids, readers and jobs are built for a table's primary key. It cannot be altered, but a table of the same name may be
    re-created with another primary key. Then no row of the table may be read until all parts are rebuilt;
    `wait_changed` returns when that is necessary. It also returns after a change of a `suspended` table, as its mapping
    may fit now.
    """

    def __init__(
        self,
        tables: Mapping[TableName, TableMetadata],
        schema: CurrentTables,
        *,
        suspended: Collection[TableName] = (),
    ) -> None:
        self._tables = tables
        self._schema = schema
        self._known: dict[TableName, str | None] = {}
        self._suspended = {table: schema.generation(table) for table in suspended}
        self._changed = asyncio.Event()

    def check(self, table: TableName) -> None:
        """Raise `TableRekeyedError` if a table's primary key has changed.

        Also raises `CassandraRefusedError` where the table's schema cannot be interpreted.
        """
        generation = self._schema.generation(table)
        if generation is None or generation == self._known.get(table) or table not in self._tables:
            return
        before, now = self._tables[table], self._schema.table(table)
        if before.id != now.id and not before.has_key_of(now):
            self._changed.set()
            raise TableRekeyedError("the table has another primary key than before", table=str(table))
        self._known[table] = generation

    def is_rekeyed(self, table: TableName) -> bool:
        """Return whether a table's primary key has changed."""
        try:
            self.check(table)
        except TableRekeyedError:
            return True
        except CassandraRefusedError:
            return False
        return False

    async def run(self, interval: float = INTERVAL) -> None:
        """Check all tables every `interval` seconds, until cancelled."""
        while True:
            for table in self._tables:
                with suppress(CassandraRefusedError):
                    self.check(table)
            for table, generation in self._suspended.items():
                if self._schema.generation(table) not in (generation, None):
                    self._changed.set()
            await asyncio.sleep(interval)

    async def wait_changed(self) -> None:
        """Return when the parts must be rebuilt."""
        await self._changed.wait()


class KeyCheckedReader:
    """Reads rows only of tables whose primary keys have not changed since the daemon's parts were built.

    Other tables raise `TableRekeyedError`, in all methods.
    """

    def __init__(self, reader: ExtendingReader, keys: PrimaryKeyWatch) -> None:
        self._reader = reader
        self._keys = keys

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        """Read rows; see `RowReader`."""
        self._keys.check(table)
        return await self._reader.read(table, keys, confirm=confirm)

    async def extend(self, table: TableName, reading: Reading) -> Reading:
        """Return a reading of a table's rows with the joined rows."""
        self._keys.check(table)
        return await self._reader.extend(table, reading)

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        """Ensure that later reads see the merged state of all of the partition's replicas."""
        self._keys.check(table)
        await self._reader.confirm_partition(table, partition_key)

    def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Read the clustering keys of a partition page by page."""
        self._keys.check(table)
        return self._reader.clusterings(table, partition_key)
