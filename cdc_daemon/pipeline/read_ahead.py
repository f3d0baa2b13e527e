"""Rows that were read before their turn came, page by page of a scan: nobody has to read them by their keys."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence

from cdc_daemon.model.reading import Reading
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.entry import Entry

EARLY_SECONDS = 3.0
"""How old such a reading may be when its row's turn comes; an older row is read again.

Whoever waits for reads under way to be over, here or in another daemon, waits for these too."""


GRACE = 0.1
"""Seconds after which what was in the log can be read: it is there before it is in the memtable."""


class Doubts:
    """When rows were changed in ways that do not name each of them.

    A row's own change makes it be read again. A removal of several rows, or a change of rows that are shown in many
    documents, cannot: its documents are looked for in the index, where a row that is on its way is not yet. So what was
    read before such a change was settled is read again, and for a moment after a removal it is suspected to cover what
    is read.
    """

    def __init__(self) -> None:
        self._landed: dict[TableName, float] = {}
        self._removals: dict[tuple[TableName, bytes], tuple[float, int]] = {}

    def doubt_table(self, table: TableName) -> None:
        """Doubt what was read of a table before now."""
        self._landed[table] = asyncio.get_running_loop().time()

    def doubt_partition(self, table: TableName, partition_key: bytes, removed: int) -> None:
        """Doubt what was read of a partition before now, as rows of it were removed at a moment (µs since epoch)."""
        now = asyncio.get_running_loop().time()
        self._removals.pop((table, partition_key), None)
        self._removals[table, partition_key] = (now, removed)
        for key, (moment, _) in list(itertools.islice(self._removals.items(), 2)):
            if moment < now - EARLY_SECONDS - GRACE:
                del self._removals[key]

    def judge(self, entries: Iterable[Entry]) -> None:
        """Let those of the entries be read again, or with suspicion, whose rows may have been changed since."""
        now = asyncio.get_running_loop().time()
        for entry in entries:
            settled, removed = self._removals.get(entry.key[:2], (float("-inf"), 0))
            readable = settled + GRACE
            if now <= readable:
                entry.suspected = max(entry.suspected, removed)
            if entry.early is not None:
                began = entry.early[0].began
                latest = max(now - EARLY_SECONDS, readable, self._landed.get(entry.key.table, float("-inf")))
                if entry.suspected or began <= latest:
                    entry.early = None


def early_readings(entries: Iterable[Entry]) -> list[tuple[Sequence[Entry], Reading]]:
    """Return, for each reading that the entries' rows came with, these entries and their part of it."""
    found: dict[int, tuple[list[Entry], Reading, list[int]]] = {}
    for entry in entries:
        if entry.early is not None:
            reading, at = entry.early
            several, _, places = found.setdefault(id(reading), ([], reading, []))
            several.append(entry)
            places.append(at)
    return [
        (several, reading._replace(states=[reading.states[at] for at in places]))
        for several, reading, places in found.values()
    ]
