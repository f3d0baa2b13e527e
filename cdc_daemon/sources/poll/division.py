"""Divides polled tables among the daemons that poll them, slice by slice of the ring."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from cdc_daemon.cassandra.ring import WHOLE_RING, TokenRange, merge, split

SLICES = 64
"""Slices of the ring. They are the same for all daemons, so a change of this number is a change of the protocol."""

RANGES: Sequence[TokenRange] = split(WHOLE_RING, SLICES)


_ENDS = [each.last for each in RANGES]


def slice_of(token: int) -> int:
    """Return the slice of a token."""
    return bisect_left(_ENDS, token)


def ranges_of(slices: Iterable[int]) -> list[TokenRange]:
    """Return the tokens of slices in the fewest ranges."""
    return merge(RANGES[each] for each in slices)


class SliceStore(Protocol):
    """Stores the watermarks of slices durably; its methods block for the commit."""

    def load(self, table: str) -> int | None:
        """Return the watermark of the whole table, from when this daemon polled it alone."""
        ...

    def load_slices(self, table: str) -> Mapping[int, int]:
        """Return a table's watermarks by slice."""
        ...

    def save_slices(self, table: str, moments: Mapping[int, int]) -> None:
        """Record watermarks by slice."""
        ...


class SliceOwners(Protocol):
    """Decides which daemon polls a slice; implemented by `peers.members.Members`."""

    async def ready(self) -> None:
        """Wait until the other daemons are known."""
        ...

    def is_mine(self, topic: str, piece: str = "") -> bool:
        """Return whether a piece of a topic is this daemon's."""
        ...


def topic_of(table: str) -> str:
    """Return the topic under which the daemons share a polled table."""
    return f"poll {table}"


class PollDivision:
    """The slices of each polled table that this daemon polls, and how far each slice is polled, by whichever daemon.

    A watermark says that every change before it is in the index, which is true for all daemons. So each tells the
    others its watermarks, and a slice that changes hands continues where its former daemon was. A watermark of a clock
    that is ahead is cut to the time at which it is learned.
    """

    def __init__(
        self, owners: SliceOwners, store: SliceStore, *, now: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self._owners = owners
        self._store = store
        self._now = now
        self._moments: dict[str, dict[int, int]] = {}

    def load(self, table: str) -> None:
        """Load the watermarks of a table. Blocks, and raises `StoreError`."""
        whole = self._store.load(table)
        moments = {} if whole is None else dict.fromkeys(range(SLICES), whole)
        self._moments[table] = moments | dict(self._store.load_slices(table))

    def report(self) -> dict[str, list[int | None]]:
        """Return the watermarks of all slices, for the other daemons."""
        return {table: [moments.get(number) for number in range(SLICES)] for table, moments in self._moments.items()}

    def learn(self, report: Any) -> None:
        """Accept later watermarks from another daemon's report; whatever else it contains is ignored."""
        if not isinstance(report, Mapping):
            return
        now = self._now()
        for table, moments in self._moments.items():
            theirs = report.get(table)
            if not isinstance(theirs, list) or len(theirs) != SLICES:
                continue
            for number, moment in enumerate(theirs):
                if isinstance(moment, int) and moment > moments.get(number, -1):
                    moments[number] = min(moment, now)

    async def take(self, table: str) -> tuple[Sequence[int], Mapping[int, int]]:
        """Return the slices that this daemon polls in this turn, and the known watermarks."""
        await self._owners.ready()
        topic = topic_of(table)
        mine = [number for number in range(SLICES) if self._owners.is_mine(topic, str(number))]
        return mine, dict(self._moments.setdefault(table, {}))

    async def reached(self, table: str, slices: Iterable[int], moment: int) -> None:
        """Record durably that slices are polled up to a moment. Raises `StoreError`."""
        moments = self._moments.setdefault(table, {})
        moments.update(dict.fromkeys(slices, moment))
        await asyncio.to_thread(self._store.save_slices, table, dict(moments))
