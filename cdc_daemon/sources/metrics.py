"""The metrics of polled tables and of dependent documents."""

from __future__ import annotations

from collections.abc import Iterable

from cdc_daemon.model.signal import TableName
from cdc_daemon.telemetry.metrics import Metrics


class PollMetrics:
    """Counts polled rows, and shows how far each table is polled."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def polled(self, table: TableName, *, submitted: int, known: int, fresh: int) -> None:
        """Count rows by outcome: submitted, known from an earlier turn, or with fresh documents."""
        for outcome, count in (("submitted", submitted), ("known", known), ("fresh", fresh)):
            self._metrics.poll_rows.labels(*table, outcome).inc(count)
        self._metrics.signals.inc(submitted)

    def planned(self, table: TableName, interval: float) -> None:
        """Show the interval at which a table is polled, in seconds."""
        self._metrics.poll_interval_seconds.labels(*table).set(interval)

    def watermark(self, table: TableName, moment: int) -> None:
        """Show a table's watermark."""
        self._metrics.poll_watermark_timestamp_seconds.labels(*table).set(moment / 1e6)

    def untimed(self, table: TableName, rows: int) -> None:
        """Show how many rows of a table had neither a timestamp nor a write time in its last turn."""
        self._metrics.poll_untimed_rows.labels(*table).set(rows)


class DependentsMetrics:
    """Counts refreshes of documents that show rows of other tables. `tables` are these other tables."""

    def __init__(self, metrics: Metrics, tables: Iterable[TableName] = ()) -> None:
        self._metrics = metrics
        for table in tables:
            metrics.dependents_refreshed.labels(*table)
            metrics.dependents_failed.labels(*table)

    def refreshed(self, table: TableName, count: int) -> None:
        """Count documents rebuilt because of a row of `table`."""
        self._metrics.dependents_refreshed.labels(*table).inc(count)

    def failed(self, table: TableName) -> None:
        """Count a failed refresh because of a row of `table`; it is retried."""
        self._metrics.dependents_failed.labels(*table).inc()
