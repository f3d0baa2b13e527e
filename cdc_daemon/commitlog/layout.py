"""The layout of a mutation, once: flags, column lists, and how to pass over what is not wanted.

Sources: `UnfilteredRowIteratorSerializer`, `UnfilteredSerializer`, `Cell.Serializer`, `SerializationHeader`,
`Columns.Serializer`, `ClusteringPrefix.Serializer`, `EncodingStats.Serializer`; the same in Cassandra 4.0, 4.1
and 5.0 but for what `decode` says of deletion times.

    mutation    count vint | that many partition updates
    update      table id 16 | key length vint | key | flags | statistics | [static columns] regular columns
                | [partition deletion] | [static row] | [row estimate vint] | rows and markers | END_OF_PARTITION
    statistics  least timestamp, least local deletion time, least TTL: vints, less their epochs
    columns     count vint | that many of: name's length vint | name
    row         flags | [extended flags] | clustering | [timestamp] [TTL, local deletion time] | [deletion]
                | [subset of the columns] | cells of each column
    marker      flags | kind | count of values, short | values | one deletion, or two where it is a boundary
    deletion    timestamp, local deletion time: vints, less the least
    cell        flags | [timestamp] | [local deletion time] | [TTL] | [path] | [value]

Nothing here raises a `CdcError` by itself: callers turn IndexError, which short input causes, into one, and
check that they end where the mutation ends.
"""

from __future__ import annotations

import struct
from typing import Final

from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.commitlog.vint import LENGTHS, VALUE_BITS, read_vint
from cdc_daemon.errors import MutationError

TABLE_ID_SIZE: Final = 16

# Flags of a partition update (UnfilteredRowIteratorSerializer).
IS_EMPTY: Final = 0x01
IS_REVERSED: Final = 0x02
HAS_PARTITION_DELETION: Final = 0x04
HAS_STATIC_ROW: Final = 0x08
HAS_ROW_ESTIMATE: Final = 0x10

# Flags of a row or marker (UnfilteredSerializer).
END_OF_PARTITION: Final = 0x01
IS_MARKER: Final = 0x02
HAS_TIMESTAMP: Final = 0x04
HAS_TTL: Final = 0x08
HAS_DELETION: Final = 0x10
HAS_ALL_COLUMNS: Final = 0x20
HAS_COMPLEX_DELETION: Final = 0x40
HAS_EXTENDED_FLAGS: Final = 0x80
EXTENDED_IS_STATIC: Final = 0x01

# Flags of a cell (Cell.Serializer).
CELL_IS_DELETED: Final = 0x01
CELL_IS_EXPIRING: Final = 0x02
CELL_HAS_EMPTY_VALUE: Final = 0x04
CELL_USES_ROW_TIMESTAMP: Final = 0x08
CELL_USES_ROW_TTL: Final = 0x10

# Kinds of a range tombstone's bounds (ordinals of ClusteringPrefix.Kind).
EXCL_END_BOUND: Final = 0
INCL_START_BOUND: Final = 1
EXCL_END_INCL_START_BOUNDARY: Final = 2
INCL_END_EXCL_START_BOUNDARY: Final = 5
INCL_END_BOUND: Final = 6
EXCL_START_BOUND: Final = 7
STARTS: Final = {
    INCL_START_BOUND: True,
    EXCL_END_INCL_START_BOUNDARY: True,
    INCL_END_EXCL_START_BOUNDARY: False,
    EXCL_START_BOUND: False,
}
"""Kinds that open a range, and whether the bound itself belongs to it."""
ENDS: Final = {
    EXCL_END_BOUND: False,
    EXCL_END_INCL_START_BOUNDARY: False,
    INCL_END_EXCL_START_BOUNDARY: True,
    INCL_END_BOUND: True,
}
"""Kinds that close a range, and whether the bound itself belongs to it."""

TIMESTAMP_EPOCH: Final = 1_442_880_000_000_000
"""Microseconds: 2015-09-22, from which `EncodingStats` counts timestamps."""
DELETION_TIME_EPOCH: Final = 1_442_880_000
"""Seconds: the same day, for local deletion times."""

