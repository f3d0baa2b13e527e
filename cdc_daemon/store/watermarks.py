"""How far each polled table was seen."""

from __future__ import annotations

from cdc_daemon.store.database import Database


class Watermarks:
    """By table, the moment (microseconds since epoch) before which every change was seen and settled."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, table: str) -> int | None:
        """Return a table's watermark, None before its first turn has ended."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT moment FROM watermark WHERE source = ?", (table,)).fetchone()
        return None if row is None else int(row[0])

    def save(self, table: str, moment: int) -> None:
        """Record durably how far a table was seen; less far than before where a clock was ahead then."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO watermark VALUES (?1, ?2) ON CONFLICT (source) DO UPDATE SET moment = ?2", (table, moment)
            )
