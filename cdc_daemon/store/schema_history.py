"""Every generation of every table seen, so that old segments still read after ALTER, DROP and a restart."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import NamedTuple

from cdc_daemon.store.database import Database

KEPT_REPLACED = 2000
"""How many generations that are no longer current are kept, at some kilobytes each. They are needed as long as
there are segments from before their end, which is hours; current ones are always kept."""


class TableDefinition(NamedTuple):
    """One table or view in one generation.

    `table_id` has 16 bytes. `definition` is JSON, with the rows of `system_schema` that make the table: what
    `Schema.from_rows` takes. Equal texts are equal definitions.
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
        """Take note of all tables as they are now; return how many generations are new.

        A table that is known by id with another definition gets a new generation, one that is absent is marked
        as replaced. Where nothing has changed nothing is written.
        """
        now = time.time_ns() // 1000
        wanted = {each.table_id: each for each in current}
        with self._database.reading() as connection:
            known = dict(
                connection.execute("SELECT table_id, definition FROM schema_generation WHERE replaced IS NULL")
            )
        gone = [key for key, text in known.items() if key not in wanted or wanted[key].definition != text]
        new = [each for each in wanted.values() if known.get(each.table_id) != each.definition]
        if not gone and not new:
            return 0
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE schema_generation SET replaced = ? WHERE table_id = ? AND replaced IS NULL",
                [(now, key) for key in gone],
            )
            added = sum(_add(connection, each, now) for each in new)
            connection.execute(
                "DELETE FROM schema_generation WHERE id IN (SELECT id FROM schema_generation "
                "WHERE replaced IS NOT NULL ORDER BY replaced DESC, id DESC LIMIT -1 OFFSET ?)",
                (KEPT_REPLACED,),
            )
        return added


def read_generations(connection: sqlite3.Connection) -> list[TableDefinition]:
    """Return all generations of an open store, oldest first."""
    rows = connection.execute(
        "SELECT table_id, keyspace_name, table_name, definition FROM schema_generation ORDER BY id"
    )
    return [TableDefinition(*row) for row in rows]


def _add(connection: sqlite3.Connection, definition: TableDefinition, now: int) -> bool:
    """Add a generation, or make one current again: nodes that do not agree yet show the old one in between."""
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
