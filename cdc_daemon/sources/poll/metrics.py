"""The poller's measurements."""

from __future__ import annotations

from cdc_daemon.model.signal import TableName
from cdc_daemon.telemetry.metrics import Metrics


class PollMetrics:
    """Counts polled rows."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def polled(self, table: TableName, *, submitted: int, known: int, fresh: int) -> None:
        """Count rows by outcome."""
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
        """Show how many rows of a table had no timestamp in its last turn."""
        self._metrics.poll_untimed_rows.labels(*table).set(rows)
