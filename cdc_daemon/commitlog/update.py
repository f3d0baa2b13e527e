"""A partition update, decoded: rows, cells and deletions as Cassandra keeps them, values still raw.

Write times are microseconds since the epoch, local deletion times seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from cdc_daemon.commitlog.schema import TableMetadata

INVALID_DELETION_TIME: Final = 0xFFFF_FFFE
"""A local deletion time that overflowed when it was written (`Cell.INVALID_DELETION_TIME`)."""


class Deletion(NamedTuple):
    """A tombstone: deletes all writes up to `timestamp`; made at `local_deletion_time` by the node's clock."""

    timestamp: int
    local_deletion_time: int


class Cell(NamedTuple):
    """One cell. `value` is None for a tombstone.

    `ttl` is in seconds, None when the cell does not expire. `local_deletion_time` is when it expires or, for a
    tombstone, when it was deleted. `path` is the element's or field's path in a complex column, None in others.
    """

    value: bytes | None
    timestamp: int
    ttl: int | None = None
    local_deletion_time: int | None = None
    path: bytes | None = None


class ComplexColumn(NamedTuple):
    """The cells of a non-frozen collection or UDT, and the deletion of all its earlier content, if any."""

    deletion: Deletion | None
    cells: tuple[Cell, ...]


class DecodedRow(NamedTuple):
    """The content of one row in the update.

    `timestamp`, `ttl` and `expires_at` are those of the row's existence (an INSERT's), None when the update does not
    have them. `columns` are by name, in the order of the mutation.
    """

    clustering: tuple[bytes | None, ...]
    timestamp: int | None
    ttl: int | None
    expires_at: int | None
    deletion: Deletion | None
    columns: Mapping[str, Cell | ComplexColumn]


class RangeTombstone(NamedTuple):
    """A deleted range of rows; bounds are prefixes of the clustering, in the table's clustering order."""

    start: tuple[bytes | None, ...]
    start_inclusive: bool
    end: tuple[bytes | None, ...]
    end_inclusive: bool
    deletion: Deletion


class PartitionUpdate(NamedTuple):
    """The changes of one mutation to one partition of one table.

    `position` is the logical position of the end of its entry.
    """

    table: TableMetadata
    partition_key: bytes
    position: int
    deletion: Deletion | None
    static: DecodedRow | None
    rows: tuple[DecodedRow, ...]
    ranges: tuple[RangeTombstone, ...]
