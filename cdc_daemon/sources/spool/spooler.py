"""Moves pending keys to disk while cdc_raw is filling, and brings them back when there is room."""

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

LOOK_SECONDS = 0.25
"""Interval of the space checks: a node fills a segment of 32 MiB in a few tenths of a second at most."""

BATCH = 1000
"""Keys brought back together."""

PATIENCE = 2.0
"""Seconds that an alias is in trouble before keys that wait for it go to disk: most trouble of one shard is shorter."""

LONGEST_REST = 30.0
"""Seconds after which keys that wait for an alias in trouble are checked again, for the sake of other aliases."""

_STORE_SECONDS = 1.0
"""Seconds before a store that failed is retried."""

_LOG_INTERVAL = 60.0

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


class SpoolObserver(Protocol):
    """Observes keys that go to disk and come back."""

    def spooled(self, count: int) -> None:
        """Count pending keys that went to disk."""
        ...

    def unspooled(self, count: int) -> None:
        """Count keys that came back and are written."""
        ...


class SpoolMetrics:
    """Counts keys that go to the spool and come back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for direction in ("out", "in"):
            metrics.keys_spooled.labels(direction)

    def spooled(self, count: int) -> None:
        """Count keys that went to disk."""
        self._metrics.keys_spooled.labels("out").inc(count)

    def unspooled(self, count: int) -> None:
        """Count keys that came back and are written."""
        self._metrics.keys_spooled.labels("in").inc(count)


class Spooler:
    """Keeps cdc_raw from filling while documents cannot be written, or are written more slowly than changes arrive.

    While `space` is filling, every pending key goes to the spool with everything known about it, and its receipts are
    released: checkpoints advance and segments are released. Keys that wait at a closed gate go to the spool at once.
    When there is room again and `ready` says that documents can be written, keys come back, oldest first. A key is
    removed from the spool when it is written, unless a newer change of it was spooled in the meantime. A crash repeats
    work, and loses nothing.

    Keys that wait for a single alias, which `troubled` returns, go to the spool whether `space` is filling or not: they
    would fill the pipeline and block the checkpoint, and so stop all others.
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
        self._more = False
        self._counting = asyncio.Lock()
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
            if not self._space.filling and self._has_waited():
                await self._spool_parked()
            await asyncio.sleep(LOOK_SECONDS)

    def _has_waited(self) -> bool:
        """Return whether an alias has been in trouble long enough for its waiting keys to go to disk."""
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
                await asyncio.sleep(LOOK_SECONDS)
                continue
            try:
                left = await self._bring_back()
            except StoreError as error:
                # Keys that are written and could not be removed come back once more, which is harmless.
                _log_failure(error)
                await asyncio.sleep(_STORE_SECONDS)
            else:
                await self._rest(left)

    def _may_drain(self) -> bool:
        return bool(self.waiting and not self._space.filling and self._ready() and not self._gate.closed)

    async def _rest(self, left: Collection[str]) -> None:
        """Wait after all keys were brought back; if some are left, until aliases they wait for accept writes again."""
        until = asyncio.get_running_loop().time() + (LONGEST_REST if left else 0.0)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._more:
                return  # keys spooled since may not wait for these aliases
            if asyncio.get_running_loop().time() >= until or not self._troubled.among(left).keys() >= set(left):
                return

    async def _spool_pending(self) -> None:
        self._more = True
        if not self._spooling:
            self._spooling = True
            log.warning(
                "spool.started",
                cdc_raw_bytes=self._space.used,
                limit_bytes=self._space.limit,
                hint="changed keys go to the state directory, so that Cassandra can keep writing; find out why "
                "documents are not written",
            )
            self._gate.divert(self._divert)
        await self._spool_entries(self._coalescer.unacknowledged())

    async def _spool_parked(self) -> None:
        """Move keys that wait for aliases in trouble to disk."""
        count = await self._spool_entries(self._coalescer.parked())
        if count:
            log.warning(
                "spool.alias_in_trouble",
                keys=count,
                aliases=sorted(self._troubled.all()),
                hint="changed keys of these aliases go to the state directory until they take writes again",
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
        """Store keys durably; where that fails they stay where they are, and cdc_raw fills."""
        try:
            async with self._counting:
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
        """Store the keys that wait at a closed gate."""
        keys = [SpooledKey.of(signal) for signal in signals]
        while not await self._put(keys):  # noqa: ASYNC110 -- a full disk sends no event when it has room again
            await asyncio.sleep(_STORE_SECONDS)
        self._observer.spooled(len(keys))

    async def _bring_back(self) -> set[str]:
        """Bring every key back once, except those with no writable document; return the aliases waited for.

        A key that waits for one of several aliases is brought back for the sake of the others.
        """
        self._more = False
        after, left = 0, set(self._troubled.all())
        while self._may_drain():
            skipped = self._troubled.tables()
            rows = await asyncio.to_thread(self._spool.oldest, BATCH, after=after, besides=skipped)
            if not rows:
                break
            after = rows[-1].id
            signals = [signal for row in rows for signal in row.spooled.signals()]
            # Keys spooled again in the meantime are written too: they have another generation then, and stay.
            refused = await hand_over_each(self._coalescer.submit, signals)
            left |= {trouble.alias for trouble in refused.values() if trouble.alias is not None}
            await self._remove_from_spool([row for row in rows if row.spooled.key not in refused])
        return left

    async def _remove_from_spool(self, rows: Sequence[SpooledRow]) -> None:
        async with self._counting:
            await asyncio.to_thread(self._spool.remove, rows)
            self.waiting = await asyncio.to_thread(self._spool.__len__)
        self._observer.unspooled(len(rows))
        if not self.waiting:
            log.info("spool.empty")


def _log_failure(error: StoreError) -> None:
    log.warning("spool.failed", error=str(error), hint=error.hint, every=_LOG_INTERVAL)
