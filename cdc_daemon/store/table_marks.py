"""State of each mapped table when its documents were last updated as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from cdc_daemon.model.signal import TableName
from cdc_daemon.store.database import Database


@dataclass(frozen=True, slots=True)
class TableMark:
    """A table's id (16 bytes) and its last handled truncation (ms since epoch, 0 for none).

    `dropped`: the table was dropped and the drop was handled. `cdc`: its changes go to CDC segments.
    `altered`: the alteration as of which `cdc` is known (µs since epoch, 0 if unknown).
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
        """Return a table's mark, or None if it was never seen."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT table_id, truncated, dropped, cdc, altered FROM table_mark "
                "WHERE keyspace_name = ? AND table_name = ?",
                table,
            ).fetchone()
        return None if row is None else TableMark(row[0], row[1], bool(row[2]), bool(row[3]), row[4])

    def put(self, table: TableName, mark: TableMark) -> None:
        """Store a table's mark durably."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO table_mark VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*table, mark.table_id, mark.truncated, mark.dropped, mark.cdc, mark.altered),
            )
