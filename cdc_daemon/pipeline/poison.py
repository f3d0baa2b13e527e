"""Documents that Elasticsearch fails on every time, told from an Elasticsearch that fails."""

from __future__ import annotations

import time
from collections.abc import Callable

from cdc_daemon.elastic.failure import Kind, classify
from cdc_daemon.elastic.operation import Operation, Result
from cdc_daemon.pipeline.entry import Entry

SUSPICIOUS = 3
"""Faults after which a document is written alone, so that it spoils no request of others."""

_ALONE = 6
"""Times the usual period after which a document is given up although nothing else is written to its alias."""


class Poison:
    """Tells when to give a document up, so that it does not hold the checkpoint for ever.

    It is given up when Elasticsearch has answered `attempts` writes of it, over at least `seconds`, with a fault of its
    own (5xx, or a circuit breaker), while it has taken other documents under the same alias to the last. An
    Elasticsearch that is down, and a shard that takes nothing, are no reason. `now` tells seconds.
    """

    def __init__(
        self, *, attempts: int = 10, seconds: float = 300.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self._now = now
        self._written: dict[str, float] = {}

    def note_written(self, alias: str) -> None:
        """Take note that a document was written, or removed."""
        self._written[alias] = self._now()

    def gives_up(self, entry: Entry, operation: Operation, result: Result) -> bool:
        """Take note that a write has to be repeated; return whether that is useless."""
        if not _is_fault(result):
            return False
        now = self._now()
        entry.faults += 1
        entry.fault_since = entry.fault_since or now
        lasted = now - entry.fault_since
        if entry.faults < self._attempts or lasted < self._seconds:
            return False
        if now - self._written.get(operation.index, float("-inf")) < lasted / 2:
            return True
        return lasted >= _ALONE * self._seconds and now - max(self._written.values(), default=0.0) < lasted / 2


def _is_fault(result: Result) -> bool:
    kind = classify(result.status, result.error_type or "", result.reason or "")
    return kind is Kind.SERVER_FAULT or result.error_type == "circuit_breaking_exception"
