"""The spool's measurements."""

from __future__ import annotations

from cdc_daemon.telemetry.metrics import Metrics


class SpoolMetrics:
    """Counts keys that go to the spool and come back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for direction in ("out", "in"):
            metrics.keys_spooled.labels(direction)

    def spooled(self, count: int) -> None:
        """Count keys that went to disk."""
        self._metrics.keys_spooled.labels("out").inc(count)

    def unspooled(self, count: int) -> None:
        """Count keys that came back and are written."""
        self._metrics.keys_spooled.labels("in").inc(count)
