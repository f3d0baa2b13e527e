"""The metrics of changes that are left to other daemons."""

from __future__ import annotations

from cdc_daemon.telemetry.metrics import Metrics

REASONS = ("unknown", "in_flight", "stored", "no_answer", "limit", "space")
"""Why another daemon's change is written here."""


class DivisionMetrics:
    """Counts changes that are left to others, confirmed by them, and written here instead."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for reason in REASONS:
            metrics.changes_settled_here.labels(reason)

    def left(self, count: int) -> None:
        """Count changes that were left to other daemons."""
        self._metrics.changes_left.inc(count)

    def confirmed(self, count: int) -> None:
        """Count changes that their owner's daemon has written."""
        self._metrics.changes_confirmed.inc(count)

    def settled_here(self, reason: str, count: int) -> None:
        """Count other daemons' changes that are written here, by reason."""
        self._metrics.changes_settled_here.labels(reason).inc(count)
