"""Entries ready to be handed out, in order of arrival, in three lanes: urgent, usual and background."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from enum import Enum

from cdc_daemon.pipeline.entry import Entry


class Lane(Enum):
    """The priority of an entry."""

    URGENT = "urgent"
    """A watch waits for the entry."""

    USUAL = "usual"
    """A change that has to be written."""

    BACKGROUND = "background"
    """No change is known: the row is read as part of a full scan (backfill, repair)."""

    __hash__ = object.__hash__  # `Enum` hashes the name in Python, and each row asks for it several times

    @classmethod
    def of(cls, entry: Entry) -> Lane:
        """Return the lane of an entry."""
        if entry.watches:
            return cls.URGENT
        return cls.BACKGROUND if entry.background else cls.USUAL


class ReadyQueue:
    """A queue for each lane. An entry is in at most one of them, `entry.queue`.

    An entry that leaves before its turn stays in the deque as an empty placeholder, which is skipped: removing it
    from the middle takes time proportional to the length of the queue.
    """

    def __init__(self) -> None:
        self._lanes: dict[Lane, deque[Entry]] = {lane: deque() for lane in Lane}
        self._waiting: dict[tuple[Lane, ...], asyncio.Event] = {}
        self._woken: dict[Lane, list[asyncio.Event]] = {lane: [] for lane in Lane}

    def put(self, entry: Entry) -> None:
        """Append an entry, or move it to its present lane."""
        lane = Lane.of(entry)
        entries = self._lanes[lane]
        if entry.queue is not entries:
            entry.queue = entries
            entries.append(entry)
            for ready in self._woken[lane]:
                ready.set()

    @staticmethod
    def remove(entry: Entry) -> None:
        """Remove an entry; do nothing if it is in no queue."""
        entry.queue = None

    async def wait(self, lanes: Sequence[Lane]) -> None:
        """Wait until there is an entry to take from one of these lanes."""
        ready = self._waiting.get(tuple(lanes))
        if ready is None:
            ready = self._waiting[tuple(lanes)] = asyncio.Event()
            for lane in lanes:
                self._woken[lane].append(ready)
        while not any(self._has_entries(lane) for lane in lanes):
            ready.clear()
            await ready.wait()

    def first(self, lanes: Sequence[Lane]) -> Sequence[Lane]:
        """Return the first of these lanes that has an entry, alone; none if all are empty."""
        return next(((lane,) for lane in lanes if self._has_entries(lane)), ())

    def take(self, lanes: Sequence[Lane]) -> Entry | None:
        """Remove and return the oldest entry of the first of these lanes that has one."""
        for lane in lanes:
            if self._has_entries(lane):
                entry = self._lanes[lane].popleft()
                entry.queue = None
                return entry
        return None

    def _has_entries(self, lane: Lane) -> bool:
        entries = self._lanes[lane]
        while entries and entries[0].queue is not entries:
            entries.popleft()
        return bool(entries)
