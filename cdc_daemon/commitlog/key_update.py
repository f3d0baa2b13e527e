"""Key-first reading of one partition update: the keys that it changes, and its write time.

`keys` reads most updates itself; this module reads the others cell by cell.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cdc_daemon.commitlog.flags import (
    END_OF_PARTITION,
    ENDS,
    HAS_ALL_COLUMNS,
    HAS_COMPLEX_DELETION,
    HAS_DELETION,
    HAS_EXTENDED_FLAGS,
    HAS_PARTITION_DELETION,
    HAS_ROW_ESTIMATE,
    HAS_STATIC_ROW,
    HAS_TIMESTAMP,
    HAS_TTL,
    IS_EMPTY,
    IS_MARKER,
    STARTS,
)
from cdc_daemon.commitlog.layout import (
    DELETION_TIME_EPOCH,
    TIMESTAMP_EPOCH,
    ColumnLayout,
    TableLayout,
    read_subset,
    skip_cells,
    skip_extended_flags,
    static_row_flags,
)
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.commitlog.vint import add_int64, read_vint
from cdc_daemon.model.errors import MutationError


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


_NEVER: Final = -(1 << 63)
"""Microseconds: Cassandra's own `NO_TIMESTAMP`, older than any write."""

_WRITTEN_NOW: Final = 10
"""Seconds by which a tombstone's local deletion time and a write time from the client's clock may differ."""

_MOST_MOMENTS: Final = 8
"""Most rows of one update with their own expiry in the result."""


def read_key_update(data: bytes, position: int, table_layout: TableLayout) -> tuple[KeyUpdate | None, int]:
    """Read one update after its table id; None when it changes nothing. Its `position` is 0.

    Raises `MutationError`, IndexError or struct.error when the bytes are no update of this table.
    """
    length, start = read_vint(data, position)
    position = start + length
    key = data[start:position]
    flags = data[position]
    position += 1
    if flags & IS_EMPTY:
        return None, position
    walk = _Walk(table_layout)
    return walk.update(data, position, flags, key)


