"""The segments that the daemon knows, so that it detects missing ones after downtime."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from cdc_daemon.store.database import Database


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
