"""Changed keys stored on disk, so that their segments can be deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cdc_daemon.model.signal import Clustering, Key, Scope, Signal, TableName
from cdc_daemon.store.database import Database, decode_clustering, encode_clustering, key_columns, key_from_columns


@dataclass(frozen=True, slots=True)
class SpooledKey:
    """The state of a pending key, as in the pipeline's `Entry`."""

    key: Key
    written: int = 0
    removed: int = 0
    suspected: int = 0
    expires: tuple[int, ...] = ()
    refresh: bool = False
    prefixes: frozenset[Clustering] = frozenset()

    @classmethod
    def of(cls, signal: Signal) -> SpooledKey:
        """Return the key and state of one signal."""
        prefixes: frozenset[Clustering] = frozenset()
        if signal.scope in (Scope.RANGE, Scope.PARTITION):
            prefixes = frozenset((signal.clustering if signal.scope is Scope.RANGE else (),))
        return cls(
            Key.of(signal),
            signal.written,
            signal.removed,
            signal.suspected,
            signal.expires,
            signal.scope in (Scope.STATIC, Scope.ROWS),
            prefixes,
        )

    def signals(self) -> list[Signal]:
        """Convert it back to signals."""
        table, partition_key, clustering = self.key
        times = (self.written, self.removed, self.expires, self.suspected)
        if clustering is not None:
            return [Signal(table, partition_key, Scope.ROW, clustering, *times)]
        signals = [
            Signal(table, partition_key, Scope.RANGE if prefix else Scope.PARTITION, prefix, *times)
            for prefix in self.prefixes
        ]
        if self.refresh or not signals:
            signals.append(Signal(table, partition_key, Scope.STATIC, (), *times))
        return signals


@dataclass(frozen=True, slots=True)
class SpooledRow:
    """A stored key. `generation` grows with each further signal for it."""

    id: int
    generation: int
    spooled: SpooledKey


class Spool:
    """The durable set of spooled keys, in order of their first arrival. Methods block for the commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, keys: Iterable[SpooledKey]) -> int:
        """Store keys durably, all or none, merged with their stored state. Return the number of new keys."""
        with self._database.transaction() as connection:
            before = _count(connection)
            for spooled in keys:
                connection.execute(_UPSERT, _values(connection, spooled))
            return _count(connection) - before

    def oldest(self, limit: int, *, after: int = 0, excluding: Collection[TableName] = ()) -> Sequence[SpooledRow]:
        """Return the oldest keys with ids above `after`, except those of the tables in `excluding`."""
        excluded = "".join(" AND NOT (keyspace_name = ? AND table_name = ?)" for _ in excluding)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM spooled_key WHERE id > ?{excluded} ORDER BY id LIMIT ?",  # noqa: S608
                (after, *(name for table in excluding for name in table), limit),
            ).fetchall()
        return [_spooled(row) for row in rows]

    def remove(self, rows: Iterable[SpooledRow]) -> None:
        """Delete written keys, except those with further signals since they were read."""
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM spooled_key WHERE id = ? AND generation = ?", [(row.id, row.generation) for row in rows]
            )

    def forget(self, table: TableName) -> None:
        """Delete all keys of a table."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM spooled_key WHERE keyspace_name = ? AND table_name = ?", table)

    def __len__(self) -> int:
        with self._database.reading() as connection:
            return _count(connection)


_COLUMNS = (
    "id, generation, keyspace_name, table_name, partition_key, clustering, written, removed, suspected, expires, "
    "refresh, prefixes"
)
_UPSERT = """
    INSERT INTO spooled_key (keyspace_name, table_name, partition_key, clustering, written, removed, suspected,
        expires, refresh, prefixes, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
    ON CONFLICT (keyspace_name, table_name, partition_key, clustering) DO UPDATE SET
        written = max(written, excluded.written), removed = max(removed, excluded.removed),
        suspected = max(suspected, excluded.suspected),
        expires = CASE WHEN excluded.expires IN ('', expires) OR length(expires) > 1000 THEN expires
            WHEN expires = '' THEN excluded.expires ELSE expires || ' ' || excluded.expires END,
        refresh = max(refresh, excluded.refresh), prefixes = excluded.prefixes, generation = generation + 1
"""


def _values(connection: sqlite3.Connection, spooled: SpooledKey) -> tuple[Any, ...]:
    place = key_columns(spooled.key)
    prefixes = spooled.prefixes
    if spooled.key.clustering is None:
        stored = connection.execute(
            "SELECT prefixes FROM spooled_key WHERE keyspace_name = ? AND table_name = ? AND partition_key = ? "
            "AND clustering = ?",
            place,
        ).fetchone()
        prefixes |= frozenset() if stored is None else _prefixes(stored[0])
    times = (spooled.written, spooled.removed, spooled.suspected)
    encoded = orjson.dumps([encode_clustering(prefix).decode() for prefix in prefixes]).decode()
    expires = " ".join(map(str, spooled.expires))
    return *place, *times, expires, spooled.refresh, encoded


def _spooled(row: tuple[Any, ...]) -> SpooledRow:
    identity, generation, *place = row[:6]
    written, removed, suspected, expires, refresh, prefixes = row[6:]
    spooled = SpooledKey(
        key_from_columns(*place), written, removed, suspected, _moments(expires), bool(refresh), _prefixes(prefixes)
    )
    return SpooledRow(identity, generation, spooled)


def _prefixes(text: str) -> frozenset[Clustering]:
    return frozenset(decode_clustering(prefix) for prefix in orjson.loads(text))


def _moments(text: str) -> tuple[int, ...]:
    return tuple(sorted(set(map(int, text.split()))))


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM spooled_key").fetchone()[0])
