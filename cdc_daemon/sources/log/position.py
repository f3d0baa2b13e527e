"""A position in the commit log: a segment and an offset in it."""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """A segment's id and a logical offset in it, in bytes (Cassandra's `CommitLogPosition`).

    Ids ascend in the order in which Cassandra starts to use segments, so positions sort in the order of the log.
    Offset 0 means that nothing of the segment was read yet.
    """

    segment_id: int
    offset: int

    def __str__(self) -> str:
        return f"{self.segment_id}:{self.offset}"


START = Position(0, 0)
"""Before every segment: Cassandra's ids are milliseconds since epoch, or follow one (`CommitLogSegment.idBase`)."""
