"""Store the folder's state durably, and find the segments that are missing after a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from cdc_daemon.commitlog.descriptor import START, Position
from cdc_daemon.sources.log.folder import Listing
from cdc_daemon.sources.log.gaps import Gap, Known, find_holes, find_missing, gap_at_start
from cdc_daemon.sources.log.ports import CheckpointStore, SeenSegmentStore
from cdc_daemon.sources.log.segments import TrackedSegment, TrackedSegments
from cdc_daemon.store.checkpoints import SeenSegment, SegmentState


class Inventory:
    """Stores durably which segments are in the folder, and compares the stored list with the folder after a restart.

    First `find_gaps` finds gaps, then the caller stores them durably, and only then `record` stores the folder's
    current state. So each gap is found once, or twice if the process is killed in between.
    """

    def __init__(self, seen: SeenSegmentStore, checkpoints: CheckpointStore, segments: TrackedSegments) -> None:
        self._seen = seen
        self._checkpoints = checkpoints
        self._segments = segments
        self._recorded: dict[int, SegmentState] | None = None

    async def find_gaps(self, listing: Listing, checkpoint: Position, *, may_prune: bool) -> list[Gap]:
        """Return the gaps since the last listing. Raises `StoreError`.

        With a new state directory there are no gaps.
        """
        seen = await asyncio.to_thread(self._seen.load)
        self._recorded = {each.id: each.state for each in seen}
        if checkpoint == START and not seen:
            return []
        newest = max(checkpoint.segment_id, *(each.id for each in seen), 0)
        first = min([newest, *self._recorded])
        consumed = frozenset(await asyncio.to_thread(self._checkpoints.consumed_since, first))
        known = Known(seen, newest, consumed, {segment.id: segment.holds_cdc for segment in self._segments})
        at_checkpoint = None
        if checkpoint != START:
            finished = checkpoint.segment_id in consumed
            may_prune = may_prune and not listing.moves_segments
            at_checkpoint = gap_at_start(checkpoint, listing, consumed=finished, may_prune=may_prune)
        return _without_repeats(at_checkpoint, [*find_missing(listing, known), *find_holes(listing, known)])

    async def record(self) -> None:
        """Store the changed states of the tracked segments. Raises `StoreError`."""
        if self._recorded is None:
            return
        states = {segment.id: self._state(segment) for segment in self._segments}
        now = time.time_ns() // 1_000_000
        changed = [
            SeenSegment(segment_id, state, now)
            for segment_id, state in states.items()
            if self._recorded.get(segment_id) not in {state, SegmentState.CDC}
        ]
        gone = self._recorded.keys() - states.keys()
        if changed or gone:
            await asyncio.to_thread(self._seen.record, changed, gone)
            self._recorded = {each: state for each, state in self._recorded.items() if each not in gone}
            self._recorded |= {each.id: each.state for each in changed}

    def _state(self, segment: TrackedSegment) -> SegmentState:
        """Return a segment's state.

        A segment without an index file gets no more CDC data once a newer segment has begun (see `lifecycle`). 3.11
        writes no index files: there a segment counts as one with CDC data when signals were read from it, too.
        """
        if segment.file.has_index or (segment.file.is_moved and segment.holds_cdc):
            return SegmentState.CDC
        return SegmentState.PLAIN if self._segments.newer_begun(segment) else SegmentState.OPEN


def _without_repeats(at_checkpoint: Gap | None, found: Sequence[Gap]) -> list[Gap]:
    """Return each gap once: a gap found by ids may lie in the gap at the checkpoint, or be the certain one."""
    if at_checkpoint is None:
        return list(found)
    within = [gap for gap in found if _covers(at_checkpoint, gap)]
    if not at_checkpoint.certain and any(gap.certain for gap in within):
        return list(found)
    return [at_checkpoint, *(gap for gap in found if gap not in within)]


def _covers(outer: Gap, inner: Gap) -> bool:
    start, end = inner.after.segment_id, outer.before
    return start >= outer.after.segment_id and (end is None or start < end)
