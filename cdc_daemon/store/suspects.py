"""Documents that a lost bulk request may still write. Stored across restarts, until a late write is impossible."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.store.database import Database, key_columns, key_from_columns

MOST = 50_000
"""Maximum number of suspects. Beyond it the suspects of one table become one suspect: the whole table."""


class Suspect(NamedTuple):
    """A document that a lost request may write late.

    `key` is the row's key; `alias`, `document` (its `_id`) and `routing` locate the document. A lost request
    writes at most `version`; every later acknowledged write has a higher one. `since` is when the last
    request was lost, in microseconds since epoch. An empty `document` stands for every document of the key's table.
    """

    key: Key
    alias: str
    document: str
    routing: str | None
    version: int
    since: int

    @property
    def is_table(self) -> bool:
        """Whether it represents a whole table."""
        return not self.document


class SuspectRow(NamedTuple):
    """A stored suspect. `generation` grows with each further lost request."""

    id: int
    generation: int
    suspect: Suspect


class BrokenOff(NamedTuple):
    """A stop that left unanswered requests with unknown documents.

    `at` is the next start, `bound` the highest version that may have been sent before it, both in microseconds since
    epoch. Both are 0 if there was no such stop.
    """

    at: int
    bound: int


class SuspectStore:
    """The durable suspects by the time of their next check. Methods block for a commit; they raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as connection:
            self._count = _count(connection)

    @property
    def count(self) -> int:
        """Number of suspects. Reads memory only."""
        return self._count

    def add(self, suspects: Iterable[Suspect], *, now: int, first: int, last: int) -> None:
        """Store suspects durably, all or none.

        The first check of each is due `first` microseconds after `now`, but no later than `last` after its `since`. A
        whole table is checked only at that later time.
        """
        with self._database.transaction() as connection:
            count = _count(connection)
            for suspect in suspects:
                known = connection.execute(_KNOWN, (*suspect.key.table, suspect.alias, suspect.document)).fetchone()
                if known is None and count >= MOST and not suspect.is_table:
                    _add(connection, _whole_table(suspect), suspect.since + last)
                else:
                    last_check = suspect.since + last
                    _add(connection, suspect, last_check if suspect.is_table else min(now + first, last_check))
                    count += known is None
            self._count = _count(connection)

    def due(self, now: int, limit: int) -> Sequence[SuspectRow]:
        """Return suspects with a check due at `now`, longest overdue first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM suspect WHERE due <= ? ORDER BY due, id LIMIT ?",  # noqa: S608
                (now, limit),
            ).fetchall()
        return [_row(row) for row in rows]

    def schedule(self, rows: Iterable[tuple[SuspectRow, int | None]]) -> None:
        """Set the time of each next check. Delete those with None, unless another request was lost since."""
        with self._database.transaction() as connection:
            for row, due in rows:
                if due is None:
                    connection.execute("DELETE FROM suspect WHERE id = ? AND generation = ?", (row.id, row.generation))
                else:
                    connection.execute("UPDATE suspect SET due = ? WHERE id = ?", (due, row.id))
            self._count = _count(connection)

    def forget(self, table: TableName) -> None:
        """Delete the suspects of a table."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM suspect WHERE keyspace_name = ? AND table_name = ?", table)
            self._count = _count(connection)

    def begin(self, now: int, bound: int) -> BrokenOff:
        """Record that requests will be sent; return the last stop that left unanswered requests.

        If the previous run did not call `end`, that stop is recorded as now, with `bound`: the highest version given
        out before.
        """
        with self._database.transaction() as connection:
            found = connection.execute("SELECT running, broken_off, bound FROM bulk_writing").fetchone()
            running, at, before = found or (0, 0, 0)
            broken_off = BrokenOff(now, bound) if running else BrokenOff(at, before)
            connection.execute("INSERT OR REPLACE INTO bulk_writing VALUES (1, 1, ?, ?)", broken_off)
        return broken_off

    def end(self) -> None:
        """Record that every request was answered or its documents are stored here."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE bulk_writing SET running = 0")


_COLUMNS = (
    "id, generation, keyspace_name, table_name, partition_key, clustering, alias, document, routing, version, since"
)
_KNOWN = "SELECT 1 FROM suspect WHERE keyspace_name = ? AND table_name = ? AND alias = ? AND document = ?"
_ADD = """
    INSERT INTO suspect (keyspace_name, table_name, partition_key, clustering, alias, document, routing, version, since,
        due, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
    ON CONFLICT (keyspace_name, table_name, alias, document) DO UPDATE SET
        version = max(version, excluded.version), since = max(since, excluded.since), due = min(due, excluded.due),
        generation = generation + 1
"""


def _add(connection: sqlite3.Connection, suspect: Suspect, due: int) -> None:
    key, *where, version, since = suspect
    connection.execute(_ADD, (*key_columns(key), *where, version, since, due))


def _whole_table(suspect: Suspect) -> Suspect:
    return suspect._replace(key=Key(suspect.key.table, b"", ()), document="", routing=None)


def _row(row: tuple[Any, ...]) -> SuspectRow:
    identity, generation, *rest = row
    return SuspectRow(identity, generation, Suspect(key_from_columns(*rest[:4]), *rest[4:]))


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM suspect").fetchone()[0])
