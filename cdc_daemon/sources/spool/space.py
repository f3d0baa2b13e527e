"""How full cdc_raw is, and at which size Cassandra's writes are at risk."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_SEGMENT_SIZE = 32 * 1024 * 1024
"""Bytes of a segment where the node does not report it (`commitlog_segment_size`, cassandra.yaml 4.0 to 5.0)."""

KEPT_SEGMENTS = 3
"""Segments that must always fit: Cassandra counts a segment at its full size as soon as it begins and creates the next
in advance (`CommitLogSegmentManagerCDC.CDCSizeTracker.processNewSegment`, 4.0 to 5.0); releasing takes a moment."""


@dataclass(slots=True)
class CdcSpace:
    """Bytes in cdc_raw against the limit at which Cassandra rejects writes; 0 where that is not known.

    `threshold` is the share of the limit at which changed keys go to disk. With a small limit, room for some segments
    of `segment_size` bytes is still kept.
    """

    limit: int
    segment_size: int
    threshold: float = 0.5
    used: int = 0

    def listed(self, used: int) -> None:
        """Record the bytes in the folder."""
        self.used = used

    @property
    def spool_from(self) -> int:
        """Bytes at which keys start to go to disk."""
        room = self.limit - KEPT_SEGMENTS * self.segment_size
        return max(0, min(int(self.limit * self.threshold), room))

    @property
    def filling(self) -> bool:
        """Whether segments must be released, even if their changes are not written yet."""
        return self.limit > 0 and self.used > self.spool_from
