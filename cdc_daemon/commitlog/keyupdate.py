"""The results of key-first reading: the keys that an update changes, and its write time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import CommitLogError, UnknownTableError


class RowKey(NamedTuple):
    """A row that an update writes or deletes.

    `clustering` has one raw value for each clustering column. `deleted` is true when the update deletes the row and
    does not insert it again at a later time; single cells may still be newer.
    """

    clustering: tuple[bytes | None, ...]
    deleted: bool


class RangeKey(NamedTuple):
    """A range of rows that an update deletes, bounds in the table's clustering order.

    A bound has values for a prefix of the clustering columns; on an open side it has none.
    `deletion` is the tombstone's write time in microseconds since the epoch.
    """

    start: tuple[bytes | None, ...]
    start_inclusive: bool
    end: tuple[bytes | None, ...]
    end_inclusive: bool
    deletion: int


class KeyUpdate(NamedTuple):
    """One partition update of one mutation, of which only the keys were read.

    `position` is the logical position of the end of its entry. `timestamp` is the newest known lower bound of its
    write time, in microseconds since the epoch. `partition_deletion` is the write time of a partition deletion.
    `static` is true when there is a static row that is not empty. `expires` are moments at which parts of the update
    expire, in seconds since the epoch: those of its first rows, and the earliest one by the statistics; 0 stands for
    an unknown moment. `expires` may be empty although a cell of the only row expires, when the update was streamed
    from an SSTable written without statistics.
    """

    table: TableMetadata
    partition_key: bytes
    position: int
    timestamp: int
    expires: tuple[int, ...]
    partition_deletion: int | None
    static: bool
    rows: tuple[RowKey, ...]
    ranges: tuple[RangeKey, ...]

    @property
    def has_ttl(self) -> bool:
        """Whether any part of it expires."""
        return bool(self.expires)


@dataclass(slots=True)
class KeyBatch:
    """The result of `read_keys`.

    `position` is the logical position up to which entries were handled. `mutations` counts entries that were read.
    `skipped` counts skipped partition updates: those of tables that are not wanted, those of unknown tables, and
    those that change nothing. `unknown` counts updates of unknown tables by table id. `strangers` are the entries
    with such updates; their other updates were read. `problems` are entries that could not be read. Both have the
    entry's bytes in `data`.
    """

    updates: list[KeyUpdate] = field(default_factory=list)
    position: int = 0
    mutations: int = 0
    skipped: int = 0
    unknown: dict[bytes, int] = field(default_factory=dict)
    strangers: list[UnknownTableError] = field(default_factory=list)
    problems: list[CommitLogError] = field(default_factory=list)
