"""Which segments the daemon knows, so that it notices after an absence which of them are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from cdc_daemon.store.database import Database


class SegmentState(StrEnum):
    """What is known of a segment in the folder."""

    OPEN = "open"
    """It holds no CDC data so far, and may still get some."""

    CDC = "cdc"
    """It holds CDC data: it has an index file."""

    PLAIN = "plain"
    """It holds no CDC data and is not written to any more: Cassandra deletes it."""


class SeenSegment(NamedTuple):
    """A segment that was in the folder and was not consumed. `seen` is when (milliseconds since epoch)."""

    id: int
    state: SegmentState
    seen: int


class SeenSegments:
    """The segments that were in the folder at the last look and were not consumed yet.

    The newest segment is never forgotten: it tells up to which id segments are known. Methods block and raise
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
        """Keep segments as they are now and forget those that are accounted for. CDC data stays on record."""
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