_BEGINNING: Final = -(1 << 63)
_CLUSTERING_BATCH: Final = 32
"""Clustering values that share one header of two bits each: null, empty."""
_BITMAP_COLUMNS: Final = 64
"""From this many columns on a subset is a list of indices, below it a bitmap."""
_KNOWN_COLUMN_LISTS: Final = 16
"""Column lists remembered for each table; statements of one application have few."""


_NEVER: Final = b"\xff" * 32
"""A prefix that no update has: vints whose values nobody writes."""


class TableLayout:
    """What the bytes of one table's updates look like. Made once for each generation of a table."""

    __slots__ = ("clustering", "dropped", "fixed_clustering", "lists", "plain_prefix", "table")

    def __init__(self, table: TableMetadata) -> None:
        self.table = table
        self.clustering = tuple(column.fixed_length for column in table.clustering)
        self.fixed_clustering: struct.Struct | None = None
        """All values of a clustering, where none is null or empty and each has a fixed length."""
        if self.clustering and None not in self.clustering:
            self.fixed_clustering = struct.Struct("".join(f"{length}s" for length in self.clustering))
        self.dropped = {each.column.name: each.dropped_at for each in table.dropped if each.dropped_at > _BEGINNING}
        self.lists: dict[bytes, tuple[Column, ...]] = {}
        self.plain_prefix = _NEVER
        """What stands before the row of an update without deletions, TTL and statics that has one row: two
        zeros of the statistics, the list of columns met last, the row estimate. For one comparison that
        saves reading them; never matches where the clustering is too wide for `read_keys` to take lightly."""

    @classmethod
    def of(cls, table: TableMetadata) -> TableLayout:
        """Return the layout of `table`, made now or remembered."""
        known = table.memo.get("layout")
        if isinstance(known, cls):
            return known
        made = table.memo["layout"] = cls(table)
        return made

    def read_columns(self, data: bytes, position: int) -> tuple[tuple[Column, ...], int]:
        """Read a list of columns. A list's bytes are no other list's beginning, so known ones are compared."""
        for encoded, columns in self.lists.items():
            if data.startswith(encoded, position):
                self._expect(encoded)
                return columns, position + len(encoded)
        start = position
        count, position = read_vint(data, position)
        found = []
        for _ in range(count):
            length, position = read_vint(data, position)
            end = position + length
            name = data[position:end]
            if end > len(data):
                raise MutationError("expected a column's name, found the end of the mutation")
            column = self.table.columns.get(name)
            if column is None:
                raise MutationError(
                    f"expected a column of {self.table}, found {name.decode('utf-8', 'backslashreplace')!r}",
                    hint="the schema is older than the segment, or the column was dropped long ago",
                )
            found.append(column)
            position = end
        columns = tuple(found)
        if len(self.lists) >= _KNOWN_COLUMN_LISTS:
            self.lists.pop(next(iter(self.lists)))
        self.lists[data[start:position]] = columns
        self._expect(data[start:position])
        return columns, position

    def find_prefix(self, data: bytes, position: int) -> bool:
        """Whether one of the column lists known makes the prefix found at `position`; then expect it next."""
        for encoded in self.lists:
            if data.startswith(encoded, position + 2):
                self._expect(encoded)
                return data.startswith(self.plain_prefix, position)
        return False

    def _expect(self, encoded: bytes) -> None:
        if len(self.clustering) <= _CLUSTERING_BATCH:
            self.plain_prefix = b"\0\0" + encoded + b"\1"

    def read_clustering(
        self, data: bytes, position: int, count: int | None = None
    ) -> tuple[tuple[bytes | None, ...], int]:
        """Read a row's clustering, or a bound's first `count` values of one."""
        lengths = self.clustering if count is None else self.clustering[:count]
        if count is not None and count > len(self.clustering):
            raise MutationError(
                f"expected at most {len(self.clustering)} clustering values of {self.table}, found {count}"
            )
        values: list[bytes | None] = []
        header = 0
        for index, fixed_length in enumerate(lengths):
            if not index % _CLUSTERING_BATCH:
                header, position = read_vint(data, position)
            elif header:
                header >>= 2
            if header & 3:
                values.append(None if header & 2 else b"")
                continue
            length, position = (fixed_length, position) if fixed_length is not None else read_vint(data, position)
            end = position + length
            if end > len(data):
                raise MutationError(f"expected a clustering value of {length} bytes, found the mutation's end")
            values.append(data[position:end])
            position = end
        return tuple(values), position

    def read_bound(self, data: bytes, position: int) -> tuple[int, tuple[bytes | None, ...], int]:
        """Read the bound of a range behind its marker's flags: its kind, its values."""
        kind = data[position]
        if kind not in STARTS and kind not in ENDS:
            raise MutationError(f"expected a bound of a deleted range, found kind {kind}")
        count = data[position + 1] << 8 | data[position + 2]
        values, position = self.read_clustering(data, position + 3, count)
        return kind, values, position


