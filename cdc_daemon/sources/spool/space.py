"""How full cdc_raw is, and from when on that endangers Cassandra's writes."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_SEGMENT_SIZE = 32 * 1024 * 1024
"""Bytes of a segment where the node does not tell them (`commitlog_segment_size`, cassandra.yaml 4.0 to 5.0)."""

KEPT_SEGMENTS = 3
"""Segments that must always fit: Cassandra counts one at its full size as soon as it begins, the next is made ahead
(`CommitLogSegmentManagerCDC.CDCSizeTracker.processNewSegment`, 4.0 to 5.0), and releasing takes a moment."""


@dataclass(slots=True)
class CdcSpace:
    """Bytes in cdc_raw against the limit at which Cassandra rejects writes; 0 where that is not known.

    `threshold` is the share of the limit at which changed keys go to disk; a small limit leaves room for some segments
    of `segment_size` bytes all the same.
    """

    limit: int
    segment_size: int
    threshold: float = 0.5
    used: int = 0

    def listed(self, used: int) -> None:
        """Take note of the bytes in the folder."""
        self.used = used

    @property
    def spool_from(self) -> int:
        """Bytes from which on keys go to disk."""
        room = self.limit - KEPT_SEGMENTS * self.segment_size
        return max(0, min(int(self.limit * self.threshold), room))

    @property
    def filling(self) -> bool:
        """Whether segments have to go, whatever becomes of what they tell."""
        return self.limit > 0 and self.used > self.spool_from
