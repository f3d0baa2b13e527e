"""Detect missing segments: which gaps are certain, which are possible, and which cannot be detected.

A missing segment alone proves no loss. Cassandra removes the link of a segment without CDC data when it discards the
segment, creates no link while CDC space is used up, and starts each run with ids far above the last.
But a segment *with* CDC data stays until its consumer deletes it, unless `cdc_block_writes: false` lets Cassandra
prune the folder (see `lifecycle`). So a gap is certain if the missing segment is known to have held CDC data: it
had an index file, or signals were read from it. A gap is possible if segments may have existed only while the daemon
was down. Pruning goes by ascending ids: as long as the segment at the checkpoint, or the next id after it, exists,
no later segment was pruned.

But anyone can delete a segment between two others. A hole in the ids is a possible gap if all of this holds:

- the segment was not consumed, and was not seen to be without CDC data while the daemon ran;
- the segments on both sides of the hole hold CDC data, so a segment without CDC data is rather unlikely;
- both sides belong to one run of Cassandra. A new run begins at the wall clock's milliseconds, and within a run one
  segment takes far more than a millisecond. So the first id of a new run, taken as a time, is later than the last
  write to every older segment, and an id within a run is earlier than the last write to the segment before it.

A segment that is missing at the border of two runs, or next to one without CDC data, cannot be detected.

3.11 (segment version 6) never prunes: it rejects writes when `cdc_total_space` is used up. It moves a segment to
`cdc_raw` in any order, and deletes segments without CDC data, so a hole among its segments proves nothing. Only a
segment that signals were read from, or that was seen in `cdc_raw`, is missed (`Inventory`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import ClassVar, NamedTuple

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.sources.log.folder import Listing
from cdc_daemon.store.checkpoints import SeenSegment, SegmentState


class GapReason(Enum):
    """The reason to assume that changes are lost."""

    VANISHED = "vanished"
    """A segment with CDC data was deleted before it was read to its end."""

    INDEX_WITHOUT_SEGMENT = "index_without_segment"
    """An index file exists, so there was CDC data, but its segment was deleted."""

    ABSENT = "absent"
    """While the daemon was down, segments may have been created and deleted."""

    HOLE = "hole"
    """While the daemon was down, a segment between two with CDC data was deleted; it may have held CDC data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A gap in the log that was read.

    The missing part begins at `after` and ends before the segment `before`; None if its end is unknown. `certain` is
    true if changes are certainly lost, false if they may be. `segments` is the number of missing ids, if known.
    """

    reason: GapReason
    certain: bool
    after: Position
    before: int | None = None
    segments: int = 1

    HINT: ClassVar[str] = (
        "the daemon compares the node's tables with the search engine and repairs them by itself (jobs.heal); if "
        "Cassandra pruned the folder (cdc_block_writes: false), raise cdc_total_space or let its writes be "
        "rejected instead"
    )
    HOLE_HINT: ClassVar[str] = (
        "Cassandra itself deletes segments without CDC data, so such a hole can be without loss: the daemon compares "
        "the node's tables with the search engine to be sure (jobs.heal); let nobody else delete files in cdc_raw"
    )

    @property
    def hint(self) -> str:
        """Advice for the operator."""
        return self.HOLE_HINT if self.reason is GapReason.HOLE else self.HINT

    def __str__(self) -> str:
        until = "the end" if self.before is None else f"segment {self.before}"
        if self.reason is GapReason.HOLE:
            missing = "a segment is" if self.segments == 1 else f"{self.segments} segments are"
            return f"{missing} missing from {self.after} up to {until}: changes may be lost ({self.reason.value})"
        sure = "are lost" if self.certain else "may be lost"
        return f"changes from {self.after} up to {until} {sure} ({self.reason.value})"


def gap_at_start(checkpoint: Position, listing: Listing, *, consumed: bool, may_prune: bool) -> Gap | None:
    """Return the gap between a previous listing of the folder and this one, or None.

    `checkpoint` is where reading stopped; an offset above 0 means that the segment held CDC data. `consumed` means
    that its segment was read to its end and released. `may_prune` is false if Cassandra is known to reject writes
    instead of pruning: then only segments that someone else deleted can be missing.
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