def static_row_flags(data: bytes, position: int) -> int:
    """Read the flags of the static row at `position`, which take two bytes; return the first."""
    flags, extended = data[position], data[position + 1]
    if not flags & HAS_EXTENDED_FLAGS or not extended & EXTENDED_IS_STATIC:
        raise MutationError(f"expected a static row, found one with flags {flags:#x}")
    return flags


def skip_extended_flags(data: bytes, position: int) -> int:
    """Pass over the second byte of a row's flags (a shadowable deletion), which must not make it static."""
    if data[position] & EXTENDED_IS_STATIC:
        raise MutationError("expected a row, found a static one among them")
    return position + 1


def read_subset(data: bytes, position: int, columns: tuple[Column, ...]) -> tuple[tuple[Column, ...], int]:
    """Read which of `columns` a row has (`Columns.Serializer.deserializeSubset`)."""
    encoded, position = read_vint(data, position)
    if encoded == 0:
        return columns, position
    count = len(columns)
    if count < _BITMAP_COLUMNS:
        if encoded >> count:
            raise MutationError(f"expected a subset of {count} columns, found the bitmap {encoded:#x}")
        return tuple(each for index, each in enumerate(columns) if not encoded >> index & 1), position
    if encoded > count:
        raise MutationError(f"expected a subset of {count} columns, found {encoded} missing")
    present = count - encoded
    listed = present if present < count // 2 else encoded
    indices: list[int] = []
    for _ in range(listed):
        index, position = read_vint(data, position)
        if index >= count or (indices and index <= indices[-1]):
            raise MutationError(f"expected an index of {count} columns, found {index}")
        indices.append(index)
    if present < count // 2:
        return tuple(columns[index] for index in indices), position
    missing = set(indices)
    return tuple(each for index, each in enumerate(columns) if index not in missing), position


def skip_cells(  # noqa: C901, PLR0912 - a hot loop: calls would cost more than what they do
    data: bytes, position: int, columns: tuple[Column, ...], *, complex_deletions: bool
) -> tuple[int, int, bool]:
    """Pass over a row's cells: the position after them, the largest timestamp less the least, any TTL."""
    newest = 0
    expiring = False
    for column in columns:
        count = 1
        length = column.fixed_length
        is_complex = column.multi_cell
        if is_complex:
            length = None
            if complex_deletions:
                delta, position = read_vint(data, position)
                # The deletion before an overwriting INSERT is one microsecond older than its cells.
                newest = max(newest, delta) if delta >> 63 == 0 else newest
                position += LENGTHS[data[position]]
            count, position = read_vint(data, position)
        while count:
            count -= 1
            flags = data[position]
            position += 1
            if not flags & CELL_USES_ROW_TIMESTAMP:
                first = data[position]
                end = position + LENGTHS[first]
                delta = int.from_bytes(data[position:end], "big") & VALUE_BITS[first]
                if newest < delta < 1 << 63:
                    newest = delta
                position = end
            if flags & 0x03:
                if flags & CELL_IS_EXPIRING:
                    expiring = True
                if not flags & CELL_USES_ROW_TTL:
                    position += LENGTHS[data[position]]
                    if flags & CELL_IS_EXPIRING:
                        position += LENGTHS[data[position]]
            if is_complex:
                size, position = read_vint(data, position)
                position += size
            if not flags & CELL_HAS_EMPTY_VALUE:
                if length is None:
                    size, position = read_vint(data, position)
                    position += size
                else:
                    position += length
    return position, newest, expiring
