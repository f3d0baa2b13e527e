"""How far everything is acknowledged, and how far that is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.sources.log.ports import Checkpoints, TailObserver
from cdc_daemon.sources.log.position import Position

log = structlog.get_logger(__name__)


class Reached(NamedTuple):
    """The place where a portion ends. `sequence` numbers portions in the order in which they were handed over."""

    sequence: int
    position: Position


class CheckpointKeeper:
    """Opens receipts in order and saves the position behind which all of them are done.

    It saves in a thread, at most once in `interval` seconds, and tries again until it succeeds: a store that
    fails holds segments back and nothing else.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
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
        """What is durable."""

    @property
    def open_receipts(self) -> int:
        """How many portions are handed over and not acknowledged yet."""
        return len(self._line)

    @property
    def acknowledged(self) -> Reached:
        """The place behind which everything is acknowledged."""
        return self._line.acknowledged

    async def open(self, position: Position) -> Receipt:
        """Open the receipt of a portion that ends at `position`; wait while too many are open."""
        receipt = await self._line.open(Reached(self.opened + 1, position))
        self.opened += 1
        return receipt

    async def run(self) -> None:
        """Save whenever the line has moved, until cancelled."""
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
        """Make the present place durable. Raises `StoreError`."""
        async with self._saving:
            reached = self._line.acknowledged
            if reached == self.saved:
                return
            await asyncio.to_thread(self._checkpoints.save, self._source, *reached.position)
            self.saved = reached
            self._observer.saved(reached.position)
            self._on_saved()

    async def wait_empty(self, *, but: int = 0) -> None:
        """Wait until every portion is acknowledged, or all but so many of the newest."""
        await self._line.wait_empty(but=but)
