"""Backfill: each row of a table signalled once, so that each has its document, whatever was in the index before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.cassandra.scan import TokenScan
from cdc_daemon.jobs.run import JobRun
from cdc_daemon.pipeline.handover import BackgroundSink
from cdc_daemon.pipeline.receipt import AcknowledgementLine
from cdc_daemon.pipeline.signal import Scope, Signal, TableName
from cdc_daemon.store.range_jobs import JobRange

OPEN_PAGES = 3
"""Pages of one range that are in the pipeline at once: they bound what a backfill keeps there."""

_LOOKED_EVERY = 0.25


class Scanning(Protocol):
    """What makes a scan that keeps a job's pace."""

    def __call__(self, run: JobRun) -> TokenScan:
        """Return the scan."""
        ...


class Settled(NamedTuple):
    """Everything of a range up to `cursor`, which were `rows` rows."""

    cursor: int
    rows: int


class Backfill:
    """Signals the rows of a range through the pipeline, behind everything else.

    A signal carries no write time: the row is read after it, and its document's version is the moment of that read,
    so live changes and the backfill may cross in any order.
    """

    def __init__(self, sink: BackgroundSink, scan: Scanning, tables: Mapping[str, TableName]) -> None:
        self._sink = sink
        self._scan = scan
        self._tables = tables

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Settle what is left of a range. Raises what reading keys raises."""
        table = self._tables[part.object_type]
        line = AcknowledgementLine(Settled(part.cursor, part.rows), limit=OPEN_PAGES)
        noting = asyncio.create_task(self._note(run, part, line), name="backfill-progress")
        try:
            await self._hand_over(run, part, table, line)
            await line.wait_empty()
        finally:
            noting.cancel()
            with suppress(asyncio.CancelledError):
                await noting
        await run.move(part, *line.acknowledged, done=True)

    async def finish(self, run: JobRun) -> None:
        """Do nothing more: each range is settled."""

    async def _hand_over(
        self, run: JobRun, part: JobRange, table: TableName, line: AcknowledgementLine[Settled]
    ) -> None:
        rows = part.rows
        async for page in self._scan(run).keys(table, TokenRange(part.cursor, part.last)):
            await run.pace.take(len(page.keys))
            rows += len(page.keys)
            receipt = await line.open(Settled(page.covered, rows - page.uncovered))
            if not run.request.dry_run:
                signals = [Signal(table, key.partition_key, Scope.ROW, key.clustering or ()) for key in page.keys]
                await self._sink.submit_background(signals, receipt)
            receipt.release()

    async def _note(self, run: JobRun, part: JobRange, line: AcknowledgementLine[Settled]) -> None:
        while True:
            await asyncio.sleep(_LOOKED_EVERY)
            await run.move(part, *line.acknowledged)
