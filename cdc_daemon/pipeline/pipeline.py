"""The workers between the coalescer and the servers, and how they start, drain and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from cdc_daemon.errors import CdcError
from cdc_daemon.pipeline.backoff import Backoff
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.expansion import Expansion
from cdc_daemon.pipeline.ports import Writer
from cdc_daemon.pipeline.receipt import Receipt
from cdc_daemon.pipeline.settlement import Settlement
from cdc_daemon.pipeline.signal import Signal

log = structlog.get_logger(__name__)

EXPANDERS = 2
"""Partitions expanded side by side: two, so that a huge one does not hold up every other."""


class Pipeline:
    """Takes signals from every source and settles each key in Elasticsearch.

    `workers` batches of up to `batch` rows are read and written side by side. A worker takes what is
    pending at once, so an idle pipeline adds no delay, and a busy one makes its batches full.
    """

    def __init__(
        self,
        *,
        coalescer: Coalescer,
        settlement: Settlement,
        expansion: Expansion,
        writer: Writer,
        workers: int = 4,
        batch: int = 500,
    ) -> None:
        self._coalescer = coalescer
        self._settlement = settlement
        self._expansion = expansion
        self._writer = writer
        self._workers = workers
        self._batch = batch

    @property
    def pending(self) -> int:
        """How many keys are pending or in flight."""
        return len(self._coalescer)

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Take signals in; wait while the pipeline is full."""
        await self._coalescer.submit(signals, receipt)

    async def run(self) -> None:
        """Work until cancelled: what is not settled then stays unacknowledged."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._workers):
                    tasks.create_task(self._settle_rows(), name=f"rows-{number}")
                for number in range(EXPANDERS):
                    tasks.create_task(self._expand_partitions(), name=f"partitions-{number}")
        finally:
            self._coalescer.close()

    async def _settle_rows(self) -> None:
        backoff = Backoff()
        while True:
            await self._writer.wait_available()
            entries = await self._coalescer.take_rows(min(self._batch, self._settlement.batch_limit))
            try:
                await self._settlement.settle(entries)
                backoff.reset()
            except CdcError as error:
                await self._wait_after(error, backoff)

    async def _expand_partitions(self) -> None:
        backoff = Backoff()
        while True:
            await self._writer.wait_available()
            entry = await self._coalescer.take_partition()
            try:
                await self._expansion.expand(entry)
            except CdcError as error:
                self._coalescer.retry(entry, Backoff.delay(entry.attempts))
                await self._wait_after(error, backoff)
            except BaseException:
                self._coalescer.retry(entry, 0.0)
                raise
            else:
                self._coalescer.settle(entry)
                backoff.reset()

    async def _wait_after(self, error: CdcError, backoff: Backoff) -> None:
        delay = backoff.next()
        log.warning("pipeline.retry", error=error.message, hint=error.hint, retry_in_seconds=round(delay, 3))
        await asyncio.sleep(delay)
