"""Segments that are missing: what can be known of them, and what cannot.

That a segment is gone proves nothing by itself. Cassandra removes the link of a segment without CDC data when
it discards it, never makes one while CDC space is used up, and starts each run with ids far above the last.
But a segment *with* CDC data stays until its consumer deletes it, unless `cdc_block_writes: false` lets Cassandra
prune the folder (see `lifecycle`). So a gap is certain when the missing segment is known to have held CDC data: it
had an index file, or signals came from it. It is possible when segments were there in our absence that we
never saw; pruning goes by ascending ids, so as long as the segment at the checkpoint is there, or the next id after
it, nothing behind it was pruned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from cdc_daemon.tail.folder import Listing
from cdc_daemon.tail.position import Position


class GapReason(Enum):
    """Why changes are believed to be lost."""

    VANISHED = "vanished"
    """A segment with CDC data is gone before it was read to its end."""

    INDEX_WITHOUT_SEGMENT = "index_without_segment"
    """There is an index file, so there was CDC data, but the segment is gone."""

    ABSENT = "absent"
    """While the daemon was away, segments may have come and gone that it never saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A hole in what was read.

    What is missing begins at `after` and ends before the segment `before`; None where no such end is known.
    `certain` tells whether changes are lost for sure or only perhaps.
    """

    reason: GapReason
    certain: bool
    after: Position
    before: int | None = None

    HINT: ClassVar[str] = (
        "the daemon compares the node's tables with Elasticsearch and repairs them by itself (jobs.heal); if Cassandra "
        "pruned the folder (cdc_block_writes: false), raise cdc_total_space or let its writes be rejected instead"
    )

    def __str__(self) -> str:
        until = "the end" if self.before is None else f"segment {self.before}"
        sure = "are lost" if self.certain else "may be lost"
        return f"changes from {self.after} up to {until} {sure} ({self.reason.value})"


def gap_at_start(checkpoint: Position, listing: Listing, *, consumed: bool, may_prune: bool) -> Gap | None:
    """Tell what was missed between an earlier look at the folder and this one.

    `checkpoint` is where reading stopped; an offset above 0 says that the segment held CDC data. `consumed` says
    that its segment was read to its end and released. `may_prune` is false where Cassandra is known to reject
    writes rather than to prune, so that only what somebody else deleted can be missing.
    """
    present = {file.id for file in listing.segments}
    if checkpoint.segment_id == 0 or checkpoint.segment_id in present or checkpoint.segment_id in listing.orphans:
        return None
    before = min((segment_id for segment_id in present if segment_id > checkpoint.segment_id), default=None)
    if checkpoint.offset > 0 and not consumed:
        return Gap(reason=GapReason.ABSENT, certain=True, after=checkpoint, before=before)
    if not may_prune or (consumed and before == checkpoint.segment_id + 1):
        return None
    return Gap(reason=GapReason.ABSENT, certain=False, after=checkpoint, before=before)
