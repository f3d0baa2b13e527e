"""Rows of one table on their way through the pipeline: those taken together, and those read together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from cdc_daemon.model.reading import Reading
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.entry import Entry


class RowBatch:
    """Rows of one table that were taken together.

    `open` are the entries whose work is not finished. An entry leaves it when it is acknowledged, parked or retried.
    """

    def __init__(self, table: TableName) -> None:
        self.table = table
        self.entries: list[Entry] = []
        self.open: dict[Entry, None] = {}

    def add(self, entry: Entry) -> None:
        """Add a row."""
        self.entries.append(entry)
        self.open[entry] = None


class ReadRows(NamedTuple):
    """Entries of one table, aligned with the states of their reading."""

    entries: Sequence[Entry]
    reading: Reading

    @classmethod
    def prefetched(cls, entries: Iterable[Entry]) -> Iterator[ReadRows]:
        """Yield the rows that were read before their turn, by their readings."""
        found: dict[int, tuple[Reading, list[Entry], list[int]]] = {}
        for entry in entries:
            if entry.prefetched is not None:
                reading, at = entry.prefetched
                _, several, places = found.setdefault(id(reading), (reading, [], []))
                several.append(entry)
                places.append(at)
        for reading, several, places in found.values():
            yield cls(several, reading._replace(states=[reading.states[at] for at in places]))

    def only(self, places: Iterable[int]) -> ReadRows:
        """Return the rows at these places."""
        chosen = list(places)
        states = [self.reading.states[at] for at in chosen]
        return ReadRows([self.entries[at] for at in chosen], self.reading._replace(states=states))

    def without(self, places: Collection[int]) -> ReadRows:
        """Return the rows at all other places."""
        omitted = set(places)
        return self.only(at for at in range(len(self.entries)) if at not in omitted)
