"""Progress of each polled table."""

from __future__ import annotations

from cdc_daemon.store.database import Database


class Watermarks:
    """Watermarks by table: every change before this time (microseconds since epoch) was read and processed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, table: str) -> int | None:
        """Return a table's watermark, or None before its first poll has ended."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT moment FROM watermark WHERE source = ?", (table,)).fetchone()
        return None if row is None else int(row[0])

    def save(self, table: str, moment: int) -> None:
        """Record a table's watermark durably. It may move back, if a clock was ahead before."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO watermark VALUES (?1, ?2) ON CONFLICT (source) DO UPDATE SET moment = ?2", (table, moment)
            )
