"""How far each source is processed: checkpoints in the log, consumed and known segments, watermarks of polls."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from cdc_daemon.store.database import Database

KEPT_CONSUMED_SEGMENTS = 100_000
"""Number of consumed segments kept: 3 TiB of log at 32 MiB per segment. Ids older than the oldest kept
one cannot reappear: Cassandra re-links only segments that are still in its commit log."""


class Checkpoints:
    """The durable position of each source, and the ids of the segments that were read to their end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, source: str) -> tuple[int, int] | None:
        """Return the segment id and position up to which everything is acknowledged, or None at the first start."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT segment_id, position FROM checkpoint WHERE source = ?", (source,)
            ).fetchone()
        return None if row is None else (row[0], row[1])

    def save(self, source: str, segment_id: int, position: int) -> None:
        """Record durably that everything up to `position` of `segment_id` is acknowledged. It never moves back."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO checkpoint VALUES (?1, ?2, ?3) ON CONFLICT (source) DO UPDATE "
                "SET segment_id = ?2, position = ?3 WHERE (?2, ?3) > (segment_id, position)",
                (source, segment_id, position),
            )

    def consumed(self, segment_id: int) -> int | None:
        """Return the position up to which a finished segment was read, or None if it was not finished.

        A segment of 3.11 that rests in the commit-log folder counts as finished so far.
        """
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT position FROM consumed_segment WHERE segment_id = ?", (segment_id,)
            ).fetchone()
        return None if row is None else int(row[0])

    def consumed_since(self, segment_id: int) -> list[int]:
        """Return the ids of finished segments from this one on, and of the last one before it, ascending."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT segment_id FROM consumed_segment WHERE segment_id >= coalesce("
                "(SELECT max(segment_id) FROM consumed_segment WHERE segment_id < ?1), ?1) ORDER BY segment_id",
                (segment_id,),
            ).fetchall()
        return [row[0] for row in rows]

    def mark_consumed(self, segment_id: int, position: int) -> None:
        """Record durably that a segment was read to its end and everything in it is acknowledged."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO consumed_segment VALUES (?1, ?2) ON CONFLICT (segment_id) DO UPDATE "
                "SET position = max(position, ?2)",
                (segment_id, position),
            )
            connection.execute(
                "DELETE FROM consumed_segment WHERE segment_id <= (SELECT segment_id FROM consumed_segment "
                "ORDER BY segment_id DESC LIMIT 1 OFFSET ?)",
                (KEPT_CONSUMED_SEGMENTS,),
            )


class SegmentState(StrEnum):
    """State of a segment in the folder."""

    OPEN = "open"
    """It has no CDC data yet, but may still get some."""

    CDC = "cdc"
    """It has CDC data: it has an index file."""

    PLAIN = "plain"
    """It has no CDC data and is no longer written to: Cassandra deletes it."""


class SeenSegment(NamedTuple):
    """An unconsumed segment in the folder. `seen` is when it was seen (milliseconds since epoch)."""

    id: int
    state: SegmentState
    seen: int


class SeenSegments:
    """The unconsumed segments found by the last scan of the folder.

    The newest segment is never deleted: it marks the highest known segment id. Methods block and raise
    `StoreError`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[SeenSegment]:
        """Return the segments by ascending id."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT segment_id, state, seen FROM seen_segment ORDER BY segment_id").fetchall()
        return [SeenSegment(segment_id, SegmentState(state), seen) for segment_id, state, seen in rows]

    def record(self, seen: Sequence[SeenSegment], gone: Collection[int]) -> None:
        """Store the current state of segments and delete those that are gone. CDC data stays CDC data until then."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO seen_segment VALUES (?1, ?2, ?3) ON CONFLICT (segment_id) DO UPDATE "
                "SET state = CASE state WHEN 'cdc' THEN 'cdc' ELSE ?2 END, seen = max(seen, ?3)",
                [(each.id, each.state.value, each.seen) for each in seen],
            )
            connection.executemany(
                "UPDATE seen_segment SET state = 'plain' WHERE segment_id = ?", [(each,) for each in gone]
            )
            connection.executemany(
                "DELETE FROM seen_segment WHERE segment_id = ?1 "
                "AND segment_id < (SELECT max(segment_id) FROM seen_segment)",
                [(each,) for each in gone],
            )


class Watermarks:
    """Watermarks by table: every change before this time (microseconds since epoch) was read and processed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, table: str) -> int | None:
        """Return a table's watermark, or None before its first poll has ended."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT moment FROM watermark WHERE source = ?", (table,)).fetchone()
        return None if row is None else int(row[0])

    def load_slices(self, table: str) -> dict[int, int]:
        """Return the watermarks by slice of the ring, of a table that several daemons poll."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT slice, moment FROM slice_watermark WHERE source = ?", (table,)).fetchall()
        return {int(number): int(moment) for number, moment in rows}

    def save_slices(self, table: str, moments: Mapping[int, int]) -> None:
        """Record watermarks by slice durably; that of the whole table stays where it is."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO slice_watermark VALUES (?1, ?2, ?3) ON CONFLICT (source, slice) DO UPDATE SET moment = ?3",
                [(table, number, moment) for number, moment in moments.items()],
            )

    def save(self, table: str, moment: int) -> None:
        """Record a table's watermark durably. It may move back, if a clock was ahead before."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO watermark VALUES (?1, ?2) ON CONFLICT (source) DO UPDATE SET moment = ?2", (table, moment)
            )
