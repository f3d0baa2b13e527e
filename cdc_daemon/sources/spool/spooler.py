"""Spools pending keys to disk while cdc_raw is filling, and drains the spool when there is room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.signal import Signal
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import hand_over_each
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.store.spool import Spool, SpooledKey, SpooledRow
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

CHECK_SECONDS = 0.25
"""Interval of the space checks: a node fills a segment of 32 MiB in a few tenths of a second at most."""

BATCH = 1000
"""Keys read from the spool together."""

PATIENCE = 2.0
"""Seconds for which an alias must be in trouble before its keys are spooled: most outages of one shard are shorter."""

RECHECK_SECONDS = 30.0
"""Seconds after which spooled keys of an alias in trouble are tried again: they may also belong to other aliases."""

_STORE_SECONDS = 1.0
"""Seconds after which a failed access to the store is retried."""

_LOG_INTERVAL = 60.0

DEFAULT_SEGMENT_SIZE = 32 * 1024 * 1024
"""Bytes of a segment if the node does not report its setting (`commitlog_segment_size`, cassandra.yaml 4.0 to 5.0)."""

KEPT_SEGMENTS = 3
"""Segments that must always fit: Cassandra counts a segment at its full size as soon as it begins and creates the next
in advance (`CommitLogSegmentManagerCDC.CDCSizeTracker.processNewSegment`, 4.0 to 5.0); releasing takes a moment."""


@dataclass(slots=True)
class CdcSpace:
    """The size of cdc_raw, and the limit in bytes at which Cassandra rejects writes; 0 if the limit is unknown.

    `used` counts all segments, as Cassandra does. `active` is the part of it that a release cannot free: segments of
    3.11 in the commit-log folder. The remaining space is what the daemon has to keep free enough.

    `threshold` is the share of the limit at which spooling begins. If the limit is small, spooling begins earlier, so
    that `KEPT_SEGMENTS` segments of `segment_size` bytes still fit.
    """

    limit: int
    segment_size: int
    threshold: float = 0.5
    used: int = 0
    active: int = 0

    def listed(self, used: int, active: int = 0) -> None:
        """Record the bytes in the folders."""
        self.used = used
        self.active = active

    @property
    def spool_from(self) -> int:
        """Bytes at which spooling begins."""
        space = self.limit - self.active
        room = space - KEPT_SEGMENTS * self.segment_size
        return self.active + max(0, min(int(space * self.threshold), room))

    @property
    def filling(self) -> bool:
        """Whether segments must be released, even if their changes are not written yet."""
        return self.limit > 0 and self.used > self.spool_from


class SpoolObserver(Protocol):
    """Observes keys that enter and leave the spool."""

    def spooled(self, count: int) -> None:
        """Count pending keys that entered the spool."""
        ...

    def unspooled(self, count: int) -> None:
        """Count keys that left the spool because they are written."""
        ...


class SpoolMetrics:
    """Counts keys that enter and leave the spool."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for direction in ("out", "in"):
            metrics.keys_spooled.labels(direction)

    def spooled(self, count: int) -> None:
        """Count keys that entered the spool."""
        self._metrics.keys_spooled.labels("out").inc(count)

    def unspooled(self, count: int) -> None:
        """Count keys that left the spool because they are written."""
        self._metrics.keys_spooled.labels("in").inc(count)


