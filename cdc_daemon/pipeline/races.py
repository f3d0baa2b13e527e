"""Races of rows in flight with changes that do not name each row: who waits, and who is read again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.entry import Entry

PREFETCH_SECONDS = 3.0
"""Maximum age of such a reading when its row's turn comes; an older row is read again.

Code that waits for the reads in flight to end, here or in another daemon, waits for these too."""


GRACE = 0.1
"""Seconds after which data in the log can be read: it is written to the log before the memtable."""


class Doubts:
    """Records changes of rows that do not name each row.

    A row's own change causes it to be read again. A removal of several rows, or a change of rows that are shown in many
    documents, cannot: its documents are searched in the index, which does not yet hold a row that is in flight. So rows
    read before such a change was settled are read again, and for a moment after a removal it is suspected to cover the
    rows that are read.
    """

    def __init__(self) -> None:
        self._landed: dict[TableName, float] = {}
        self._removals: dict[tuple[TableName, bytes], tuple[float, int]] = {}

    def doubt_table(self, table: TableName) -> None:
        """Doubt all readings of a table from before now."""
        self._landed[table] = asyncio.get_running_loop().time()

    def doubt_partition(self, table: TableName, partition_key: bytes, removed: int) -> None:
        """Doubt all readings of a partition from before now, because rows were removed at a time (µs since epoch)."""
        now = asyncio.get_running_loop().time()
        self._removals.pop((table, partition_key), None)
        self._removals[table, partition_key] = (now, removed)
        for key, (moment, _) in list(itertools.islice(self._removals.items(), 2)):
            if moment < now - PREFETCH_SECONDS - GRACE:
                del self._removals[key]

    def judge(self, entries: Iterable[Entry]) -> None:
        """Mark entries to be read again, or as suspected, if their rows may have been changed since their reading."""
        now = asyncio.get_running_loop().time()
        for entry in entries:
            settled, removed = self._removals.get(entry.key[:2], (float("-inf"), 0))
            readable = settled + GRACE
            if now <= readable:
                entry.suspected = max(entry.suspected, removed)
            if entry.prefetched is not None:
                began = entry.prefetched[0].began
                latest = max(now - PREFETCH_SECONDS, readable, self._landed.get(entry.key.table, float("-inf")))
                if entry.suspected or began <= latest:
                    entry.prefetched = None


class Partition:
    """The state of a partition while rows of it are pending or a removal of it is running.

    A row in flight when a removal of its partition arrives may write a document after the removal has
    searched for documents. So the removal waits for exactly those rows (`before`). Rows that are read later
    suspect that the removal covers them and doubt an older row themselves. `rows` counts the known entries of the
    partition, `since` the rows in flight that were handed out after the newest removal, and `waiting` is the removal
    that waits.
    """

    __slots__ = ("before", "epoch", "removed", "rows", "since", "waiting")

    def __init__(self) -> None:
        self.rows = 0
        self.before = 0
        self.since = 0
        self.epoch = 0
        self.removed = 0
        self.waiting: Entry | None = None

    def take_off(self, entry: Entry) -> None:
        """Record that a row is handed out, and add the removals so far to it."""
        self.since += 1
        entry.epoch = self.epoch
        entry.suspected = max(entry.suspected, self.removed)

    def note_removal(self, removed: int) -> None:
        """Record a removal of everything up to a time (µs since epoch): it waits for all rows in flight."""
        self.removed = max(self.removed, removed)
        self.before += self.since
        self.since = 0
        self.epoch += 1

    def land(self, entry: Entry) -> Entry | None:
        """Record that a row's flight has ended; return the removal if this was the last row it waited for."""
        if entry.epoch == self.epoch:
            self.since -= 1
            return None
        self.before -= 1
        if self.before:
            return None
        waiting, self.waiting = self.waiting, None
        return waiting
