"""Changed rows whose dependent documents still need a refresh."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.store.database import Database, key_columns, key_from_columns


class ChangedRow(NamedTuple):
    """A changed row whose values appear in documents of other rows.

    `version` is a time on the daemon's clock (µs since epoch) after the change became readable: documents with a higher
    version show the change. `since` is when the change was written (µs since epoch, 0 if unknown).
    """

    key: Key
    version: int
    since: int = 0


class QueuedRow(NamedTuple):
    """A changed row in the queue. `generation` grows with each further change; `requested` is in µs since epoch."""

    id: int
    generation: int
    requested: int
    row: ChangedRow


class DependentStore:
    """The durable queue of changed rows, oldest first, without duplicates. Methods block for the commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as connection:
            self._count = int(connection.execute("SELECT count(*) FROM dependent").fetchone()[0])

    @property
    def count(self) -> int:
        """Number of rows with dependents to refresh. Reads memory only."""
        return self._count

    def add(self, rows: Iterable[ChangedRow]) -> None:
        """Store changed rows durably, all or none."""
        now = time.time_ns() // 1000
        with self._database.transaction() as connection:
            for row in rows:
                connection.execute(_ADD, (*key_columns(row.key), row.version, row.since, now))
            self._count = int(connection.execute("SELECT count(*) FROM dependent").fetchone()[0])

    def forget(self, table: TableName) -> None:
        """Delete the changed rows of a table."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM dependent WHERE keyspace_name = ? AND table_name = ?", table)
            self._count = int(connection.execute("SELECT count(*) FROM dependent").fetchone()[0])

    def oldest(self, limit: int, *, excluding: Iterable[int] = ()) -> Sequence[QueuedRow]:
        """Return the oldest rows, except those with the ids `excluding` and the skipped ones."""
        excluded = [*excluding]
        marks = ", ".join("?" * len(excluded))
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM dependent WHERE id NOT IN ({marks}) "  # noqa: S608
                "AND passed IS NOT generation ORDER BY id LIMIT ?",
                (*excluded, limit),
            ).fetchall()
        return [_queued_row(row) for row in rows]

    def skip(self, queued: QueuedRow) -> None:
        """Skip a row until it changes again, or until `restore_skipped`."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE dependent SET passed = ? WHERE id = ?", (queued.generation, queued.id))

    def restore_skipped(self) -> None:
        """Return all skipped rows to the queue."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE dependent SET passed = NULL WHERE passed IS NOT NULL")

    def done(self, queued: QueuedRow) -> None:
        """Delete a row, unless it has changed again since."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM dependent WHERE id = ? AND generation = ?", (queued.id, queued.generation))
            self._count = int(connection.execute("SELECT count(*) FROM dependent").fetchone()[0])


_COLUMNS = "id, generation, requested, keyspace_name, table_name, partition_key, clustering, version, since"
_ADD = """
    INSERT INTO dependent (keyspace_name, table_name, partition_key, clustering, version, since, requested, generation)
    VALUES (?, ?, ?, ?, ?, ?, ?, 0)
    ON CONFLICT (keyspace_name, table_name, partition_key, clustering) DO UPDATE SET
        version = max(version, excluded.version), generation = generation + 1,
        since = CASE WHEN since = 0 OR excluded.since = 0 THEN max(since, excluded.since)
                     ELSE min(since, excluded.since) END
"""


def _queued_row(row: tuple[Any, ...]) -> QueuedRow:
    identity, generation, requested, *place, version, since = row
    return QueuedRow(identity, generation, requested, ChangedRow(key_from_columns(*place), version, since))
