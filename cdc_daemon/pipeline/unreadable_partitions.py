"""Handles partitions with rows that cannot be listed: each waits alone, so that it blocks no other."""

from __future__ import annotations

import asyncio

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.document_operation import Outcome
from cdc_daemon.model.errors import CassandraReadError
from cdc_daemon.model.key import Key
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.batch import letter_of
from cdc_daemon.pipeline.batch_writer import SetAside
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.giving_up import Poison
from cdc_daemon.pipeline.ports import DeadDocuments, Observer
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.unreadable import LONGEST_PAUSE, SAID_AGAIN
from cdc_daemon.pipeline.watch import DocumentOutcome

log = structlog.get_logger(__name__)

_MANY = 1000
"""Number of unreadable partitions at which those that nobody needs any more are removed."""


class UnreadablePartitions:
    """Tracks the partitions that could not be read while others were settled, and sets aside those that never can be.

    The arguments are those of `Settlement`. A partition that is already set aside is tried once and set aside again,
    because its letter is retried periodically anyway.
    """

    def __init__(
        self,
        *,
        coalescer: Coalescer,
        poison: Poison,
        set_aside: SetAside,
        observer: Observer,
        router: Router,
        dead: DeadDocuments | None,
    ) -> None:
        self._coalescer = coalescer
        self._poison = poison
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
        if self._poison.gives_up_row(entry) or self._is_dead(entry):
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
            every=SAID_AGAIN,
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
        self._observer.settled(table, "dead_lettered", "")
        await self._router.keep_in_mind([entry])
        self._router.pass_on(entry)
        self._failed_at.pop(entry.key, None)
        self._coalescer.settle(entry, [DocumentOutcome("", "", Outcome.DEAD, reason, error.message)])