class Spooler:
    """Keeps cdc_raw from filling while documents cannot be written, or are written more slowly than changes arrive.

    While `space` is filling, every pending key is spooled with its state, and its receipts are released. So checkpoints
    advance and segments can be deleted. Keys that wait at a closed gate are spooled at once.

    When there is room again and `ready` returns true, because documents can be written, the spool is drained, oldest
    keys first. A key is deleted from the spool when it is written, unless a newer change of it was spooled in the
    meantime. A crash repeats work but loses nothing.

    Keys of an alias in trouble, which `troubled` returns, are spooled even if `space` is not filling. In the pipeline
    they would block the checkpoint, and with it the keys of all other aliases.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        coalescer: Coalescer,
        gate: Gate,
        space: CdcSpace,
        ready: Callable[[], bool],
        observer: SpoolObserver,
        troubled: Troubled | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._spool = spool
        self._coalescer = coalescer
        self._gate = gate
        self._space = space
        self._ready = ready
        self._observer = observer
        self._troubled = troubled or Troubled()
        self._patience = patience
        self._trouble_began: float | None = None
        self._spooling = False
        self._spooled_more = False
        self._count_lock = asyncio.Lock()
        self.waiting = 0

    async def run(self) -> None:
        """Run until cancelled."""
        self.waiting = await asyncio.to_thread(self._spool.__len__)
        if self.waiting:
            log.info("spool.left_by_last_run", keys=self.waiting)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_space(), name="spool-space")
                tasks.create_task(self._drain(), name="spool-drain")
        finally:
            self._gate.divert(None)

    async def _watch_space(self) -> None:
        while True:
            if self._space.filling:
                await self._spool_pending()
            elif self._spooling:
                self._end_spooling()
            if not self._space.filling and self._is_trouble_persistent():
                await self._spool_parked()
            await asyncio.sleep(CHECK_SECONDS)

    def _is_trouble_persistent(self) -> bool:
        """Return whether an alias has been in trouble for so long that its keys must be spooled."""
        if not self._troubled.any:
            self._trouble_began = None
            return False
        now = asyncio.get_running_loop().time()
        if self._trouble_began is None:
            self._trouble_began = now
        return now - self._trouble_began >= self._patience or self._coalescer.is_crowded

    async def _drain(self) -> None:
        while True:
            if not self._may_drain():
                await asyncio.sleep(CHECK_SECONDS)
                continue
            try:
                blocked = await self._drain_once()
            except StoreError as error:
                # Keys that are written but still in the spool are written once more, which is harmless.
                _log_failure(error)
                await asyncio.sleep(_STORE_SECONDS)
            else:
                await self._wait_before_next_drain(blocked)

    def _may_drain(self) -> bool:
        return bool(self.waiting and not self._space.filling and self._ready() and not self._gate.closed)

    async def _wait_before_next_drain(self, blocked: Collection[str]) -> None:
        """Wait after a drain; if `blocked` aliases have spooled keys, until one of them accepts writes again."""
        until = asyncio.get_running_loop().time() + (RECHECK_SECONDS if blocked else 0.0)
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._spooled_more:
                return  # keys spooled since then may belong to other aliases
            if asyncio.get_running_loop().time() >= until or not self._troubled.among(blocked).keys() >= set(blocked):
                return

    async def _spool_pending(self) -> None:
        self._spooled_more = True
        if not self._spooling:
            self._spooling = True
            log.warning(
                "spool.started",
                cdc_raw_bytes=self._space.used,
                limit_bytes=self._space.limit,
                hint="changed keys are stored in the state directory, so that Cassandra can keep writing; find out why "
                "documents are not written",
            )
            self._gate.divert(self._divert)
        await self._spool_entries(self._coalescer.unacknowledged())

    async def _spool_parked(self) -> None:
        """Spool the keys that wait for aliases in trouble."""
        count = await self._spool_entries(self._coalescer.parked())
        if count:
            log.warning(
                "spool.alias_in_trouble",
                keys=count,
                aliases=sorted(self._troubled.all()),
                hint="changed keys of these aliases are stored in the state directory until they can be written",
                every=_LOG_INTERVAL,
            )

    async def _spool_entries(self, entries: Sequence[Entry]) -> int:
        pending = [
            (entry, dict(entry.receipts), SpooledKey(
                entry.key, entry.written, entry.removed, entry.suspected, entry.expires, entry.refresh,
                frozenset(entry.prefixes),
            ))
            for entry in entries
        ]  # fmt: skip
        if not pending or not await self._put([spooled for _, _, spooled in pending]):
            return 0
        for entry, receipts, _ in pending:
            entry.give_back(receipts)
        self._coalescer.withdraw([entry.key for entry, _, _ in pending])
        self._observer.spooled(len(pending))
        return len(pending)

    async def _put(self, keys: Sequence[SpooledKey]) -> bool:
        """Store keys durably; return False if that fails. The keys then stay pending, and cdc_raw continues to fill."""
        try:
            async with self._count_lock:
                new = await asyncio.to_thread(self._spool.put, keys)
                self.waiting += new
        except StoreError as error:
            _log_failure(error)
            return False
        return True

    def _end_spooling(self) -> None:
        self._spooling = False
        self._gate.divert(None)
        log.info("spool.ended", keys_waiting=self.waiting, cdc_raw_bytes=self._space.used)

    async def _divert(self, signals: Sequence[Signal]) -> None:
        """Spool the keys that wait at a closed gate."""
        keys = [SpooledKey.of(signal) for signal in signals]
        while not await self._put(keys):  # noqa: ASYNC110 -- a full disk sends no event when it has room again
            await asyncio.sleep(_STORE_SECONDS)
        self._observer.spooled(len(keys))

    async def _drain_once(self) -> set[str]:
        """Submit every spooled key once, except keys without a writable document; return the aliases that block keys.

        A key of several aliases is submitted even if one of them is in trouble, so that the others are written.
        """
        self._spooled_more = False
        after, blocked = 0, set(self._troubled.all())
        while self._may_drain():
            skipped = self._troubled.tables()
            rows = await asyncio.to_thread(self._spool.oldest, BATCH, after=after, excluding=skipped)
            if not rows:
                break
            after = rows[-1].id
            signals = [signal for row in rows for signal in row.spooled.signals()]
            # A key that is spooled again in the meantime has a new generation, and stays in the spool.
            refused = await hand_over_each(self._coalescer.submit, signals)
            blocked |= {trouble.alias for trouble in refused.values() if trouble.alias is not None}
            await self._remove_from_spool([row for row in rows if row.spooled.key not in refused])
        return blocked

    async def _remove_from_spool(self, rows: Sequence[SpooledRow]) -> None:
        async with self._count_lock:
            await asyncio.to_thread(self._spool.remove, rows)
            self.waiting = await asyncio.to_thread(self._spool.__len__)
        self._observer.unspooled(len(rows))
        if not self.waiting:
            log.info("spool.empty")


def _log_failure(error: StoreError) -> None:
    log.warning("spool.failed", error=str(error), hint=error.hint, every=_LOG_INTERVAL)
