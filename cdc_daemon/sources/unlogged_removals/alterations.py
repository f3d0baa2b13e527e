"""When tables were last altered, as their node records it: reveals periods without CDC that nobody observed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from cdc_daemon.cassandra.node import find_node
from cdc_daemon.cassandra.query import execute
from cdc_daemon.model.signal import TableName


class SchemaRecord(NamedTuple):
    """A table by its id (16 bytes), whether it has CDC, and when it was created or last altered.

    `altered` is the write time (µs since epoch) of its row in `system_schema.tables`. Each statement that alters a
    table rewrites the whole row (`SchemaKeyspace.addTableToSchemaMutation`, 4.0 to 5.0), whatever it alters. A
    statement that alters nothing writes nothing. The alteration of a user type does not write the row either.
    """

    table_id: bytes
    cdc: bool
    altered: int


class SchemaWriteTimes(NamedTuple):
    """When the oldest and the newest part of a table were written: its columns and indices (µs since epoch).

    The oldest is as old as the table. The newest is as new as the table's last alteration only if that altered such
    parts: a statement that alters columns cannot alter CDC with them.
    """

    oldest: int
    newest: int


_TABLES = "SELECT keyspace_name, table_name, id, cdc, writetime(id) AS written FROM system_schema.tables"
_COLUMNS = "SELECT writetime(type) AS written FROM system_schema.columns"
_OTHERS = (
    "SELECT writetime(type) AS written FROM system_schema.dropped_columns",
    "SELECT writetime(options) AS written FROM system_schema.indexes",
)


class SchemaRecordReader:
    """Reads the schema of the node beside the daemon: that node's own view decides what its log contains."""

    def __init__(self, session: Session, contact_points: tuple[str, ...]) -> None:
        self._session = session
        self._contact_points = contact_points

    async def read(self, keyspaces: Collection[str]) -> Mapping[TableName, SchemaRecord]:
        """Return the alteration records of the tables of these keyspaces. Raises as `execute` does."""
        answers = await asyncio.gather(*(self._ask(_TABLES, keyspace) for keyspace in sorted(keyspaces)))
        return {
            TableName(row.keyspace_name, row.table_name): SchemaRecord(row.id.bytes, bool(row.cdc), row.written or 0)
            for rows in answers
            for row in rows
        }

    async def shape(self, table: TableName) -> SchemaWriteTimes:
        """Return when the parts of a table were written. Raises as `execute` does."""
        columns, *others = await asyncio.gather(*(self._ask(query, *table) for query in (_COLUMNS, *_OTHERS)))
        own = [row.written or 0 for row in columns]
        found = [row.written or 0 for rows in others for row in rows]
        return SchemaWriteTimes(min(own, default=0), max([*own, *found], default=0))

    async def _ask(self, query: str, *place: str) -> list[Any]:
        where = " WHERE keyspace_name = %s" if len(place) == 1 else " WHERE keyspace_name = %s AND table_name = %s"
        node = find_node(self._session, self._contact_points)
        return await execute(self._session, SimpleStatement(query + where), parameters=place, host=node)
