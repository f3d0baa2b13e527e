"""Expiry times of values, as found in readings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from cdc_daemon.model.reading import Lifetime, Reading, RowState
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.ports import Expiries

_SAME = 2
"""Seconds within which two times count as equal: both are whole seconds, from two clocks."""


class Lifetimes:
    """Requests expiry times with the reads of tables with expiring values, and stores them before any acknowledgement.

    `now` returns seconds since epoch.
    """

    def __init__(self, expiries: Expiries | None, *, now: Callable[[], float] = time.time) -> None:
        self._expiries = expiries
        self._now = now

    async def expect(self, table: TableName, entries: Sequence[Entry]) -> None:
        """Record, before their rows are read, whether data written to them expires."""
        if self._expiries is None or self._expiries.tracks(table):
            return
        if any(entry.expires for entry in entries):
            await asyncio.to_thread(self._expiries.expect, table)

    async def keep(self, entries: Sequence[Entry], reading: Reading) -> None:
        """Write durably when data of these rows, or of rows joined to them, expires next."""
        if self._expiries is None:
            return
        joined = any(state.joined_expires is not None for state in reading.states)
        if not joined and not self._expiries.tracks(entries[0].key.table):
            return
        now = self._now()
        lifetimes = [lifetime(entry, state, now) for entry, state in zip(entries, reading.states, strict=True)]
        await asyncio.to_thread(self._expiries.keep, lifetimes)


def lifetime(entry: Entry, state: RowState, now: float) -> Lifetime:
    """Return when data of a row expires, from its reading and from the log where the reading does not show it.

    Rows joined to the row add no expiry times of its own values: only the log supplies these.
    """
    if state.row is None:
        return Lifetime(entry.key, None, ())
    logged = [
        moment
        for moment in entry.expires
        if moment >= now - _SAME and not any(abs(moment - seen) <= _SAME for seen in state.expires)
    ]
    joined = () if state.joined_expires is None else (state.joined_expires,)
    return Lifetime(entry.key, min((*state.expires, *joined), default=None), tuple(logged))
