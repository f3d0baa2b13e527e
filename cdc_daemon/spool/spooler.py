"""Takes what is pending to disk while cdc_raw is filling, and brings it back when there is room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from cdc_daemon.errors import StoreError
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import hand_over
from cdc_daemon.pipeline.signal import Signal
from cdc_daemon.spool.space import CdcSpace
from cdc_daemon.store.spool import Spool, SpooledKey, SpooledRow

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.25
"""How often the space is looked at: a node fills a segment of 32 MiB in a few tenths of a second at most."""

BATCH = 1000
"""Keys brought back together."""

_STORE_SECONDS = 1.0
"""How long to wait before a store that failed is tried again."""

_SAID_AGAIN = 60.0


class SpoolObserver(Protocol):
    """Is told what goes to disk and comes back."""

    def spooled(self, count: int) -> None:
        """Take note of pending keys that went to disk."""
        ...

    def unspooled(self, count: int) -> None:
        """Take note of keys that came back and are settled."""
        ...


class Spooler:
    """Keeps cdc_raw from filling while documents cannot be written, or not as fast as changes come.

    While `space` is filling, every pending key goes to the spool with all that is known of it, and its receipts are
    released: checkpoints move on and segments go. What waits at a closed gate goes to the spool at once. When there is
    room again and `ready` says that documents can be written, keys come back, those first that have waited longest. A
    key is taken out of the spool when it is settled, unless more was said of it meanwhile: a crash repeats, and loses
    nothing.
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
    ) -> None:
        self._spool = spool
        self._coalescer = coalescer
        self._gate = gate
        self._space = space
        self._ready = ready
        self._observer = observer
        self._spooling = False
        self._counting = asyncio.Lock()
        self.waiting = 0

    async def run(self) -> None:
        """Work until cancelled."""
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
                await self._go_on_spooling()
            elif self._spooling:
                self._end_spooling()
            await asyncio.sleep(LOOK_SECONDS)

    async def _drain(self) -> None:
        while True:
            if self.waiting and not self._space.filling and self._ready() and not self._gate.closed:
                try:
                    await self._bring_back()
                except StoreError as error:
                    # What is settled and could not be taken out comes back once more, which is harmless.
                    _say_failed(error)
                    await asyncio.sleep(_STORE_SECONDS)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    async def _go_on_spooling(self) -> None:
        if not self._spooling:
            self._spooling = True
            log.warning(
                "spool.started",
                cdc_raw_bytes=self._space.used,
                limit_bytes=self._space.limit,
                hint="changed keys go to the state directory, so that Cassandra can go on writing; see why documents "
                "are not written",
            )
            self._gate.divert(self._divert)
        pending = [
            (entry, dict(entry.receipts), SpooledKey(
                entry.key, entry.written, entry.removed, entry.suspected, entry.expires, entry.refresh,
                frozenset(entry.prefixes),
            ))
            for entry in self._coalescer.held()
        ]  # fmt: skip
        if not pending:
            return
        if not await self._put([spooled for _, _, spooled in pending]):
            return
        for entry, receipts, _ in pending:
            entry.give_back(receipts)
        self._coalescer.withdraw([entry.key for entry, _, _ in pending])
        self._observer.spooled(len(pending))

    async def _put(self, keys: Sequence[SpooledKey]) -> bool:
        """Keep keys durably; where that fails they stay where they are, and cdc_raw fills."""
        try:
            async with self._counting:
                new = await asyncio.to_thread(self._spool.put, keys)
                self.waiting += new
        except StoreError as error:
            _say_failed(error)
            return False
        return True

    def _end_spooling(self) -> None:
        self._spooling = False
        self._gate.divert(None)
        log.info("spool.ended", keys_waiting=self.waiting, cdc_raw_bytes=self._space.used)

    async def _divert(self, signals: Sequence[Signal]) -> None:
        """Keep what waits at a closed gate."""
        keys = [SpooledKey.of(signal) for signal in signals]
        while not await self._put(keys):  # noqa: ASYNC110 -- a disk that is full tells nobody when it no longer is
            await asyncio.sleep(_STORE_SECONDS)
        self._observer.spooled(len(keys))

    async def _bring_back(self) -> None:
        rows = await asyncio.to_thread(self._spool.oldest, BATCH)
        signals = [signal for row in rows for signal in row.spooled.signals()]
        # What goes to the spool once more meanwhile is settled too: it has another generation then, and stays.
        await hand_over(self._coalescer.submit, signals)
        await self._take_out(rows)

    async def _take_out(self, rows: Sequence[SpooledRow]) -> None:
        async with self._counting:
            await asyncio.to_thread(self._spool.remove, rows)
            self.waiting = await asyncio.to_thread(self._spool.__len__)
        self._observer.unspooled(len(rows))
        if not self.waiting:
            log.info("spool.empty")


def _say_failed(error: StoreError) -> None:
    log.warning("spool.failed", error=str(error), hint=error.hint, every=_SAID_AGAIN)
