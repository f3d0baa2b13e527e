"""The measurements of table comparisons."""

from __future__ import annotations

import time
from collections.abc import Mapping

from cdc_daemon.telemetry.metrics import Metrics


class DriftMetrics:
    """Shows the differences that the last comparison of rows and documents left."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def set_drift(self, object_type: str, counts: Mapping[str, int]) -> None:
        """Show how many documents of an object type differ, by the kind of difference."""
        for kind, count in counts.items():
            self._metrics.drift_documents.labels(object_type, kind).set(count)
        self._metrics.drift_compared_timestamp_seconds.labels(object_type).set(time.time())
