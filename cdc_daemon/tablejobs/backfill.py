"""Backfill: writes the document of each row of a table, independent of the previous content of the index."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.cassandra.scan import RowPage, TokenScan
from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.handover import RowSink, refusal_of
from cdc_daemon.pipeline.ports import ExtendingReader, MappingUpdater
from cdc_daemon.store.range_jobs import JobRange
from cdc_daemon.tablejobs.range_job import JobRun

OPEN_PAGES = 2
"""Maximum in-flight pages of one range: the limit bounds its share of the pipeline, and the age of its pages."""

_CHECK_INTERVAL = 0.25


class ScanFactory(Protocol):
    """Builds a scan that keeps a job's pace."""

    def __call__(self, run: JobRun) -> TokenScan:
        """Return the scan."""
        ...


class BackfillProgress(NamedTuple):
    """All rows of a range up to the token `cursor` are written: `rows` rows in all."""

    cursor: int
    rows: int


class RangeFiller:
    """Hands rows of a range to the pipeline, and records how far all of them are written."""

    def __init__(self, tables: Mapping[str, TableName], aliases: Mapping[str, str]) -> None:
        self._tables = tables
        self._aliases = aliases

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Process the rest of a range. Raises what reading keys raises."""
        table = self._tables[part.object_type]
        line = AcknowledgementLine(
            BackfillProgress(part.cursor, part.rows), limit=OPEN_PAGES, alias=self._aliases[part.object_type]
        )
        saving = asyncio.create_task(self._save_progress(run, part, line), name="backfill-progress")
        try:
            await self._hand_over(run, part, table, line)
            await line.wait_empty()
            if line.refused is not None:
                raise refusal_of(line.refused)
        finally:
            saving.cancel()
            # Awaiting it directly would hide a cancellation of this task, which would then continue.
            await asyncio.wait([saving])
            if not saving.cancelled():
                saving.result()
        await run.move(part, *line.acknowledged, done=True)

    async def finish(self, run: JobRun) -> None:
        """Do nothing: all ranges are written already."""

    async def _hand_over(
        self, run: JobRun, part: JobRange, table: TableName, line: AcknowledgementLine[BackfillProgress]
    ) -> None:
        raise NotImplementedError

    async def _save_progress(self, run: JobRun, part: JobRange, line: AcknowledgementLine[BackfillProgress]) -> None:
        while True:
            await asyncio.sleep(_CHECK_INTERVAL)
            await run.move(part, *line.acknowledged)


class Backfill(RangeFiller):
    """Hands the rows of a range to the pipeline, at the lowest priority.

    The rows of the scan are used as they were read, and a document's version is the moment its page was requested, so
    live changes and the backfill may cross in any order. A row with a pending change at its turn is read again.
    """

    def __init__(
        self,
        *,
        sink: RowSink,
        scan: ScanFactory,
        reader: ExtendingReader,
        updater: MappingUpdater,
        tables: Mapping[str, TableName],
        aliases: Mapping[str, str],
    ) -> None:
        super().__init__(tables, aliases)
        self._sink = sink
        self._scan = scan
        self._reader = reader
        self._updater = updater

    async def _hand_over(
        self, run: JobRun, part: JobRange, table: TableName, line: AcknowledgementLine[BackfillProgress]
    ) -> None:
        scan, remaining = self._scan(run), TokenRange(part.cursor, part.last)
        if run.request.count:
            async for counted in scan.keys(table, remaining):
                await run.pace.take(len(counted.keys))
                (await line.open(BackfillProgress(counted.covered, part.rows + counted.covered_rows))).release()
            return
        async for page in scan.rows(table, remaining):
            await run.pace.take(len(page.keys))
            receipt = await line.open(BackfillProgress(page.covered, part.rows + page.covered_rows))
            if line.refused is not None:
                return
            await self._submit(table, page, receipt)
            receipt.release()

    async def _submit(self, table: TableName, page: RowPage, receipt: Receipt) -> None:
        if page.reading is not None:
            reading = await self._reader.extend(table, page.reading)
            await self._updater.update(table, page.keys, reading)
            await self._sink.submit_rows(page.keys, reading, receipt)
            return
        signals = [Signal(table, key.partition_key, Scope.ROW, key.clustering or ()) for key in page.keys]
        await self._sink.submit_background(signals, receipt)
