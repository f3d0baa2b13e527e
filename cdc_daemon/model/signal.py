"""The signal of every source: this key of this table changed at this write time; and the key itself."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

Clustering = tuple[bytes | None, ...]
"""A clustering key: one serialised value for each clustering column, in the order of the table's key."""


class TableName(NamedTuple):
    """A table by its keyspace and name."""

    keyspace: str
    table: str

    def __str__(self) -> str:
        return f"{self.keyspace}.{self.table}"


class Scope(Enum):
    """The part of a table that a signal covers."""

    ROW = "row"
    """One row, named by `clustering`; it is empty for a table without clustering columns."""

    STATIC = "static"
    """The static columns of a partition: each of its rows shows them, so each has to be refreshed."""

    PARTITION = "partition"
    """A whole partition was removed: documents of rows that are gone have to be deleted."""

    RANGE = "range"
    """A slice of a partition was removed: documents of rows that are gone have to be deleted."""

    ROWS = "rows"
    """Data that each row of a partition shows was changed in another table: the existing rows are refreshed."""


class Signal(NamedTuple):
    """A change that a source saw. It carries no data: the row is read from Cassandra (docs/guarantees.md, promise 1).

    `partition_key` and `clustering` are the serialised bytes as the commit log has them, so that a
    source never decodes a value. `written` is the newest known write time of the change, `removed` that of
    a deletion of just this key, and `suspected` that of a deletion which may have covered it, all in
    microseconds since epoch; 0 means unknown. `expires` are the times (seconds since epoch) at which part
    of the change expires, 0 for an unknown one; it is empty if nothing expires.
    A signal that is `passed_on` reports no change of this key itself: it follows from a change of another key that a
    read has already shown. `since` is the time of the oldest such change, which is no reason for doubt.
    """

    table: TableName
    partition_key: bytes
    scope: Scope
    clustering: Clustering = ()
    written: int = 0
    removed: int = 0
    expires: tuple[int, ...] = ()
    suspected: int = 0
    passed_on: bool = False
    since: int = 0


class Key(NamedTuple):
    """The unit that is read and settled: a row, or with `clustering` None the documents of a whole partition."""

    table: TableName
    partition_key: bytes
    clustering: Clustering | None

    @classmethod
    def of(cls, signal: Signal) -> Key:
        """Return the key of a signal."""
        return cls(signal.table, signal.partition_key, signal.clustering if signal.scope is Scope.ROW else None)
