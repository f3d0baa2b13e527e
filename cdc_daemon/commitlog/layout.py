"""The layout of a mutation: column lists, clusterings, and skipping cells.

Sources: `UnfilteredRowIteratorSerializer`, `UnfilteredSerializer`, `Cell.Serializer`, `SerializationHeader`,
`Columns.Serializer`, `ClusteringPrefix.Serializer`, `EncodingStats.Serializer`; the same in Cassandra 4.0, 4.1
and 5.0, except for deletion times, see `update_decoder`.

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

Nothing here raises a `CdcError` by itself: callers convert the IndexError of short input into one, and check that
they end at the mutation's end.
"""

from __future__ import annotations

import struct
from typing import Final

from cdc_daemon.commitlog.flags import (
    CELL_HAS_EMPTY_VALUE,
    CELL_IS_DELETED,
    CELL_IS_EXPIRING,
    CELL_USES_ROW_TIMESTAMP,
    CELL_USES_ROW_TTL,
    COMPLEX,
    ENDS,
    EXTENDED_IS_STATIC,
    HAS_EXTENDED_FLAGS,
    STARTS,
    VARIABLE,
)
from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.commitlog.vint import read_length, read_vint
from cdc_daemon.model.errors import MutationError

TABLE_ID_SIZE: Final = 16

TIMESTAMP_EPOCH: Final = 1_442_880_000_000_000
"""Microseconds: 2015-09-22, the epoch of timestamps in `EncodingStats`."""
DELETION_TIME_EPOCH: Final = 1_442_880_000
"""Seconds: the same day, for local deletion times."""

_BEGINNING: Final = -(1 << 63)
_LARGEST: Final = (1 << 63) - 1
_CLUSTERING_BATCH: Final = 32
"""Clustering values that share one header of two bits each: null, empty."""
_BITMAP_COLUMNS: Final = 64
"""With this many columns or more a subset is a list of indices, with fewer a bitmap."""
_KNOWN_COLUMN_LISTS: Final = 16
"""Cached column lists for each table; the statements of one application have few."""


_NEVER: Final = b"\xff" * 32
"""A prefix that no update has: vints of values that are never written."""

ColumnLayout = tuple[str, int]
"""A column for loops over cells: its name, and the length of its values in bytes, `VARIABLE` or `COMPLEX`."""


class TableLayout:
    """The byte layout of one table's updates. Created once for each generation of a table."""

    __slots__ = ("_expected", "clustering", "dropped", "fixed_clustering", "lists", "plain_prefix", "table")

    def __init__(self, table: TableMetadata) -> None:
        self.table = table
        self.clustering = tuple(column.fixed_length for column in table.clustering)
        self.fixed_clustering: struct.Struct | None = None
        """All values of a clustering, where none is null or empty and each has a fixed length."""
        if self.clustering and None not in self.clustering:
            self.fixed_clustering = struct.Struct("".join(f"{length}s" for length in self.clustering))
        self.dropped = {each.column.name: each.dropped_at for each in table.dropped if each.dropped_at > _BEGINNING}
        self.lists: dict[bytes, tuple[ColumnLayout, ...]] = {}
        self._expected = b""
        self.plain_prefix = _NEVER
        """The bytes before the row in an update of one row without deletions, TTL and static columns: two zeros of
        the statistics, the column list that was read last, the row estimate. One comparison with it replaces reading
        them. It never matches if the clustering is too wide for the short way in `read_keys`."""

    @classmethod
    def of(cls, table: TableMetadata) -> TableLayout:
        """Return the layout of `table`, new or cached."""
        known = table.memo.get("layout")
        if isinstance(known, cls):
            return known
        made = table.memo["layout"] = cls(table)
        return made

    def read_columns(self, data: bytes, position: int) -> tuple[tuple[ColumnLayout, ...], int]:
        """Read a list of columns. No list's bytes are a prefix of another's, so known lists are compared first."""
        for encoded, columns in self.lists.items():
            if data.startswith(encoded, position):
                self._expect(encoded)
                return columns, position + len(encoded)
        start = position
        count, position = read_vint(data, position)
        found = []
        while count:
            count -= 1
            length, position = read_length(data, position)
            end = position + length
            name = data[position:end]
            column = self.table.columns.get(name)
            if column is None:
                raise MutationError(
                    f"expected a column of {self.table}, found {name.decode('utf-8', 'backslashreplace')!r}",
                    hint="the schema is older than the segment, or the column was dropped long ago",
                )
            found.append(_column_layout(column))
            position = end
        columns = tuple(found)
        if len(self.lists) >= _KNOWN_COLUMN_LISTS:
            self.lists.pop(next(iter(self.lists)))
        encoded = data[start:position]
        self.lists[encoded] = columns
        self._expect(encoded)
        return columns, position

    def find_prefix(self, data: bytes, position: int) -> bool:
        """Return whether the prefix at `position` is that of a known column list; if so, expect that list next."""
        for encoded in self.lists:
            if data.startswith(encoded, position + 2):
                self._expect(encoded)
                return data.startswith(self.plain_prefix, position)
        return False

    def _expect(self, encoded: bytes) -> None:
        if encoded is not self._expected and len(self.clustering) <= _CLUSTERING_BATCH:
            self._expected = encoded
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
            if fixed_length is None:
                length, position = read_length(data, position)
            else:
                length = fixed_length
            end = position + length
            if end > len(data):
                raise MutationError(f"expected a clustering value of {length} bytes, found the mutation's end")
            values.append(data[position:end])
            position = end
        return tuple(values), position

    def read_bound(self, data: bytes, position: int) -> tuple[int, tuple[bytes | None, ...], int]:
        """Read the bound of a range after its marker's flags: its kind, its values."""
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
    """Skip the second byte of a row's flags (a shadowable deletion), which must not make it static."""
    if data[position] & EXTENDED_IS_STATIC:
        raise MutationError("expected a row, found a static one among them")
    return position + 1


