"""The measurements of table comparisons."""

from __future__ import annotations

import time
from collections.abc import Mapping

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
