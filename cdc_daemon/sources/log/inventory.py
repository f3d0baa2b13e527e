"""What the daemon remembers of the folder, and what is missing of it after an absence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from cdc_daemon.sources.log.folder import Listing
from cdc_daemon.sources.log.gap import Gap, gap_at_start
from cdc_daemon.sources.log.holes import Known, find_holes, find_missing
from cdc_daemon.sources.log.ports import Checkpoints, SeenSegments
from cdc_daemon.sources.log.position import START, Position
from cdc_daemon.sources.log.tracked import TrackedSegment, TrackedSegments
from cdc_daemon.store.seen_segments import SeenSegment, SegmentState


class Inventory:
    """Keeps durably which segments are in the folder, and compares that with the folder after an absence.

    The order is: gaps are found, the caller keeps them durably, and only then `record` makes the folder's present state
    what is known. So each gap is found once, and twice at most where the process is killed in between.
    """

    def __init__(self, seen: SeenSegments, checkpoints: Checkpoints, segments: TrackedSegments) -> None:
        self._seen = seen
        self._checkpoints = checkpoints
        self._segments = segments
        self._recorded: dict[int, SegmentState] | None = None

    async def find_gaps(self, listing: Listing, checkpoint: Position, *, may_prune: bool) -> list[Gap]:
        """Return what is missing since the last look. Raises `StoreError`.

        A new state directory knows nothing, so nothing is missing for it.
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
            at_checkpoint = gap_at_start(checkpoint, listing, consumed=finished, may_prune=may_prune)
        return _without_repeats(at_checkpoint, [*find_missing(listing, known), *find_holes(listing, known)])

    async def record(self) -> None:
        """Keep the state of the tracked segments where it has changed. Raises `StoreError`."""
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
        """Say what is known of a segment.

        One without an index file behind one that has begun gets no CDC data any more (see `lifecycle`).
        """
        if segment.file.has_index:
            return SegmentState.CDC
        return SegmentState.PLAIN if self._segments.newer_begun(segment) else SegmentState.OPEN


def _without_repeats(at_checkpoint: Gap | None, found: Sequence[Gap]) -> list[Gap]:
    """Return each gap once: what was found by the ids may lie in the gap at the checkpoint, or be the surer one."""
    if at_checkpoint is None:
        return list(found)
    within = [gap for gap in found if _covers(at_checkpoint, gap)]
    if not at_checkpoint.certain and any(gap.certain for gap in within):
        return list(found)
    return [at_checkpoint, *(gap for gap in found if gap not in within)]


def _covers(outer: Gap, inner: Gap) -> bool:
    start, end = inner.after.segment_id, outer.before
    return start >= outer.after.segment_id and (end is None or start < end)
