"""The measurements of table comparisons."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from cdc_daemon.model.signal import TableName
from cdc_daemon.tablejobs.deletes import DeletesStatus
from cdc_daemon.telemetry.metrics import Metrics


class DriftMetrics:
    """Exports the number of documents that still differ after the last comparison with their rows."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def set_drift(self, object_type: str, counts: Mapping[str, int]) -> None:
        """Set the number of differing documents of an object type, by the kind of difference."""
        for kind, count in counts.items():
            self._metrics.drift_documents.labels(object_type, kind).set(count)
        self._metrics.drift_compared_timestamp_seconds.labels(object_type).set(time.time())


class DeletesMetrics:
    """Shows how soon the removed rows of polled tables are gone from search."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def removed(self, table: TableName, documents: int) -> None:
        """Count documents that a pass removed."""
        self._metrics.deletes_removed.labels(*table).inc(documents)

    def show(self, passes: Iterable[DeletesStatus]) -> None:
        """Show the state of each table's passes."""
        for each in passes:
            self._metrics.deletes_failing.labels(*each.table).set(each.error is not None)
            if each.bound is not None and each.searched is not None:
                self._metrics.deletes_bound_seconds.labels(*each.table).set(each.bound)
                self._metrics.deletes_searched_timestamp_seconds.labels(*each.table).set(each.searched)
