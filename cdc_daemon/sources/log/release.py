"""Release finished segments: record them as consumed first, delete them second."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from cdc_daemon.model.errors import StoreError
from cdc_daemon.sources.log.ports import CheckpointStore, TailObserver
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.sources.log.segments import TrackedSegment

log = structlog.get_logger(__name__)

_LOG_INTERVAL = 60.0
"""Seconds after which a lasting failure is logged again."""


class Releaser:
    """Releases segments that are complete, acknowledged, and behind a durable checkpoint.

    First the store records the segment as consumed, so that it is recognised if Cassandra links it again after a
    crash. Then its log is deleted, and then its index file, as Cassandra does when it prunes. With `delete` false the
    segment is only recorded. Nothing is ever deleted in the commit-log folder: a segment of 3.11 that was seen there
    last was deleted by Cassandra itself. A failure is logged with its fix and retried at the next call.
    """

    def __init__(
        self, checkpoints: CheckpointStore, *, quarantine: Quarantine, observer: TailObserver, delete: bool = True
    ) -> None:
        self._checkpoints = checkpoints
        self._quarantine = quarantine
        self._observer = observer
        self._delete = delete
        self._logged: dict[int, float] = {}

    async def release(self, segment: TrackedSegment) -> bool:
        """Release one segment. Return whether it is deleted, or recorded if nothing may be deleted."""
        try:
            await self._record_consumed(segment)
            if segment.file.active:
                return segment.gone
            if not self._delete:
                return False
            size = segment.file.size
            deleted = await asyncio.to_thread(_delete_files, segment.file.path, segment.file.index_path)
        except (OSError, StoreError) as error:
            self._log_failure(segment, error)
            return False
        self._logged.pop(segment.id, None)
        if deleted:
            log.info("tail.segment_released", segment=segment.file.name, bytes=size)
            self._observer.released(segment.id, size)
        return True

    async def note_resting(self, segment: TrackedSegment) -> None:
        """Record how far a resting segment of 3.11 was read, so that a restart does not read it again.

        Such a segment stays in the commit-log folder until all its tables are flushed, and most segments there rest.
        """
        position = segment.position
        try:
            await asyncio.to_thread(self._checkpoints.mark_consumed, segment.id, position)
        except StoreError as error:
            self._log_failure(segment, error)
        else:
            segment.noted = position

    async def remove_index(self, path: Path) -> None:
        """Delete an index file without a segment, unless nothing may be deleted."""
        if self._delete:
            try:
                await asyncio.to_thread(path.unlink, missing_ok=True)
            except OSError as error:
                log.warning("tail.index_not_removed", file=str(path), error=str(error))

    async def _record_consumed(self, segment: TrackedSegment) -> None:
        if segment.recorded:
            return
        if segment.damaged or self._quarantine.holds(segment.file.name):
            await asyncio.to_thread(self._quarantine.keep, segment.file.path)
        await asyncio.to_thread(self._checkpoints.mark_consumed, segment.id, segment.position)
        segment.recorded = True

    def _log_failure(self, segment: TrackedSegment, error: OSError | StoreError) -> None:
        now = time.monotonic()
        if now < self._logged.get(segment.id, 0.0):
            return
        self._logged[segment.id] = now + _LOG_INTERVAL
        log.error(
            "tail.release_failed",
            segment=segment.file.name,
            error=str(error),
            hint="let the daemon's user delete in the cdc_raw folder, and free space on the state directory's "
            "disk; until then cdc_raw fills up and Cassandra rejects writes to tables with CDC",
        )


def _delete_files(log_path: Path, index_path: Path) -> bool:
    """Delete a segment's files; return whether the segment itself existed."""
    try:
        log_path.unlink()
        found = True
    except FileNotFoundError:
        found = False
    index_path.unlink(missing_ok=True)
    return found
