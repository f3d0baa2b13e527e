"""What every source says, and all that it says: this key of this table changed at this write time."""

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
    """How much of a table a signal speaks of."""

    ROW = "row"
    """One row: `clustering` names it; it is empty for a table without clustering columns."""

    STATIC = "static"
    """The static columns of a partition: each of its rows shows them, so each is to be refreshed."""

    PARTITION = "partition"
    """A whole partition was removed: documents of rows that are gone have to go."""

    RANGE = "range"
    """A slice of a partition was removed: documents of rows that are gone have to go."""

    ROWS = "rows"
    """Something that each row of a partition shows was changed elsewhere: the rows that are there are refreshed."""


class Signal(NamedTuple):
    """A change that somebody saw. It carries no data: the row is read from Cassandra (see architecture, promise 1).

    `partition_key` and `clustering` are the serialised bytes as the commit log has them, so that a
    source never decodes a value. `written` is the newest write time known of the change, `removed` that of
    a deletion of just this key, and `suspected` that of a deletion which may have covered it, all in
    microseconds since epoch; 0 means none is known. `expires` are moments (seconds since epoch) at which something
    of it expires, 0 for one that is not known; it is empty where nothing does.
    A signal that is `passed_on` tells of no change of this key itself: it follows from another key's, which has been
    seen by a read. `since` is the time of the oldest such change, which is no reason for doubt.
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
