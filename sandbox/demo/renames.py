"""Renames organisations: one row changes, and with it the documents of all users who show it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count

from cassandra.cluster import Session

from sandbox.demo.client import write
from sandbox.demo.others import ORGANISATIONS, RENAME_ORGANISATION
from sandbox.demo.writer import WRITE_ERRORS


class Renames:
    """Renames one organisation after another at a fixed interval, until `stop`.

    `done` counts those that were acknowledged; another may have come into effect or not, which the comparison in the
    end does not mind.
    """

    def __init__(self, session: Session, *, every: float) -> None:
        self._session = session
        self._every = every
        self._stop = asyncio.Event()
        self.done = 0

    def stop(self) -> None:
        """Rename no more; `run` returns when what is under way is acknowledged."""
        self._stop.set()

    async def run(self) -> None:
        """Rename until `stop`."""
        statement = await asyncio.to_thread(self._session.prepare, RENAME_ORGANISATION)
        for number in count():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._every)
            if self._stop.is_set():
                return
            at, times = number % ORGANISATIONS, number // ORGANISATIONS
            with suppress(*WRITE_ERRORS):
                await write(self._session, statement, (f"School {at} of {2001 + times}", f"org-{at}"))
                self.done += 1