class _Walk:
    """Walks through one update and records its keys and times."""

    __slots__ = (
        "expires",
        "expiring",
        "layout",
        "least",
        "least_deletion",
        "least_ttl",
        "newest",
        "open",
        "ranges",
        "rows",
    )

    def __init__(self, table_layout: TableLayout) -> None:
        self.layout = table_layout
        self.least = 0
        self.newest = _NEVER
        self.least_deletion = 0
        self.least_ttl = 0
        self.expiring = False
        self.expires: set[int] = set()
        self.rows: list[RowKey] = []
        self.ranges: list[RangeKey] = []
        self.open: tuple[tuple[bytes | None, ...], bool, int] | None = None

    def update(self, data: bytes, position: int, flags: int, key: bytes) -> tuple[KeyUpdate, int]:
        delta, position = read_vint(data, position)
        self.least = add_int64(delta, TIMESTAMP_EPOCH)
        # Without statistics the least timestamp is the epoch, which is no write's time.
        self.newest = self.least if delta else _NEVER
        delta, position = read_vint(data, position)
        self.least_deletion = _seconds(delta + DELETION_TIME_EPOCH)
        self.least_ttl, position = read_vint(data, position)
        self.expiring = self.least_ttl != 0
        static_columns: tuple[ColumnLayout, ...] = ()
        if flags & HAS_STATIC_ROW:
            static_columns, position = self.layout.read_columns(data, position)
        columns, position = self.layout.read_columns(data, position)
        partition_deletion = None
        if flags & HAS_PARTITION_DELETION:
            partition_deletion, position = self.deletion(data, position)
        static = False
        if flags & HAS_STATIC_ROW:
            row_flags = static_row_flags(data, position)
            before = position + 2
            _, position = self.body(data, before, row_flags, static_columns)
            static = position > before
        if flags & HAS_ROW_ESTIMATE:
            _, position = read_vint(data, position)
        position = self.unfiltereds(data, position, columns)
        return (
            KeyUpdate(
                self.layout.table,
                key,
                0,
                self.newest,
                self.moments() if self.expiring else (),
                partition_deletion,
                static,
                tuple(self.rows),
                tuple(self.ranges),
            ),
            position,
        )

    def moments(self) -> tuple[int, ...]:
        """Return when parts of the update expire: the rows' own moments, and the earliest by the statistics.

        The least local deletion time is that of the first cell to expire, or of a tombstone written with it. In the
        second case it is about the write time, and the cell expires its TTL later.
        """
        first = self.least_deletion
        if not self.least_ttl:
            return tuple(sorted(self.expires)) or (0,)
        since = first - self.newest // 1_000_000
        if abs(since - self.least_ttl) < abs(since):
            moments = {first}
        elif abs(since) <= _WRITTEN_NOW:
            moments = {first + self.least_ttl}
        else:
            moments = {first, first + self.least_ttl}
        return tuple(sorted(self.expires | moments))

    def unfiltereds(self, data: bytes, position: int, columns: tuple[ColumnLayout, ...]) -> int:
        """Read rows and markers up to the end of the partition; return the position after it."""
        while True:
            flags = data[position]
            position += 1
            if flags & END_OF_PARTITION:
                if self.open is not None:
                    raise MutationError("expected the end of a deleted range, found the end of the partition")
                return position
            if flags & IS_MARKER:
                position = self.marker(data, position)
                continue
            if flags & HAS_EXTENDED_FLAGS:
                position = skip_extended_flags(data, position)
            clustering, position = self.layout.read_clustering(data, position)
            deleted, position = self.body(data, position, flags, columns)
            self.rows.append(RowKey(clustering, deleted))

    def body(self, data: bytes, position: int, flags: int, columns: tuple[ColumnLayout, ...]) -> tuple[bool, int]:
        """Skip a row after its clustering; return whether it is deleted, and the position after it."""
        liveness = _NEVER
        if flags & HAS_TIMESTAMP:
            delta, position = read_vint(data, position)
            liveness = add_int64(delta, self.least)
            self.newest = max(self.newest, liveness)
            if flags & HAS_TTL:
                self.expiring = True
                _, position = read_vint(data, position)
                expires, position = read_vint(data, position)
                if len(self.expires) < _MOST_MOMENTS:
                    self.expires.add(_seconds(expires + self.least_deletion))
        deletion = None
        if flags & HAS_DELETION:
            deletion, position = self.deletion(data, position)
        if not flags & HAS_ALL_COLUMNS:
            columns, position = read_subset(data, position, columns)
        position, newest, expiring = skip_cells(
            data, position, columns, complex_deletions=bool(flags & HAS_COMPLEX_DELETION)
        )
        if newest:
            self.newest = max(self.newest, add_int64(newest, self.least))
        self.expiring = self.expiring or expiring
        return deletion is not None and deletion >= liveness, position

    def marker(self, data: bytes, position: int) -> int:
        kind, values, position = self.layout.read_bound(data, position)
        closes, opens = ENDS.get(kind), STARTS.get(kind)
        if closes is not None:
            deletion, position = self.deletion(data, position)
            if self.open is None:
                raise MutationError("expected the start of a deleted range, found its end")
            start, inclusive, _ = self.open
            self.ranges.append(RangeKey(start, inclusive, values, closes, deletion))
            self.open = None
        if opens is not None:
            deletion, position = self.deletion(data, position)
            if self.open is not None:
                raise MutationError("expected the end of a deleted range, found another's start")
            self.open = values, opens, deletion
        return position

    def deletion(self, data: bytes, position: int) -> tuple[int, int]:
        """Read a deletion; return its timestamp, which also counts for the write time, and the next position."""
        delta, position = read_vint(data, position)
        _, position = read_vint(data, position)
        deletion = add_int64(delta, self.least)
        self.newest = max(self.newest, deletion)
        return deletion, position


def _seconds(value: int) -> int:
    """Return a local deletion time as the unsigned int that Cassandra 5.0 uses."""
    return value & 0xFFFF_FFFF
