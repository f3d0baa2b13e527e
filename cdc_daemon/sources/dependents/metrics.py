"""The measurements of dependent documents."""

from __future__ import annotations

from collections.abc import Iterable

from cdc_daemon.model.signal import TableName
from cdc_daemon.telemetry.metrics import Metrics


class DependentsMetrics:
    """Counts documents that follow other tables' rows: those of `tables`."""

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
