"""Distinguishes a document or row on which a server always fails from a server that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from cdc_daemon.model.document_operation import Operation, Result
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.search.failure import FailureKind, classify

Place = TypeVar("Place")

SUSPICIOUS = 3
"""Faults after which a document is written alone, so that it spoils no request of others."""

_ALONE = 6
"""Multiple of the usual period after which a document is given up even if nothing else is written to its alias, and a
row even if no other of its table is read."""


class GiveUpPolicy:
    """Decides when to give up a document or a row, so that it does not block the checkpoint forever.

    A document is given up when Elasticsearch has answered `attempts` writes of it, over at least `seconds`, with a
    server fault (5xx, or a circuit breaker), while it kept accepting other documents under the same alias.
    An Elasticsearch that is down, or a shard that accepts nothing, is no reason.
    A row is given up when as many reads of it alone have failed over the same period, and other rows were read between
    any two of them: so failures while Cassandra is unavailable do not count. `now` returns seconds.
    """

    def __init__(
        self, *, attempts: int = 10, seconds: float = 300.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._attempts = attempts
        self._seconds = seconds
        self.now = now
        self._written: dict[str, float] = {}
        self._read: dict[TableName, float] = {}
        self._last_read = float("-inf")

    def note_written(self, alias: str) -> None:
        """Record that a document was written or removed."""
        self._written[alias] = self.now()

    def gives_up(self, entry: Entry, operation: Operation, result: Result) -> bool:
        """Record that a write has to be repeated; return whether a retry is useless."""
        if not _is_fault(result):
            return False
        entry.faults += 1
        entry.fault_since = entry.fault_since or self.now()
        return self._is_useless(entry.faults, entry.fault_since, operation.alias, self._written)

    def note_read(self, table: TableName) -> None:
        """Record that a row was read, or found absent."""
        self._read[table] = self._last_read = self.now()

    def has_read_since(self, moment: float) -> bool:
        """Return whether any row was read since a given time (seconds, by `now`)."""
        return self._last_read > moment

    def gives_up_row(self, entry: Entry) -> bool:
        """Record that a row could not be read alone; return whether a retry is useless."""
        if entry.unread and not self.has_read_since(entry.unread_at):
            return False
        now = self.now()
        if not entry.unread:
            entry.unread_since = now
        entry.unread += 1
        entry.unread_at = now
        return self._is_useless(entry.unread, entry.unread_since, entry.key.table, self._read)

    def _is_useless(self, times: int, since: float, place: Place, taken: Mapping[Place, float]) -> bool:
        now = self.now()
        lasted = now - since
        if times < self._attempts or lasted < self._seconds:
            return False
        if now - taken.get(place, float("-inf")) < lasted / 2:
            return True
        return lasted >= _ALONE * self._seconds and now - max(taken.values(), default=0.0) < lasted / 2


def _is_fault(result: Result) -> bool:
    kind = classify(result.status, result.error_type or "", result.reason or "")
    return kind is FailureKind.SERVER_FAULT or result.error_type == "circuit_breaking_exception"
