"""Settles rows that cannot be read together one by one, so that a row that can never be read blocks no other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CassandraReadError
from cdc_daemon.model.reading import RowState
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.trouble import Trouble
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.giving_up import Poison
from cdc_daemon.pipeline.ports import DeadDocuments

log = structlog.get_logger(__name__)

AT_ONCE = 16
"""Rows read alone in parallel. If none of so many can be read, and nobody reads any other, it is an outage."""

LONGEST_PAUSE = 30.0
"""Longest pause in seconds before a row is retried: each retry may cost the node a full timeout."""

SAID_AGAIN = 30.0
"""Seconds between log messages that part of a table cannot be read."""

Settle = Callable[[Sequence[Entry]], Awaitable[None]]
"""Reads rows and settles them. Raises `CassandraReadError` if Cassandra failed on them, and other errors."""

GiveUp = Callable[[Entry, RowState], Awaitable[None]]
"""Sets a row aside, with a state that contains the read error."""


class UnreadableRows:
    """Tracks the rows that could not be read, and settles them one by one.

    `dead` tracks the rows that are already set aside for that: they are tried once and set aside again, because their
    letters are retried periodically anyway.
    """

    def __init__(self, poison: Poison, coalescer: Coalescer, dead: DeadDocuments | None) -> None:
        self._poison = poison
        self._coalescer = coalescer
        self._dead = dead

    def suspects(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries that would make a read of several rows fail."""
        return [entry for entry in entries if entry.unread or self._is_dead(entry)]

    def note_read(self, table: TableName, entries: Iterable[Entry]) -> None:
        """Record that rows of a table were read."""
        for entry in entries:
            entry.unread = 0
        self._poison.note_read(table)

    async def settle(
        self, entries: Sequence[Entry], open_entries: dict[Entry, None], settle: Settle, give_up: GiveUp
    ) -> None:
        """Settle each row alone. One that could not be read is pending again, or given up, and no longer open.

        Raises `CassandraReadError` if Cassandra itself seems to fail and not its rows, and the errors of `settle`;
        the caller then handles the open entries.
        """
        began = self._poison.now()
        # In random order: the first ones may all be unreadable.
        shuffled = random.sample(entries, len(entries))
        for at in range(0, len(shuffled), AT_ONCE):
            several = shuffled[at : at + AT_ONCE]
            outcomes = await asyncio.gather(*(settle([entry]) for entry in several), return_exceptions=True)
            failed: list[tuple[Entry, CassandraReadError]] = []
            for entry, outcome in zip(several, outcomes, strict=True):
                if isinstance(outcome, CassandraReadError):
                    failed.append((entry, outcome))
                elif isinstance(outcome, BaseException):
                    raise outcome
            if len(failed) == len(several) and not self._poison.has_read_since(began):
                raise failed[0][1]
            for entry, error in failed:
                if self._poison.gives_up_row(entry) or self._is_dead(entry):
                    await give_up(entry, RowState(None, None, error))
                else:
                    del open_entries[entry]
                    self._put_back(entry, error)

    def _is_dead(self, entry: Entry) -> bool:
        return self._dead is not None and self._dead.has(entry.key, "")

    def _put_back(self, entry: Entry, error: CassandraReadError) -> None:
        log.warning(
            "pipeline.row_unreadable",
            table=str(entry.key.table),
            error=error.message,
            hint=error.hint,
            every=SAID_AGAIN,
            every_key=str(entry.key.table),
        )
        entry.delay(Trouble.of(error))
        self._coalescer.retry(entry, Backoff.delay(entry.attempts, last=LONGEST_PAUSE))
