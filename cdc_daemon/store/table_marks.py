"""What each mapped table was when its documents were last made to follow it as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from cdc_daemon.model.signal import TableName
from cdc_daemon.store.database import Database


@dataclass(frozen=True, slots=True)
class TableMark:
    """A table by its id (16 bytes) and its last truncation that was dealt with (ms since epoch, 0 for none).

    `dropped` tells that it was found to be gone, and that this was dealt with; `cdc` that its changes go to CDC
    segments, and `altered` as of which alteration this is known (µs since epoch, 0 where that is not known).
    """

    table_id: bytes
    truncated: int = 0
    dropped: bool = False
    cdc: bool = True
    altered: int = 0


class TableMarks:
    """The durable marks by table. Methods block; they raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, table: TableName) -> TableMark | None:
        """Return a table's mark, or None when it was never seen."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT table_id, truncated, dropped, cdc, altered FROM table_mark "
                "WHERE keyspace_name = ? AND table_name = ?",
                table,
            ).fetchone()
        return None if row is None else TableMark(row[0], row[1], bool(row[2]), bool(row[3]), row[4])

    def put(self, table: TableName, mark: TableMark) -> None:
        """Keep a table's mark durably."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO table_mark VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*table, mark.table_id, mark.truncated, mark.dropped, mark.cdc, mark.altered),
            )
