"""What key-first reading finds: the keys that an update touches, and when it was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import CommitLogError, UnknownTableError


class RowKey(NamedTuple):
    """A row that an update writes or deletes.

    `clustering` has one raw value for each clustering column, none in tables without. `deleted` is true where
    the update removes the row and does not insert it again at a later time; single cells may still be newer.
    """

    clustering: tuple[bytes | None, ...]
    deleted: bool


class RangeKey(NamedTuple):
    """A range of rows that an update deletes, bounds in the table's clustering order.

    A bound has values for a prefix of the clustering columns, none at all where that side is open.
    `deletion` is the tombstone's write time in microseconds since the epoch.
    """

    start: tuple[bytes | None, ...]
    start_inclusive: bool
    end: tuple[bytes | None, ...]
    end_inclusive: bool
    deletion: int


class KeyUpdate(NamedTuple):
    """One partition update of one mutation, read no further than its keys.

    `position` is the logical position of the end of its entry. `timestamp` is the newest lower bound known of
    its write time, microseconds since the epoch. `partition_deletion` is the write time of a partition
    deletion. `static` says that there is a static row with something in it. `expires` are
    moments at which something of it expires, seconds since the epoch: those of its first rows, and the earliest as far
    as statistics tell; 0 stands for one that is not told. It may be empty for an update that was streamed from an
    SSTable written without statistics although a cell of its only row expires.
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
        """Whether something of it expires."""
        return bool(self.expires)


@dataclass(slots=True)
class KeyBatch:
    """What `read_keys` found.

    `position` is the logical position up to which entries are done with. `mutations` counts entries that
    were read, `skipped` partition updates passed over: those of tables that are not wanted, those of
    unknown tables, and those that change nothing. `unknown` counts updates of unknown tables by table id, and
    `strangers` are the entries they are in, whose other updates were read. `problems` are entries that could not
    be read. Both have the entry's bytes in `data`.
    """

    updates: list[KeyUpdate] = field(default_factory=list)
    position: int = 0
    mutations: int = 0
    skipped: int = 0
    unknown: dict[bytes, int] = field(default_factory=dict)
    strangers: list[UnknownTableError] = field(default_factory=list)
    problems: list[CommitLogError] = field(default_factory=list)
