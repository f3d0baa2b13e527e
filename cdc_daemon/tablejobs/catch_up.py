"""Catching up: writes the documents of the rows that changed since a moment, found by their write times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cdc_daemon.cassandra.read_plan import ReadPlan, has_own_time
from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.handover import RowSink
from cdc_daemon.sources.poll.rows import PolledColumns
from cdc_daemon.store.range_jobs import JobRange
from cdc_daemon.tablejobs.backfill import BackfillProgress, RangeFiller, ScanFactory
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun


class ChangeTimes:
    """How the last change of a table's rows is dated.

    A polled table is dated as its poll declares it: by its column, or by write times. Every other table is dated by the
    write times of its columns.
    """

    def __init__(self, plan: Callable[[TableName], ReadPlan], polled: Iterable[PollSettings]) -> None:
        self._plan = plan
        self._declared = {each.table: each for each in polled}

    def of(self, table: TableName) -> PolledColumns:
        """Return the columns that date the rows of a table. Raises `ConfigError` if there are none."""
        plan = self._plan(table)
        declared = self._declared.get(table)
        if declared is not None:
            # A scan reads the write times of rows whose column is null, which an index does not find.
            return PolledColumns(plan, declared.model_copy(update={"strategy": "scan", "bucket": None}))
        columns = PolledColumns(plan, PollSettings(table=table, strategy="scan"))
        if not columns.others:
            raise ConfigError(
                f"expected columns with write times, found none in {table}",
                hint="declare a poll of the table with the column that holds the time of a change, "
                "or use cdc-daemon backfill, which writes all rows",
                table=str(table),
            )
        return columns

    def note(self, table: TableName) -> str | None:
        """Return which changes are not found in a table, or None if all are."""
        plan = self._plan(table)
        declared = self._declared.get(table)
        if plan.newest_of_collections or (declared is not None and declared.column is not None):
            return None
        columns = (*plan.table.static, *plan.table.regular)
        blind = [each.name for each in columns if not has_own_time(each, plan.dialect)]
        if not blind:
            return None
        return (
            f"changes of only {', '.join(blind)} were not found: before Cassandra 5.0, collections have no write times"
        )


class CatchUp(RangeFiller):
    """Reads the keys and times of a table's rows, and has the rows read and written that changed since a moment.

    Only the changed rows count as rows of the job. A row without any time counts as changed. Removed rows are not
    found.
    """

    def __init__(
        self,
        *,
        sink: RowSink,
        scan: ScanFactory,
        times: ChangeTimes,
        tables: Mapping[str, TableName],
        aliases: Mapping[str, str],
    ) -> None:
        super().__init__(tables, aliases)
        self._sink = sink
        self._scan = scan
        self._times = times

    def check(self, request: JobRequest) -> None:
        """Raise `ConfigError` if the rows of a table cannot be dated."""
        if request.kind == "catch_up":
            for object_type in request.types:
                self._times.of(self._tables[object_type])

    async def _hand_over(
        self, run: JobRun, part: JobRange, table: TableName, line: AcknowledgementLine[BackfillProgress]
    ) -> None:
        columns = self._times.of(table)
        if (note := self._times.note(table)) is not None:
            run.found.setdefault("notes", {})[part.object_type] = note
        read = covered_changes = changes = 0
        remaining = TokenRange(part.cursor, part.last)
        async for page in self._scan(run).keys(table, remaining, shown=columns.others):
            await run.pace.take(len(page.keys))
            changed: list[Key] = []
            for at, (key, values) in enumerate(zip(page.keys, page.values, strict=True)):
                if at == page.covered_rows - read:
                    covered_changes = changes + len(changed)
                moment = columns.row(key, values).changed
                if moment >= run.request.since or moment <= 0:
                    changed.append(key)
            read += len(page.keys)
            changes += len(changed)
            if page.covered_rows == read:
                covered_changes = changes
            receipt = await line.open(BackfillProgress(page.covered, part.rows + covered_changes))
            if line.refused is not None:
                return
            signals = [Signal(table, key.partition_key, Scope.ROW, key.clustering or ()) for key in changed]
            await self._sink.submit_background(signals, receipt)
            receipt.release()
