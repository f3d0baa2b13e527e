"""Expiry times of row values, stored so that documents are updated also after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cdc_daemon.model.reading import Lifetime
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.store.database import Database, key_columns, key_from_columns

FROM_READ, FROM_LOG, FROM_LOG_AGAIN = range(3)
"""Kinds of expiry: found by a read (one per row), or known from the log only (checked twice)."""

AGAIN_AFTER = 5
"""Seconds between the two checks: clocks differ, and the remaining lifetime is unknown for an expiry from the log."""


class Expiry(NamedTuple):
    """A row's values that expire at `at`, in seconds since epoch."""

    key: Key
    kind: int
    at: int


class ExpiryStore:
    """The durable expiries by time, and the tables that have them. Methods block; they raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as connection:
            rows = connection.execute("SELECT keyspace_name, table_name FROM expiring_table").fetchall()
            self._count = int(connection.execute("SELECT count(*) FROM expiry").fetchone()[0])
        self.tables = {TableName(*row) for row in rows}

    @property
    def count(self) -> int:
        """Number of pending expiries. Reads memory only."""
        return self._count

    def add_table(self, table: TableName) -> None:
        """Record that values of this table's rows expire."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO expiring_table VALUES (?, ?)", table)
        self.tables.add(table)

    def keep(self, lifetimes: Iterable[Lifetime]) -> None:
        """Store lifetimes. An expiry found by a read replaces the previous one; expiries from the log are added."""
        deleted_kinds: list[tuple[object, ...]] = []
        new: list[tuple[object, ...]] = []
        for key, from_read, from_log in lifetimes:
            place = key_columns(key)
            deleted_kinds.append((*place, FROM_READ))
            if from_read is not None:
                new.append((*place, FROM_READ, from_read))
            new.extend((*place, FROM_LOG, at) for at in from_log)
        with self._database.transaction() as connection:
            deleted = connection.executemany(_FORGET_KIND, deleted_kinds).rowcount
            added = connection.executemany(_KEEP, new).rowcount
        self._count += max(added, 0) - max(deleted, 0)

    def note(self, expiries: Iterable[tuple[Key, int]]) -> None:
        """Store the expiry of each row without one that a read has found. Such ones stay: they may be newer."""
        new = [(*key_columns(key), FROM_READ, at) for key, at in expiries]
        with self._database.transaction() as connection:
            self._count += max(connection.executemany(_NOTE, new).rowcount, 0)

    def forget(self, table: TableName) -> None:
        """Delete the expiries of a table."""
        with self._database.transaction() as connection:
            count = connection.execute("DELETE FROM expiry WHERE keyspace_name = ? AND table_name = ?", table).rowcount
        self._count -= count

    def due(self, now: int, limit: int) -> list[Expiry]:
        """Return the first `limit` expiries that are due at `now`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT keyspace_name, table_name, partition_key, clustering, kind, at FROM expiry "
                "WHERE at <= ? ORDER BY at LIMIT ?",
                (now, limit),
            ).fetchall()
        return [Expiry(key_from_columns(*row[:4]), *row[4:]) for row in rows]

    def done(self, expiries: Sequence[Expiry]) -> None:
        """Delete expiries after their rows were read. An expiry from the log is scheduled for a second check."""
        checked = [(*key_columns(each.key), each.kind, each.at) for each in expiries]
        again = [
            (*key_columns(each.key), FROM_LOG_AGAIN, each.at + AGAIN_AFTER)
            for each in expiries
            if each.kind == FROM_LOG
        ]
        with self._database.transaction() as connection:
            deleted = connection.executemany(_FORGET, checked).rowcount
            added = connection.executemany(_KEEP, again).rowcount
        self._count += max(added, 0) - max(deleted, 0)


_KEEP = "INSERT OR IGNORE INTO expiry VALUES (?, ?, ?, ?, ?, ?)"
_NOTE = (
    "INSERT INTO expiry SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM expiry "
    "WHERE keyspace_name = ?1 AND table_name = ?2 AND partition_key = ?3 AND clustering = ?4 AND kind = ?5)"
)
_FORGET_KIND = (
    "DELETE FROM expiry WHERE keyspace_name = ? AND table_name = ? AND partition_key = ? AND clustering = ? "
    "AND kind = ?"
)
_FORGET = _FORGET_KIND + " AND at = ?"
