"""Entries that may be handed out, in the order they came; those that somebody waits for apart."""

from __future__ import annotations

import asyncio
from collections import deque

from cdc_daemon.pipeline.entry import Entry


class ReadyQueue:
    """Two queues, one of them urgent. An entry is in one of them at most, `entry.queue`.

    An entry that leaves before its turn stays in the deque as a husk, which is passed over: taking it out
    of the middle would cost as much as the queue is long.
    """

    def __init__(self) -> None:
        self._usual = _Lane()
        self._urgent = _Lane()

    def put(self, entry: Entry) -> None:
        """Append an entry, or move it to the urgent ones when somebody waits for it by now."""
        lane = self._urgent if entry.watches else self._usual
        if entry.queue is not lane.entries:
            entry.queue = lane.entries
            lane.entries.append(entry)
            lane.ready.set()

    @staticmethod
    def remove(entry: Entry) -> None:
        """Take an entry out; nothing happens when it is in no queue."""
        entry.queue = None

    async def wait(self, *, urgent: bool) -> None:
        """Wait until there is an entry to take."""
        lane = self._urgent if urgent else self._usual
        while not lane.has_entries():
            lane.ready.clear()
            await lane.ready.wait()

    def take(self, *, urgent: bool) -> Entry | None:
        """Take the oldest entry out, if there is one."""
        lane = self._urgent if urgent else self._usual
        if not lane.has_entries():
            return None
        entry = lane.entries.popleft()
        entry.queue = None
        return entry


class _Lane:
    __slots__ = ("entries", "ready")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.ready = asyncio.Event()

    def has_entries(self) -> bool:
        entries = self.entries
        while entries and entries[0].queue is not entries:
            entries.popleft()
        return bool(entries)