class Known(NamedTuple):
    """Knowledge about segments from before the daemon was down and from other sources than the folder.

    `seen` are the segments of the last listing, `newest` is the highest id that was ever seen, `consumed` are the
    segments that were read to their end. `tracked` are segments with open, readable files; its values are true for
    those that hold CDC data.
    """

    seen: Sequence[SeenSegment] = ()
    newest: int = 0
    consumed: Collection[int] = ()
    tracked: Mapping[int, bool] = {}


class _Neighbour(NamedTuple):
    """A segment that is not missing. `alive` is when it was last known to be in use (ms since epoch)."""

    holds_cdc: bool
    alive: float = 0.0


def find_missing(listing: Listing, known: Known) -> list[Gap]:
    """Return a certain gap for each range of segments that were seen with CDC data and deleted unread."""
    present = [file.id for file in listing.segments]
    accounted = {*present, *known.consumed, *known.tracked, *listing.orphans}
    gaps: list[Gap] = []
    for each in known.seen:
        if each.state is not SegmentState.CDC or each.id in accounted:
            continue
        before = min((segment_id for segment_id in present if segment_id > each.id), default=None)
        if gaps and gaps[-1].before == before:
            gaps[-1] = replace(gaps[-1], segments=gaps[-1].segments + 1)
        else:
            after = Position(each.id, 0)
            gaps.append(Gap(reason=GapReason.VANISHED, certain=True, after=after, before=before))
    return gaps


def find_holes(listing: Listing, known: Known) -> list[Gap]:
    """Return a possible gap for each hole in the ids that Cassandra's own behaviour does not explain (see `gap`).

    Of the segments that were known before the daemon was down, only open ones may have received CDC data since.
    The last segment with an index file may be followed by segments that will still get index files: these count as
    holding CDC data if they end a hole. Holes before the newest segment of 3.11 do not count.
    """
    newest_moved = max((each.id for each in listing.segments if each.is_moved), default=0)
    neighbours = _neighbours(listing, known)
    opened = {each.id: each.seen for each in known.seen if each.id not in neighbours}
    newest_indexed = max((each.id for each in listing.segments if each.has_index), default=0)
    gaps: list[Gap] = []
    alive = 0.0
    for lower, upper in pairwise(sorted(neighbours)):
        gone = [segment_id for segment_id in opened if lower < segment_id < upper]
        unseen = range(max(lower, known.newest) + 1, upper)
        alive = max([alive, neighbours[lower].alive, *(opened[each] for each in gone)])
        if lower < newest_moved or (not gone and not unseen):
            continue
        same_run = alive > upper
        ends_in_cdc = neighbours[upper].holds_cdc or upper > newest_indexed
        if same_run and neighbours[lower].holds_cdc and ends_in_cdc:
            first = Position(min([*gone, *unseen[:1]]), 0)
            count = len(gone) + len(unseen)
            gaps.append(Gap(reason=GapReason.HOLE, certain=False, after=first, before=upper, segments=count))
    return gaps


def _neighbours(listing: Listing, known: Known) -> dict[int, _Neighbour]:
    """Return every segment that is not missing, by id: all except those that were open and were deleted."""
    found = {
        each.id: _Neighbour(each.state is SegmentState.CDC, each.seen)
        for each in known.seen
        if each.state is not SegmentState.OPEN
    }
    seen = {each.id: float(each.seen) for each in known.seen}
    with_cdc = {**dict.fromkeys((*known.consumed, *listing.orphans), True), **known.tracked}
    found |= {each: _Neighbour(holds_cdc, seen.get(each, 0.0)) for each, holds_cdc in with_cdc.items()}
    return found | {each.id: _Neighbour(each.has_index, each.modified * 1000) for each in listing.segments}
