"""Checks the documents that a lost bulk request may still write, and rereads the rows of those that it has written."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from typing import Protocol

import structlog

from cdc_daemon.model.errors import CdcError, StoreError
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.model.version_clock import wall_clock
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink, hand_over
from cdc_daemon.sources.late_requests.recorder import Blocking, Times
from cdc_daemon.store.suspects import Suspect, SuspectRow

log = structlog.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two turns."""

AT_ONCE = 500
"""Suspects checked together."""

PATIENCE = 60.0
"""Seconds for which a turn waits for rewritten documents before it continues with other documents."""

_SHOWN = 5
"""Maximum ids in a log line."""

_AGAIN = 60_000_000
"""Microseconds until a failed check is retried."""

VersionLookup = Callable[[str, Sequence[Suspect]], Awaitable[Sequence[int | None]]]
"""Returns the lowest version that each suspect of an alias has in the alias's indices; None if it has none.

Raises `CdcError` if they cannot be checked now."""


class SuspectQueue(Protocol):
    """Durable suspects; methods block and raise `StoreError`."""

    @property
    def count(self) -> int:
        """Number of stored suspects. Does not block."""
        ...

    def due(self, now: int, limit: int) -> Sequence[SuspectRow]:
        """Return suspects that are due for a check."""
        ...

    def schedule(self, rows: Iterable[tuple[SuspectRow, int | None]]) -> None:
        """Set the time of each suspect's next check; delete those with None."""
        ...


class SuspectWatch:
    """Compares each suspect's version in the index with the highest version that a lost request can have written.

    Every write that was acknowledged since the request was lost has a higher version. So a document without a higher
    version was written late. Its row is read again, and the document is then written or deleted. `tables` are the
    tables with documents. A turn without suspects does nothing.

    The first check takes place when the index may have forgotten a deletion. The intervals of further checks grow until
    no request can arrive any more (`times`). The last check also waits until Elasticsearch has been available (`ready`)
    for as long as the first one waits, because a server that was frozen still processes what it had received.
    `reconcile` requests the comparison of a whole table where too many of its documents are suspect. `returned` counts
    documents written late.
    """

    def __init__(
        self,
        suspects: SuspectQueue,
        lookup: VersionLookup,
        times: Times,
        *,
        sink: BackgroundSink,
        gate: Gate,
        ready: Callable[[], bool],
        tables: Container[TableName],
        reconcile: Callable[[TableName], Awaitable[None]],
        returned: Callable[[int], object],
        now: Callable[[], int] = wall_clock,
        blocking: Blocking = asyncio.to_thread,
    ) -> None:
        self._suspects = suspects
        self._lookup = lookup
        self._times = times
        self._sink = sink
        self._gate = gate
        self._ready = ready
        self._tables = tables
        self._reconcile = reconcile
        self._returned = returned
        self._now = now
        self._blocking = blocking
        self._ready_since: int | None = None

    async def turn(self) -> None:
        """Check everything that is due. Raises `StoreError`."""
        if not self._ready():
            self._ready_since = None
            return
        if self._ready_since is None:
            self._ready_since = self._now()
        while self._suspects.count and not self._gate.closed and self._ready():
            now = self._now()
            due: Sequence[SuspectRow] = await self._blocking(self._suspects.due, now, AT_ONCE)
            if not due:
                return
            by_alias: dict[str, list[SuspectRow]] = defaultdict(list)
            for row in due:
                by_alias[row.suspect.alias].append(row)
            for alias, rows in by_alias.items():
                await self._check(alias, rows)

    async def _check(self, alias: str, rows: Sequence[SuspectRow]) -> None:
        late = await self._find_late(alias, [row for row in rows if self._is_document(row.suspect)])
        again = {row.id for row in rows} if late is None else await self._read_again(alias, late)
        for row in rows:
            if row.suspect.is_table and self._next_check(row.suspect) is None:
                await self._reconcile(row.suspect.key.table)
        next_checks: list[tuple[SuspectRow, int | None]] = [
            (row, self._now() + _AGAIN if row.id in again else self._next_check(row.suspect)) for row in rows
        ]
        await self._blocking(self._suspects.schedule, next_checks)

    async def _find_late(self, alias: str, rows: Sequence[SuspectRow]) -> list[SuspectRow] | None:
        """Return the suspects that a lost request has written, or None if they cannot be checked now."""
        if not rows:
            return []
        try:
            versions = await self._lookup(alias, [row.suspect for row in rows])
        except StoreError:
            raise
        except CdcError as error:
            log.warning(
                "suspects.not_looked_at", alias=alias, error=error.message, hint=error.hint, every=60, every_key=alias
            )
            return None
        return [
            row
            for row, version in zip(rows, versions, strict=True)
            if version is not None and version <= row.suspect.version
        ]

    async def _read_again(self, alias: str, late: Sequence[SuspectRow]) -> set[int]:
        """Request a new read of rows, and return the ids that must be checked once more."""
        if not late:
            return set()
        log.warning(
            "suspects.written_late",
            alias=alias,
            documents=len(late),
            ids=[row.suspect.document for row in late[:_SHOWN]],
        )
        keys = dict.fromkeys(row.suspect.key for row in late)
        signals = [Signal(key.table, key.partition_key, Scope.ROW, key.clustering or ()) for key in keys]
        try:
            async with asyncio.timeout(PATIENCE):
                await hand_over(self._sink.submit_background, signals)
        except TimeoutError:
            return {row.id for row in late}
        self._returned(len(late))
        return set()

    def _next_check(self, suspect: Suspect) -> int | None:
        """Return the time of the next check, or None after the last one. The intervals double."""
        now, times = self._now(), self._times
        if suspect.key.table not in self._tables:
            return None
        elapsed = max(now - suspect.since, times.first)
        if elapsed < times.last:
            return max(suspect.since + min(2 * elapsed, times.last), now + 1)
        assert self._ready_since is not None
        quiet = self._ready_since + times.first
        return None if quiet <= now else quiet

    def _is_document(self, suspect: Suspect) -> bool:
        return not suspect.is_table and suspect.key.table in self._tables
