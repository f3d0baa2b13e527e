"""Records the documents of lost requests before their keys are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import structlog

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.version_clock import wall_clock
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.store.suspects import BrokenOff, Suspect

log = structlog.get_logger(__name__)

MARGIN = 30_000_000
"""Microseconds from the moment at which an index may forget a deletion to the first check of a suspect."""

_REMOVED = frozenset({Outcome.DELETED, Outcome.FILTERED, Outcome.SUPERSEDED})


Blocking = Callable[..., Awaitable[Any]]
"""Runs a blocking call, with its arguments, outside the event loop."""


class Times(NamedTuple):
    """When suspects are checked, in microseconds after their request was lost.

    `first` is the first check. After `last`, the last check, no request can arrive any more. `remembered` is how long
    the index remembers a deletion.
    """

    first: int
    last: int
    remembered: int

    @classmethod
    def of(cls, *, remembered: float, limit: float) -> Times:
        """Return the times for an index that remembers deletions for `remembered` seconds.

        `limit` (seconds) is the longest time that a lost request may take to arrive.
        """
        last = int(limit * 1e6)
        known = int(remembered * 1e6)
        return cls(min(known + MARGIN, last), last, known)


class SuspectWriter(Protocol):
    """Durable suspects; methods block."""

    def add(self, suspects: Iterable[Suspect], *, now: int, first: int, last: int) -> None:
        """Store suspects. Raises `StoreError`."""
        ...

    def begin(self, now: int, bound: int) -> BrokenOff:
        """Record that requests will be sent; return the last stop that left unanswered requests."""
        ...

    def end(self) -> None:
        """Record that all requests were answered or their documents are stored."""
        ...


class SuspectRecorder:
    """Records a document whose write had no answer as a suspect, durably, before its key is acknowledged or reread.

    Only a late write can restore a deleted document. A late deletion has no effect: it meets a higher version, or no
    document. So only writes are recorded, and marks of removed rows, which write the document.

    If the process is killed (kill -9), the documents of its unanswered requests are unknown. Their changes were not
    acknowledged, so their rows are read again. One risk remains: such a request may restore a document whose deletion
    is acknowledged after the restart. As long as that is possible, each deleted document is recorded as a suspect.
    `bound` is the highest version that was assigned before the start. The constructor and `close` block for a commit;
    the constructor raises `StoreError`.
    """

    def __init__(
        self,
        suspects: SuspectWriter,
        times: Times,
        *,
        bound: int,
        now: Callable[[], int] = wall_clock,
        blocking: Blocking = asyncio.to_thread,
    ) -> None:
        self._suspects = suspects
        self.times = times
        self._now = now
        self._blocking = blocking
        self._unsaved: dict[tuple[str, str], Suspect] = {}
        self._left_unanswered = False
        self._broken_off = suspects.begin(now(), bound)
        # The index remembers deletions after this time until no request from before the stop can arrive any more.
        self._until = self._broken_off.at + times.last - times.remembered if self._broken_off.at else 0
        seconds = (self._until - now()) / 1e6
        if seconds > 0:
            log.info("suspects.requests_broken_off", deletions_suspect_for_seconds=round(seconds))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Record whether a write in this block is interrupted: its requests are then unanswered."""
        try:
            yield
        except BaseException:
            self._left_unanswered = True
            raise

    async def note(self, results: Sequence[tuple[Entry, Operation, Result]]) -> None:
        """Store the suspects among these results durably.

        Raises `StoreError`. The next call stores the suspects that could not be stored.
        """
        for suspect in self._find(results):
            self._unsaved[suspect.alias, suspect.document] = suspect
        if not self._unsaved:
            return
        saving = dict(self._unsaved)
        await self._blocking(self._save, list(saving.values()))
        for name, suspect in saving.items():
            if self._unsaved.get(name) is suspect:
                del self._unsaved[name]

    def close(self) -> None:
        """Record that all requests were answered or their documents are stored, if that is so."""
        if self._left_unanswered or self._unsaved:
            return
        try:
            self._suspects.end()
        except StoreError as error:
            log.warning("suspects.end_not_recorded", error=error.message, hint=error.hint)

    def _save(self, suspects: Sequence[Suspect]) -> None:
        self._suspects.add(suspects, now=self._now(), first=self.times.first, last=self.times.last)

    def _find(self, results: Sequence[tuple[Entry, Operation, Result]]) -> Iterator[Suspect]:
        deletions = self._until > 0 and self._now() < self._until
        for entry, operation, result in results:
            if result.unanswered and (operation.body is not None or operation.mark is not None):
                version, since = operation.version, self._now()
            elif deletions and operation.body is None and result.outcome in _REMOVED:
                since, version = self._broken_off
            else:
                continue
            yield Suspect(entry.key, operation.alias, operation.id, operation.routing, version, since)
