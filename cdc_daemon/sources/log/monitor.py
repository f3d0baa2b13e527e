"""Monitors the node's segments: lists their folders, reports missing segments, and releases finished ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.model.errors import StoreError
from cdc_daemon.sources.log.checkpoint import CheckpointKeeper
from cdc_daemon.sources.log.folder import CdcFolder, Listing, SegmentFile
from cdc_daemon.sources.log.gaps import Gap, GapReason
from cdc_daemon.sources.log.inventory import Inventory
from cdc_daemon.sources.log.losses import LossRecorder
from cdc_daemon.sources.log.ports import CheckpointStore, TailObserver, TailOptions
from cdc_daemon.sources.log.release import Releaser
from cdc_daemon.sources.log.segments import TrackedSegment, TrackedSegments

log = structlog.get_logger(__name__)

_LOG_INTERVAL = 60.0
"""Seconds after which a failure to list the folder is logged again."""

_ABSENCE = 30.0
"""Seconds between two listings after which segments may have been created and deleted unseen: a node needs longer to
fill its whole CDC space. Such a long pause means that the process was suspended."""


class FolderMonitor:
    """Lists the folder, updates the tracked segments, reports gaps, and releases finished segments."""

    def __init__(
        self,
        folder: CdcFolder,
        segments: TrackedSegments,
        *,
        keeper: CheckpointKeeper,
        checkpoints: CheckpointStore,
        inventory: Inventory,
        releaser: Releaser,
        losses: LossRecorder,
        options: TailOptions,
        observer: TailObserver,
        on_change: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._segments = segments
        self._keeper = keeper
        self._checkpoints = checkpoints
        self._inventory = inventory
        self._releaser = releaser
        self._losses = losses
        self._options = options
        self._observer = observer
        self._on_change = on_change
        self._start = keeper.saved.position
        self._requested = asyncio.Event()
        self._list_now = True
        self._listed_at: float | None = None
        self._processed_at: float | None = None
        self._missing: set[int] = set()
        self._reported: set[Gap] = set()
        self._logged_at = 0.0
        self._orphans: dict[int, float] = {}

    def request_listing(self) -> None:
        """Request a listing: the folder has changed."""
        self._list_now = True
        self._requested.set()

    def request_release(self) -> None:
        """Request a release of segments: something was acknowledged or read to its end."""
        self._requested.set()

    async def run(self) -> None:
        """Monitor until cancelled."""
        while True:
            if self._list_now or self._wait() <= 0:
                await self.list()
            await self.release_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._wait())):
                    await self._requested.wait()
            self._requested.clear()

    def _wait(self) -> float:
        if self._listed_at is None:
            return 0.0
        return self._listed_at + self._options.list_interval - time.monotonic()

    async def list(self) -> None:
        """List the folder and process changes. A failure is logged, and a later call retries."""
        self._list_now = False
        self._listed_at = now = time.monotonic()
        try:
            listing = await asyncio.to_thread(self._folder.look)
        except OSError as error:
            self._log_failure(error)
            return
        self._observer.listed(len(listing.segments), listing.total_bytes, listing.active_bytes)
        try:
            await self._process(listing, absent=self._processed_at is None or now - self._processed_at > _ABSENCE)
        except StoreError as error:
            # Unprocessed changes are new again in the next listing.
            log.warning("tail.store_unavailable", error=str(error), hint=error.hint)
            return
        self._processed_at = now
        self._on_change()

    async def _process(self, listing: Listing, *, absent: bool) -> None:
        change = self._segments.compare(listing)
        if absent:
            await self._report_gaps(listing)
        for file in change.arrived:
            await self._track(file)
        for segment in change.vanished:
            await self._report_vanished(segment)
        await self._check_orphans(listing)
        await self._inventory.record()

    async def _track(self, file: SegmentFile) -> None:
        consumed = await asyncio.to_thread(self._checkpoints.consumed, file.id)
        started = consumed or 0
        if file.id == self._start.segment_id:
            started = max(started, self._start.offset)
        if consumed is not None and not file.is_moved:
            log.info("tail.segment_reappeared", segment=file.name, consumed_up_to=consumed)
        self._segments.add(TrackedSegment(file, started=started, consumed=consumed is not None))

    async def _report_vanished(self, segment: TrackedSegment) -> None:
        """Report a deleted segment as a gap if it held CDC data, unless its open file is still being read."""
        if segment.complete or segment.reading or segment.reader is not None:
            return
        self._segments.drop(segment)
        if segment.holds_cdc or segment.error is not None:
            self._missing.add(segment.id)
            following = self._segments.next_after(segment)
            await self._losses.missing(
                Gap(
                    reason=GapReason.VANISHED,
                    certain=True,
                    after=Position(segment.id, segment.position),
                    before=None if following is None else following.id,
                )
            )
        else:
            log.debug("tail.segment_without_cdc_forgotten", segment=segment.file.name)

    async def _report_gaps(self, listing: Listing) -> None:
        """Report the gaps since the last listing; a retry after a failure does not repeat reported gaps."""
        checkpoint = self._keeper.saved.position
        gaps = await self._inventory.find_gaps(listing, checkpoint, may_prune=self._options.may_prune)
        for gap in gaps:
            if gap not in self._reported:
                await self._losses.missing(gap)
                self._reported.add(gap)

    async def _check_orphans(self, listing: Listing) -> None:
        """Find index files without segments: the segments held unread CDC data.

        Cassandra creates the index file after the segment, and both may just be being deleted one after the other. So
        an orphan counts only after it has existed for a while.
        """
        now = time.monotonic()
        self._orphans = {key: since for key, since in self._orphans.items() if key in listing.orphans}
        tracked = {segment.id for segment in self._segments}
        for segment_id, path in listing.orphans.items():
            if segment_id in tracked or now - self._orphans.setdefault(segment_id, now) < self._options.list_interval:
                continue
            if self._orphans[segment_id] < float("inf"):
                self._orphans[segment_id] = float("inf")
                await self._report_orphan(segment_id, path, listing)

    async def _report_orphan(self, segment_id: int, path: Path, listing: Listing) -> None:
        consumed = await asyncio.to_thread(self._checkpoints.consumed, segment_id)
        if consumed is None and segment_id not in self._missing:
            offset = self._start.offset if segment_id == self._start.segment_id else 0
            before = min((file.id for file in listing.segments if file.id > segment_id), default=None)
            await self._losses.missing(
                Gap(
                    reason=GapReason.INDEX_WITHOUT_SEGMENT,
                    certain=True,
                    after=Position(segment_id, offset),
                    before=before,
                )
            )
        await self._releaser.remove_index(path)

    async def release_due(self) -> None:
        """Release every segment that is complete, acknowledged, and behind the durable checkpoint."""
        durable = self._keeper.saved.sequence
        for segment in self._segments:
            if segment.sequence > durable:
                continue
            if segment.complete and await self._releaser.release(segment):
                self._segments.drop(segment)
            elif segment.file.active and segment.rested is not None and segment.position > segment.noted:
                await self._releaser.note_resting(segment)

    def _log_failure(self, error: OSError) -> None:
        now = time.monotonic()
        if now >= self._logged_at:
            self._logged_at = now + _LOG_INTERVAL
            log.error(
                "tail.folder_not_listed",
                folder=error.filename or str(self._folder.path),
                error=str(error),
                hint="set cdc_enabled: true in cassandra.yaml, commit_log.cdc_raw_directory to its cdc_raw_directory "
                "(with Cassandra 3.11 also commit_log.commitlog_directory to its commitlog_directory), and let the "
                "daemon's user read there; the daemon keeps trying",
            )
