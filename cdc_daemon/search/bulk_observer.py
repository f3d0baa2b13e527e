"""The events that the bulk writer reports for metrics."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class RetryReason(StrEnum):
    """Why operations are sent again or must be read again; a metric label."""

    OVERLOAD = "overload"
    """Elasticsearch was overloaded: the same bodies are sent again after a pause."""

    STALE_BODY = "stale_body"
    """Their bodies grew too old, or were built before Elasticsearch came back from an outage."""

    CONNECTION = "connection"
    """There was no response or an incomplete one, or Elasticsearch was not up."""

    REFUSED = "refused"
    """An operator must fix the cause."""

    SERVER_FAULT = "server_fault"
    """Elasticsearch failed on these operations alone."""

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
        """Record that Elasticsearch became unavailable or available."""


class SilentObserver:
    """Ignores all events."""

    def bulk_done(self, seconds: float, documents: int, size: int) -> None:
        """Do nothing."""

    def retried(self, reason: RetryReason, count: int) -> None:
        """Do nothing."""

    def availability_changed(self, *, available: bool) -> None:
        """Do nothing."""
