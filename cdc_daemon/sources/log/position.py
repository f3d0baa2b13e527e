"""A place in the commit log: which segment, how far into it."""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """A segment's id and a logical offset in it, in bytes (Cassandra's `CommitLogPosition`).

    Ids grow in the order in which Cassandra takes segments into use, so positions compare in the order of
    the log. Offset 0 means that nothing of the segment was used yet.
    """

    segment_id: int
    offset: int

    def __str__(self) -> str:
        return f"{self.segment_id}:{self.offset}"


START = Position(0, 0)
"""Before every segment: Cassandra's ids are milliseconds since epoch, or follow one (`CommitLogSegment.idBase`)."""
