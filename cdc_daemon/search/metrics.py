"""What the bulk writer reports, and the metrics of bulk requests and aliases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Protocol

import structlog

from cdc_daemon.search.engine import Product
from cdc_daemon.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class RetryReason(StrEnum):
    """Why operations are sent again or must be read again; a metric label."""

    OVERLOAD = "overload"
    """The search engine was overloaded: the same bodies are sent again after a pause."""

    STALE_BODY = "stale_body"
    """Their bodies grew too old, or were built before the search engine came back from an outage."""

    CONNECTION = "connection"
    """There was no response or an incomplete one, or the search engine was not up."""

    REFUSED = "refused"
    """An operator must fix the cause."""

    SERVER_FAULT = "server_fault"
    """The search engine failed on these operations alone."""

    CONFLICT = "conflict"
    """The index already has a version within the allowed clock difference."""

    FOREIGN_VERSION = "foreign_version"
    """The index has a version further in the future than the allowed clock difference."""


class BulkObserver(Protocol):
    """Receives the events of the bulk writer. Its methods run in the event loop and must not block."""

    def bulk_done(self, seconds: float, documents: int, size: int) -> None:
        """Record one answered bulk request: its duration, number of operations, and bytes."""

    def retried(self, reason: RetryReason, count: int) -> None:
        """Count operations that are retried."""

    def availability_changed(self, *, available: bool) -> None:
        """Record that the search engine became unavailable or available."""


class SilentObserver:
    """Ignores all events."""

    def bulk_done(self, seconds: float, documents: int, size: int) -> None:
        """Do nothing."""

    def retried(self, reason: RetryReason, count: int) -> None:
        """Do nothing."""

    def availability_changed(self, *, available: bool) -> None:
        """Do nothing."""


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
        """Record whether the search engine accepts writes."""
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


class EngineMetrics:
    """The metric of the search engine that answers."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._shown: Product | None = None

    def show(self, product: Product | None) -> None:
        """Set the engine that answers now; None while it is unknown."""
        if product == self._shown:
            return
        if self._shown is not None:
            self._metrics.search_engine.remove(*self._shown)
        if product is not None:
            self._metrics.search_engine.labels(*product).info({})
        self._shown = product
