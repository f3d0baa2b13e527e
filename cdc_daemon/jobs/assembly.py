"""The parts of jobs on whole tables put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cassandra.cluster import Session

from cdc_daemon.cassandra.ring import Ring
from cdc_daemon.cassandra.scan import TokenScan
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config.jobs import JobsSettings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.jobs.backfill import Backfill, BackgroundSink
from cdc_daemon.jobs.run import JobRun
from cdc_daemon.jobs.runner import RangeJobRunner
from cdc_daemon.pipeline.signal import TableName
from cdc_daemon.store.range_jobs import RangeJobs


def make_runner(
    *,
    session: Session,
    schema: SchemaSource,
    store: RangeJobs,
    sink: BackgroundSink,
    mappings: Mapping[TableName, Sequence[DocumentMapping]],
    settings: JobsSettings,
) -> RangeJobRunner:
    """Make what works off jobs for these mappings."""
    tables = {mapping.name: table for table, several in mappings.items() for mapping in several}

    def scan(run: JobRun) -> TokenScan:
        return TokenScan(session, schema, page_rows=settings.page_rows, pace=run.pace)

    return RangeJobRunner(
        store,
        Ring(session),
        {"backfill": Backfill(sink, scan, tables)},
        tables,
        rate=settings.rate,
        ranges_at_once=settings.ranges_at_once,
    )