def read_subset(data: bytes, position: int, columns: tuple[ColumnLayout, ...]) -> tuple[tuple[ColumnLayout, ...], int]:
    """Read which of `columns` a row has (`Columns.Serializer.deserializeSubset`)."""
    encoded, position = read_vint(data, position)
    if encoded == 0:
        return columns, position
    count = len(columns)
    if count < _BITMAP_COLUMNS:
        if encoded >> count:
            raise MutationError(f"expected a subset of {count} columns, found the bitmap {encoded:#x}")
        chosen = [each for index, each in enumerate(columns) if not encoded >> index & 1]
        return tuple(chosen), position
    if encoded > count:
        raise MutationError(f"expected a subset of {count} columns, found {encoded} missing")
    present = count - encoded
    listed = present if present < count // 2 else encoded
    indices: list[int] = []
    while listed:
        listed -= 1
        index, position = read_vint(data, position)
        if index >= count or (indices and index <= indices[-1]):
            raise MutationError(f"expected an index of {count} columns, found {index}")
        indices.append(index)
    if present < count // 2:
        chosen = [columns[index] for index in indices]
    else:
        missing = set(indices)
        chosen = [each for index, each in enumerate(columns) if index not in missing]
    return tuple(chosen), position


def skip_cells(  # noqa: C901, PLR0912 - a hot loop: calls would cost more than what they do
    data: bytes, position: int, columns: tuple[ColumnLayout, ...], *, complex_deletions: bool
) -> tuple[int, int, bool]:
    """Skip a row's cells; return the position after them, the largest timestamp minus the least, any TTL."""
    newest = 0
    expiring = False
    for _, length in columns:
        count = 1
        if length == COMPLEX:
            if complex_deletions:
                delta, position = read_vint(data, position)
                # The deletion before an overwriting INSERT is one microsecond older than its cells.
                if newest < delta <= _LARGEST:
                    newest = delta
                _, position = read_vint(data, position)
            count, position = read_vint(data, position)
        while count:
            count -= 1
            flags = data[position]
            position += 1
            if not flags & CELL_USES_ROW_TIMESTAMP:
                delta, position = read_vint(data, position)
                if newest < delta <= _LARGEST:
                    newest = delta
            if flags & CELL_IS_EXPIRING:
                expiring = True
            if flags & (CELL_IS_DELETED | CELL_IS_EXPIRING) and not flags & CELL_USES_ROW_TTL:
                _, position = read_vint(data, position)
                if flags & CELL_IS_EXPIRING:
                    _, position = read_vint(data, position)
            if length == COMPLEX:
                size, position = read_length(data, position)
                position += size
            if not flags & CELL_HAS_EMPTY_VALUE:
                size = length
                if length < 0:
                    size, position = read_length(data, position)
                position += size
    return position, newest, expiring


def _column_layout(column: Column) -> ColumnLayout:
    if column.multi_cell:
        return column.name, COMPLEX
    return column.name, VARIABLE if column.fixed_length is None else column.fixed_length
