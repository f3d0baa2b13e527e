"""What the bulk writer tells whoever keeps the metrics."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class RetryReason(StrEnum):
    """Why operations are sent again or have to be read again; a metric's label."""

    OVERLOAD = "overload"
    """Elasticsearch had no room for them: the same bodies are sent again after a pause."""

    STALE_BODY = "stale_body"
    """Their bodies grew too old, or were built before Elasticsearch came back from an outage."""

    CONNECTION = "connection"
    """There was no answer, or no whole one, or Elasticsearch was not up."""

    REFUSED = "refused"
    """Something that an operator has to mend stood in the way."""

    SERVER_FAULT = "server_fault"
    """Elasticsearch failed on these operations alone."""

    CONFLICT = "conflict"
    """A version within the allowed clock difference was there already."""

    FOREIGN_VERSION = "foreign_version"
    """A version was there that lies further in the future than any honest clock."""


class BulkObserver(Protocol):
    """Takes note of the bulk writer's doings. Its methods are called in the event loop and must not block."""

    def bulk_done(self, seconds: float, documents: int, size: int) -> None:
        """Take note of one answered bulk request: how long, how many operations, how many bytes."""

    def retried(self, reason: RetryReason, count: int) -> None:
        """Take note of operations that go round once more."""

    def availability_changed(self, *, available: bool) -> None:
        """Take note that Elasticsearch became unavailable, or is back."""


class SilentObserver:
    """Takes no note of anything."""

    def bulk_done(self, seconds: float, documents: int, size: int) -> None:
        """Do nothing."""

    def retried(self, reason: RetryReason, count: int) -> None:
        """Do nothing."""

    def availability_changed(self, *, available: bool) -> None:
        """Do nothing."""
