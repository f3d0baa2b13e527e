"""Track the position up to which everything is acknowledged, and save it durably."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.sources.log.ports import CheckpointStore, TailObserver

log = structlog.get_logger(__name__)


class Reached(NamedTuple):
    """The position where a portion ends. `sequence` numbers portions in the order of submission."""

    sequence: int
    position: Position


class CheckpointKeeper:
    """Opens receipts in order and saves the position up to which all of them are acknowledged.

    It saves in a thread, at most once in `interval` seconds, and retries until it succeeds. A failing store only
    delays the release of segments.
    """

    def __init__(
        self,
        checkpoints: CheckpointStore,
        *,
        source: str,
        start: Position,
        observer: TailObserver,
        interval: float = 0.1,
        limit: int = 1024,
        on_saved: Callable[[], None] = lambda: None,
    ) -> None:
        self._checkpoints = checkpoints
        self._source = source
        self._observer = observer
        self._interval = interval
        self._on_saved = on_saved
        self._line: AcknowledgementLine[Reached] = AcknowledgementLine(Reached(0, start), limit=limit)
        self._saving = asyncio.Lock()
        self.opened = 0
        """The sequence of the newest portion."""
        self.saved = Reached(0, start)
        """The durable position."""

    @property
    def open_receipts(self) -> int:
        """The number of portions that are submitted and not yet acknowledged."""
        return len(self._line)

    @property
    def acknowledged(self) -> Reached:
        """The position up to which everything is acknowledged."""
        return self._line.acknowledged

    async def open(self, position: Position) -> Receipt:
        """Open the receipt of a portion that ends at `position`; wait while too many are open."""
        receipt = await self._line.open(Reached(self.opened + 1, position))
        self.opened += 1
        return receipt

    async def run(self) -> None:
        """Save whenever the acknowledged position has advanced, until cancelled."""
        backoff = Backoff()
        while True:
            await self._line.wait_moved(self.saved)
            try:
                await self.save()
            except StoreError as error:
                delay = backoff.next()
                log.warning(
                    "tail.checkpoint_failed",
                    error=str(error),
                    retry_in_seconds=round(delay, 3),
                    position=str(self.acknowledged.position),
                )
                await asyncio.sleep(delay)
                continue
            backoff.reset()
            await asyncio.sleep(self._interval)

    async def save(self) -> None:
        """Save the acknowledged position durably. Raises `StoreError`."""
        async with self._saving:
            reached = self._line.acknowledged
            if reached == self.saved:
                return
            await asyncio.to_thread(self._checkpoints.save, self._source, *reached.position)
            self.saved = reached
            self._observer.saved(reached.position)
            self._on_saved()

    async def wait_empty(self, *, but: int = 0) -> None:
        """Wait until every portion is acknowledged, except the newest `but`."""
        await self._line.wait_empty(but=but)
