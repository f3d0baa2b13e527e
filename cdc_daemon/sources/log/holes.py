"""Find segments that were deleted while the daemon was down, by their ids (see `gap` for the limits)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from cdc_daemon.sources.log.folder import Listing
from cdc_daemon.sources.log.gap import Gap, GapReason
from cdc_daemon.sources.log.position import Position
from cdc_daemon.store.seen_segments import SeenSegment, SegmentState


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
    holding CDC data if they end a hole.
    """
    neighbours = _neighbours(listing, known)
    opened = {each.id: each.seen for each in known.seen if each.id not in neighbours}
    newest_indexed = max((each.id for each in listing.segments if each.has_index), default=0)
    gaps: list[Gap] = []
    alive = 0.0
    for lower, upper in pairwise(sorted(neighbours)):
        gone = [segment_id for segment_id in opened if lower < segment_id < upper]
        unseen = range(max(lower, known.newest) + 1, upper)
        alive = max([alive, neighbours[lower].alive, *(opened[each] for each in gone)])
        if not gone and not unseen:
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
