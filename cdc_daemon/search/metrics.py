"""Metrics of bulk requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog

from cdc_daemon.search.bulk_observer import RetryReason
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class BulkMetrics:
    """The metrics of bulk requests."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for reason in RetryReason:
            metrics.retries.labels(reason.value)

    def bulk_done(self, seconds: float, documents: int, size: int) -> None:
        """Record one answered bulk request."""
        self._metrics.bulk_duration_seconds.observe(seconds)
        self._metrics.bulk_documents.observe(documents)
        self._metrics.bulk_bytes.observe(size)
        log.debug("elasticsearch.bulk", documents=documents, bytes=size, seconds=round(seconds, 4))

    def retried(self, reason: RetryReason, count: int) -> None:
        """Count operations that are retried."""
        self._metrics.retries.labels(reason.value).inc(count)

    def availability_changed(self, *, available: bool) -> None:
        """Record whether Elasticsearch accepts writes."""
        self._metrics.elasticsearch_available.set(available)


class AliasMetrics:
    """The metrics of aliases that reject writes."""

    def __init__(self, metrics: Metrics, aliases: Iterable[str]) -> None:
        self._metrics = metrics
        self._shown: dict[str, str] = {}
        for alias in aliases:
            metrics.alias_available.labels(alias).set(1)

    def show(self, reasons: Mapping[str, str]) -> None:
        """Set the aliases that reject writes now, each with the reason."""
        for alias in self._shown.keys() | reasons.keys():
            before, now = self._shown.get(alias), reasons.get(alias)
            if before == now:
                continue
            if before is not None:
                self._metrics.alias_trouble.remove(alias, before)
            if now is not None:
                self._metrics.alias_trouble.labels(alias, now).set(1)
            self._metrics.alias_available.labels(alias).set(now is None)
        self._shown = dict(reasons)
