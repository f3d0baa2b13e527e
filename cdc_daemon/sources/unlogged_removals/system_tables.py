"""Reads the system tables of the node beside the daemon: when its tables were truncated, and when they were altered."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Session
from cassandra.query import SimpleStatement, tuple_factory

from cdc_daemon.cassandra.node import find_node
from cdc_daemon.cassandra.query import execute
from cdc_daemon.model.signal import TableName

_TRUNCATED = "SELECT truncated_at FROM system.local WHERE key = 'local'"
_TABLES = "SELECT keyspace_name, table_name, id, cdc, writetime(id) AS written FROM system_schema.tables"
_COLUMNS = "SELECT writetime(type) AS written FROM system_schema.columns"
_OTHERS = (
    "SELECT writetime(type) AS written FROM system_schema.dropped_columns",
    "SELECT writetime(options) AS written FROM system_schema.indexes",
)

_TRUNCATION = struct.Struct(">qiq")
"""Segment id, position, milliseconds since epoch (`SystemKeyspace.truncationAsMapEntry`, 4.0 to 5.0)."""


class _Queries:
    """Runs queries on the node beside the daemon. Rows are tuples: for others the driver makes a class each time."""

    def __init__(self, session: Session, contact_points: tuple[str, ...]) -> None:
        self._session = session
        self._contact_points = contact_points
        self._profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=tuple_factory)

    async def __call__(self, query: str, parameters: tuple[str, ...] = ()) -> list[Any]:
        node = find_node(self._session, self._contact_points)
        options = {"parameters": parameters, "host": node, "execution_profile": self._profile}
        return await execute(self._session, SimpleStatement(query), **options)


class TruncationRecordReader:
    """Reads when tables were truncated, from `system.local`: each node keeps its own records."""

    def __init__(self, session: Session, contact_points: tuple[str, ...]) -> None:
        self._session = session
        self._query = _Queries(session, contact_points)

    @property
    def nodes(self) -> int:
        """Number of nodes in the cluster."""
        return len(self._session.cluster.metadata.all_hosts())

    async def read(self) -> Mapping[bytes, int]:
        """Return when tables were last truncated (ms since epoch), by table id. Raises as `execute` does."""
        rows = await self._query(_TRUNCATED)
        return decode_truncations(rows[0][0] if rows else None)


def decode_truncations(records: Mapping[UUID, Any] | None) -> dict[bytes, int]:
    """Return the times of truncation records by table id. Invalid records are left out."""
    found = {}
    for table_id, record in (records or {}).items():
        if len(record) == _TRUNCATION.size:
            _, _, moment = _TRUNCATION.unpack(record)
            found[table_id.bytes] = moment
    return found


class SchemaRecord(NamedTuple):
    """A table's id (16 bytes), whether it has CDC, and when it was created or last altered.

    `altered` is the write time (µs since epoch) of its row in `system_schema.tables`. Each statement that alters a
    table rewrites the whole row (`SchemaKeyspace.addTableToSchemaMutation`, 4.0 to 5.0), whatever it alters. A
    statement that alters nothing writes nothing. The alteration of a user type does not write the row either.
    """

    table_id: bytes
    cdc: bool
    altered: int


class SchemaWriteTimes(NamedTuple):
    """The oldest and the newest write time (µs since epoch) among a table's columns and indices in the schema.

    The oldest is the table's creation. The newest is the table's last alteration only if that altered a column or an
    index: a statement that alters columns cannot alter CDC with them.
    """

    oldest: int
    newest: int


class SchemaRecordReader:
    """Reads `system_schema` of the node beside the daemon: that node's own view decides what its log contains."""

    def __init__(self, session: Session, contact_points: tuple[str, ...]) -> None:
        self._queries = _Queries(session, contact_points)

    async def read(self, keyspaces: Collection[str]) -> Mapping[TableName, SchemaRecord]:
        """Return the schema records of the tables of these keyspaces. Raises as `execute` does."""
        answers = await asyncio.gather(*(self._query(_TABLES, keyspace) for keyspace in sorted(keyspaces)))
        return {
            TableName(keyspace, table): SchemaRecord(table_id.bytes, bool(cdc), written or 0)
            for rows in answers
            for keyspace, table, table_id, cdc, written in rows
        }

    async def write_times(self, table: TableName) -> SchemaWriteTimes:
        """Return when the columns and indices of a table were written. Raises as `execute` does."""
        columns, *others = await asyncio.gather(*(self._query(query, *table) for query in (_COLUMNS, *_OTHERS)))
        of_columns = [written or 0 for (written,) in columns]
        of_others = [written or 0 for rows in others for (written,) in rows]
        return SchemaWriteTimes(min(of_columns, default=0), max([*of_columns, *of_others], default=0))

    async def _query(self, query: str, *place: str) -> list[Any]:
        where = " WHERE keyspace_name = %s" if len(place) == 1 else " WHERE keyspace_name = %s AND table_name = %s"
        return await self._queries(query + where, place)
