"""Rows and partitions that cannot be read while others can: each waits alone, so that it blocks no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import CassandraReadError, Trouble
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.document_writer import SetAside
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.giving_up import GiveUpPolicy
from cdc_daemon.pipeline.ports import Observer, SetAsideDocuments
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.row_batch import letter_of

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 30.0
"""Longest pause in seconds before a row is retried: each retry may cost the node a full timeout."""

_LOG_INTERVAL = 30.0
"""Seconds between log messages that part of a table cannot be read."""

_MANY = 1000
"""Number of unreadable partitions at which those that are no longer pending are removed."""


class UnreadableRows:
    """Tracks the rows that could not be read, and decides which of them to give up.

    `dead` tracks the rows that are already set aside for that: they are tried once and set aside again, because their
    letters are retried periodically anyway.
    """

    def __init__(self, policy: GiveUpPolicy, coalescer: Coalescer, dead: SetAsideDocuments | None) -> None:
        self._policy = policy
        self._coalescer = coalescer
        self._dead = dead

    def now(self) -> float:
        """Return the time by which `has_read_since` judges, in seconds."""
        return self._policy.now()

    def suspects(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries that would make a read of several rows fail."""
        return [entry for entry in entries if entry.unread or self._is_dead(entry)]

    def note_read(self, table: TableName, entries: Iterable[Entry]) -> None:
        """Record that rows of a table were read."""
        for entry in entries:
            entry.unread = 0
        self._policy.note_read(table)

    def has_read_since(self, moment: float) -> bool:
        """Return whether any row was read since a time."""
        return self._policy.has_read_since(moment)

    def gives_up(self, entry: Entry) -> bool:
        """Record that a row could not be read alone; return whether a retry is useless."""
        return self._policy.gives_up_row(entry) or self._is_dead(entry)

    def retry(self, entry: Entry, error: CassandraReadError) -> None:
        """Schedule a retry of a row that could not be read."""
        log.warning(
            "pipeline.row_unreadable",
            table=str(entry.key.table),
            error=error.message,
            hint=error.hint,
            every=_LOG_INTERVAL,
            every_key=str(entry.key.table),
        )
        entry.delay(Trouble.of(error))
        self._coalescer.retry(entry, Backoff.delay(entry.attempts, last=LONGEST_PAUSE))

    def _is_dead(self, entry: Entry) -> bool:
        return self._dead is not None and self._dead.has(entry.key, "")


class UnreadablePartitions:
    """Tracks the partitions that could not be read while others were settled, and sets aside those that never can be.

    The arguments are those of `DocumentWriter`. A partition that is already set aside is tried once and set aside
    again, because its letter is retried periodically anyway.
    """

    def __init__(
        self,
        *,
        coalescer: Coalescer,
        policy: GiveUpPolicy,
        set_aside: SetAside,
        observer: Observer,
        router: Router,
        dead: SetAsideDocuments | None,
    ) -> None:
        self._coalescer = coalescer
        self._policy = policy
        self._set_aside = set_aside
        self._observer = observer
        self._router = router
        self._dead = dead
        self._failed_at: dict[Key, int] = {}

    async def note_read(self, entry: Entry) -> None:
        """Record that a partition was read, and delete its letters. Raises `StoreError`."""
        self._failed_at.pop(entry.key, None)
        if self._dead is not None and self._is_dead(entry):
            await asyncio.to_thread(self._dead.revive, [(entry.key, "")])

    async def take(self, entry: Entry, error: CassandraReadError) -> bool:
        """Schedule a retry of a partition that could not be read, or give it up; return whether that was done.

        Returns false if Cassandra itself seems to fail, and not the partition. Then, and if this raises `StoreError`,
        the caller keeps the partition.
        """
        if not self._spoils_no_other(entry):
            return False
        if self._policy.gives_up_row(entry) or self._is_dead(entry):
            await self._give_up(entry, error)
        else:
            self._put_back(entry, error)
        return True

    def _spoils_no_other(self, entry: Entry) -> bool:
        """Return whether others were settled since Cassandra last failed on this partition: then it is no outage."""
        flow = self._coalescer.flow
        settled = flow.rows + flow.partitions
        before = self._failed_at.get(entry.key, settled)
        if len(self._failed_at) >= _MANY:
            self._failed_at = {key: at for key, at in self._failed_at.items() if key in self._coalescer}
        self._failed_at[entry.key] = settled
        return settled > before

    def _is_dead(self, entry: Entry) -> bool:
        return self._dead is not None and self._dead.has(entry.key, "")

    def _put_back(self, entry: Entry, error: CassandraReadError) -> None:
        delay = Backoff.delay(entry.attempts, last=LONGEST_PAUSE)
        log.warning(
            "pipeline.partition_unreadable",
            table=str(entry.key.table),
            error=error.message,
            hint=error.hint,
            retry_in_seconds=round(delay, 3),
            every=_LOG_INTERVAL,
            every_key=str(entry.key.table),
        )
        entry.delay(Trouble.of(error))
        self._coalescer.retry(entry, delay)

    async def _give_up(self, entry: Entry, error: CassandraReadError) -> None:
        reason, table = type(error).__name__, entry.key.table
        is_new = not self._is_dead(entry)
        await asyncio.to_thread(self._set_aside, [letter_of(entry, reason, error.message, error.where)])
        if is_new:
            self._observer.set_aside([reason])
        entry.note_set_aside()
        self._observer.settled(table, "dead_lettered", "")
        await self._router.record_changes([entry])
        self._router.pass_on(entry)
        self._failed_at.pop(entry.key, None)
        self._coalescer.settle(entry, [DocumentOutcome("", "", Outcome.DEAD, reason, error.message)])
