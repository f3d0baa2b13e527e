"""Expiries that another daemon watches, kept here in case that daemon is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cdc_daemon.model.signal import Key
from cdc_daemon.store.database import Database, Place, key_columns, key_from_columns


class LeftExpiry(NamedTuple):
    """A row with values that expire at `at` (seconds since epoch; 0 for an unknown moment).

    The daemon beside `node` watches it, as long as it has the state directory with the id `state_id`.
    """

    node: str
    state_id: bytes
    key: Key
    at: int


class LeftExpiries:
    """The durable expiries that other daemons watch. Methods block for a commit; they raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as connection:
            self._count = int(connection.execute("SELECT count(*) FROM left_expiry").fetchone()[0])

    @property
    def count(self) -> int:
        """Number of expiries that others watch. Reads memory only."""
        return self._count

    def keep(self, expiries: Iterable[LeftExpiry]) -> None:
        """Store expiries."""
        self.replace((), expiries)

    def due(self, now: int, limit: int) -> list[LeftExpiry]:
        """Return the first `limit` expiries that are due at `now`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT node, state_id, keyspace_name, table_name, partition_key, clustering, at FROM left_expiry "
                "WHERE at <= ? ORDER BY at LIMIT ?",
                (now, limit),
            ).fetchall()
        return [LeftExpiry(node, state_id, key_from_columns(*place), at) for node, state_id, *place, at in rows]

    def replace(self, done: Iterable[LeftExpiry], kept: Iterable[LeftExpiry]) -> None:
        """Delete the expiries in `done` and store those in `kept`, both or neither."""
        with self._database.transaction() as connection:
            deleted = connection.executemany(_FORGET, map(_columns, done)).rowcount
            added = connection.executemany(_KEEP, map(_columns, kept)).rowcount
        self._count += max(added, 0) - max(deleted, 0)


def next_expiries(database: Database, places: Sequence[Place]) -> list[int]:
    """Return the next expiry that this daemon itself watches for each row; 0 for a row without one."""
    with database.reading() as connection:
        return [
            int(connection.execute(_NEXT, place).fetchone()[0] or 0) for place in places
        ]  # each is a look-up by the primary key


def _columns(expiry: LeftExpiry) -> tuple[object, ...]:
    return expiry.node, expiry.state_id, *key_columns(expiry.key), expiry.at


_KEEP = "INSERT OR IGNORE INTO left_expiry VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET = (
    "DELETE FROM left_expiry WHERE node = ? AND state_id = ? AND keyspace_name = ? AND table_name = ? "
    "AND partition_key = ? AND clustering = ? AND at = ?"
)
_NEXT = "SELECT min(at) FROM expiry WHERE keyspace_name = ? AND table_name = ? AND partition_key = ? AND clustering = ?"
