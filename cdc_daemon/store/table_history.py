"""Tables over time: every generation of their definitions, to read old segments, and the state of each mapped table."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cdc_daemon.model.signal import TableName
from cdc_daemon.store.database import Database

KEPT_REPLACED = 2000
"""Number of replaced generations kept, at some kilobytes each. They are needed while segments exist from before
their end: hours. Current generations are always kept."""


class TableDefinition(NamedTuple):
    """One table or view in one generation.

    `table_id` has 16 bytes. `definition` is JSON, with the rows of `system_schema` that define the table: the input
    of `Schema.from_rows`. Equal texts are equal definitions.
    """

    table_id: bytes
    keyspace: str
    name: str
    definition: str


class SchemaHistory:
    """The durable list of generations. Methods block; they raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[TableDefinition]:
        """Return all generations, oldest first."""
        with self._database.reading() as connection:
            return read_generations(connection)

    def record(self, current: Iterable[TableDefinition]) -> int:
        """Record the current definitions of all tables; return the number of new generations.

        A table with a known id and another definition gets a new generation. A missing table is marked
        as replaced. Without changes nothing is written.
        """
        now = time.time_ns() // 1000
        wanted = {each.table_id: each for each in current}
        with self._database.reading() as connection:
            known = dict(
                connection.execute("SELECT table_id, definition FROM schema_generation WHERE replaced IS NULL")
            )
        ended = [key for key, text in known.items() if key not in wanted or wanted[key].definition != text]
        new = [each for each in wanted.values() if known.get(each.table_id) != each.definition]
        if not ended and not new:
            return 0
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE schema_generation SET replaced = ? WHERE table_id = ? AND replaced IS NULL",
                [(now, key) for key in ended],
            )
            added = sum(_add(connection, each, now) for each in new)
            connection.execute(
                "DELETE FROM schema_generation WHERE id IN (SELECT id FROM schema_generation "
                "WHERE replaced IS NOT NULL ORDER BY replaced DESC, id DESC LIMIT -1 OFFSET ?)",
                (KEPT_REPLACED,),
            )
        return added


@dataclass(frozen=True, slots=True)
class TableState:
    """A table's id (16 bytes) and its last handled truncation (ms since epoch, 0 for none).

    `dropped`: the table was dropped and the drop was handled. `cdc`: its changes go to CDC segments.
    `altered`: the last alteration after which `cdc` was checked (µs since epoch, 0 if unknown).
    """

    table_id: bytes
    truncated: int = 0
    dropped: bool = False
    cdc: bool = True
    altered: int = 0


class TableStates:
    """The durable state of each table. Methods block; they raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, table: TableName) -> TableState | None:
        """Return a table's state, or None if it was never seen."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT table_id, truncated, dropped, cdc, altered FROM table_mark "
                "WHERE keyspace_name = ? AND table_name = ?",
                table,
            ).fetchone()
        return None if row is None else TableState(row[0], row[1], bool(row[2]), bool(row[3]), row[4])

    def put(self, table: TableName, state: TableState) -> None:
        """Store a table's state durably."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO table_mark VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*table, state.table_id, state.truncated, state.dropped, state.cdc, state.altered),
            )


def read_generations(connection: sqlite3.Connection) -> list[TableDefinition]:
    """Return all generations of an open store, oldest first."""
    rows = connection.execute(
        "SELECT table_id, keyspace_name, table_name, definition FROM schema_generation ORDER BY id"
    )
    return [TableDefinition(*row) for row in rows]


def _add(connection: sqlite3.Connection, definition: TableDefinition, now: int) -> bool:
    """Add a generation, or make one current again: nodes without schema agreement may still return the old one."""
    again = connection.execute(
        "UPDATE schema_generation SET replaced = NULL WHERE id = (SELECT max(id) FROM schema_generation "
        "WHERE table_id = ?1) AND definition = ?2",
        (definition.table_id, definition.definition),
    )
    if again.rowcount:
        return False
    connection.execute(
        "INSERT INTO schema_generation (table_id, keyspace_name, table_name, definition, first_seen) "
        "VALUES (?, ?, ?, ?, ?)",
        (*definition, now),
    )
    return True
