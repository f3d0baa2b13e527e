"""What readings tell of when values expire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from cdc_daemon.model.reading import Lifetime, Reading, RowState
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.ports import Expiries

_SAME = 2
"""Seconds within which two moments are one: both are whole seconds, of two clocks."""


class Lifetimes:
    """Has rows of tables with expiring values read with their lives, and keeps these before anything is acknowledged.

    `now` tells seconds since epoch.
    """

    def __init__(self, expiries: Expiries | None, *, now: Callable[[], float] = time.time) -> None:
        self._expiries = expiries
        self._now = now

    async def expect(self, table: TableName, entries: Sequence[Entry]) -> None:
        """Take note, before their rows are read, of whether something that was written to them expires."""
        if self._expiries is None or self._expiries.tracks(table):
            return
        if any(entry.expires for entry in entries):
            await asyncio.to_thread(self._expiries.expect, table)

    async def keep(self, entries: Sequence[Entry], reading: Reading) -> None:
        """Keep durably when something of these rows, or of what is joined to them, expires next."""
        if self._expiries is None:
            return
        joined = any(state.joined_expires is not None for state in reading.states)
        if not joined and not self._expiries.tracks(entries[0].key.table):
            return
        now = self._now()
        lifetimes = [lifetime(entry, state, now) for entry, state in zip(entries, reading.states, strict=True)]
        await asyncio.to_thread(self._expiries.keep, lifetimes)


def lifetime(entry: Entry, state: RowState, now: float) -> Lifetime:
    """Return when something of a row expires, by its reading and by what the log has told and the reading has not.

    What is joined to the row makes no moment of its own values known: the log tells of these alone.
    """
    if state.row is None:
        return Lifetime(entry.key, None, ())
    told = [
        moment
        for moment in entry.expires
        if moment >= now - _SAME and not any(abs(moment - seen) <= _SAME for seen in state.expires)
    ]
    joined = () if state.joined_expires is None else (state.joined_expires,)
    return Lifetime(entry.key, min((*state.expires, *joined), default=None), tuple(told))
