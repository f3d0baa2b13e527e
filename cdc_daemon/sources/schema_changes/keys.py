"""Tables that are created again with another primary key while the daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Protocol

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import CassandraRefusedError, TableRekeyedError
from cdc_daemon.model.signal import TableName

INTERVAL = 0.5
"""Seconds between two looks at tables that nobody reads; a look is at what is known of the schema."""


class LiveTables(Protocol):
    """Knows what tables are now."""

    def generation(self, name: TableName) -> str | None:
        """Return a text that is another whenever the table is; None when there is none."""
        ...

    def table(self, name: TableName) -> TableMetadata:
        """Return a table. Raises `CassandraRefusedError` when there is none."""
        ...


class KeyWatch:
    """Compares tables with those that the daemon's parts were put together for.

    Routes, ids, readers and jobs are all made for a table's primary key. That of a table never changes, but one of the
    same name may be created again with another. Then nothing of it may be read or built until all is put together
    anew, which `wait_changed` calls for. So it does for a change of any kind in `held` tables: what did not fit them
    may fit now.
    """

    def __init__(
        self, tables: Mapping[TableName, TableMetadata], schema: LiveTables, *, held: Collection[TableName] = ()
    ) -> None:
        self._tables = tables
        self._schema = schema
        self._known: dict[TableName, str | None] = {}
        self._held = {table: schema.generation(table) for table in held}
        self._changed = asyncio.Event()

    def check(self, table: TableName) -> None:
        """Raise `TableRekeyedError` where a table has another primary key than it had.

        Raises `CassandraRefusedError` too, where what the table is cannot be understood.
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
        """Tell whether a table has another primary key than it had."""
        try:
            self.check(table)
        except TableRekeyedError:
            return True
        except CassandraRefusedError:
            return False
        return False

    async def run(self, interval: float = INTERVAL) -> None:
        """Look at all tables every `interval` seconds, until cancelled."""
        while True:
            for table in self._tables:
                with suppress(CassandraRefusedError):
                    self.check(table)
            for table, generation in self._held.items():
                if self._schema.generation(table) not in (generation, None):
                    self._changed.set()
            await asyncio.sleep(interval)

    async def wait_changed(self) -> None:
        """Return when the parts have to be put together anew."""
        await self._changed.wait()
