"""Full decoding of one partition update: every row, cell and deletion. Values stay raw, see `values`.

It omits the same data as Cassandra's own reader: cells and complex deletions no newer than the drop of their column
(`DeserializationHelper.isDropped`), and rows that hold nothing else (CASSANDRA-13337).
"""

from __future__ import annotations

from typing import Final

from cdc_daemon.commitlog.descriptor import VERSION_50
from cdc_daemon.commitlog.flags import (
    CELL_HAS_EMPTY_VALUE,
    CELL_IS_DELETED,
    CELL_IS_EXPIRING,
    CELL_USES_ROW_TIMESTAMP,
    CELL_USES_ROW_TTL,
    COMPLEX,
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
    VARIABLE,
)
from cdc_daemon.commitlog.layout import (
    DELETION_TIME_EPOCH,
    TIMESTAMP_EPOCH,
    ColumnLayout,
    TableLayout,
    read_subset,
    skip_extended_flags,
    static_row_flags,
)
from cdc_daemon.commitlog.native import (
    new_cell,
    new_complex_column,
    new_deletion,
    new_range_tombstone,
    new_row,
    new_update,
)
from cdc_daemon.commitlog.update import (
    INVALID_DELETION_TIME,
    Cell,
    ComplexColumn,
    DecodedRow,
    Deletion,
    PartitionUpdate,
    RangeTombstone,
)
from cdc_daemon.commitlog.vint import add_int32, add_int64, read_length, read_vint
from cdc_daemon.model.errors import MutationError

_EXPIRED: Final = 0x7FFF_FFFF
"""The TTL of a row that was found expired (`LivenessInfo.EXPIRED_LIVENESS_TTL`)."""
_LIVE: Final = -(1 << 63)
"""The timestamp that stands for no deletion (`DeletionTime.LIVE`)."""
_ONE_BYTE: Final = 0x80
"""Vints below it are one byte."""


class UpdateDecoder:
    """Decodes the updates of segments of one version.

    It keeps the statistics of the current update, the position in its bytes, and the liveness of the current row.
    """

    __slots__ = (
        "_data",
        "_dropped",
        "_expires_at",
        "_least",
        "_least_deletion",
        "_least_ttl",
        "_position",
        "_timestamp",
        "_ttl",
        "_unsigned",
    )

    def __init__(self, version: int) -> None:
        # In version 8 local deletion times are unsigned (CASSANDRA-14227), before they overflow in 2038.
        self._unsigned = version >= VERSION_50
        self._data = b""
        self._position = 0
        self._least = 0
        self._least_deletion = 0
        self._least_ttl = 0
        self._dropped: dict[str, int] = {}
        self._timestamp: int | None = None
        self._ttl: int | None = None
        self._expires_at: int | None = None

    def update(
        self, data: bytes, position: int, table_layout: TableLayout, place: int = 0
    ) -> tuple[PartitionUpdate, int]:
        """Decode the update after its table id; return it, with `place` as its position, and the position after it.

        Raises `MutationError`, IndexError or struct.error when the bytes are no update of this table.
        """
        table = table_layout.table
        length, position = read_length(data, position)
        key = data[position : position + length]
        position += length
        flags = data[position]
        position += 1
        if flags & IS_EMPTY:
            return new_update((table, key, place, None, None, (), ())), position
        delta, position = read_vint(data, position)
        self._least = add_int64(delta, TIMESTAMP_EPOCH)
        delta, position = read_vint(data, position)
        self._least_deletion = add_int32(delta, DELETION_TIME_EPOCH)
        delta, position = read_vint(data, position)
        self._least_ttl = add_int32(delta, 0)
        self._dropped = table_layout.dropped
        self._data = data
        static_columns: tuple[ColumnLayout, ...] = ()
        if flags & HAS_STATIC_ROW:
            static_columns, position = table_layout.read_columns(data, position)
        columns, position = table_layout.read_columns(data, position)
        self._position = position
        deletion = self._deletion() if flags & HAS_PARTITION_DELETION else None
        static = None
        if flags & HAS_STATIC_ROW:
            row_flags = static_row_flags(data, self._position)
            self._position += 2
            static = self._row(row_flags, (), static_columns)
        if flags & HAS_ROW_ESTIMATE:
            _, self._position = read_vint(data, self._position)
        rows, ranges = self._unfiltereds(table_layout, columns)
        return new_update((table, key, place, deletion, static, rows, ranges)), self._position

    def _unfiltereds(
        self, table_layout: TableLayout, columns: tuple[ColumnLayout, ...]
    ) -> tuple[tuple[DecodedRow, ...], tuple[RangeTombstone, ...]]:
        """Decode rows and markers up to the end of the partition."""
        data = self._data
        clustered = bool(table_layout.clustering)
        rows: list[DecodedRow] = []
        ranges: list[RangeTombstone] = []
        opened: tuple[tuple[bytes | None, ...], bool] | None = None
        while True:
            flags = data[self._position]
            self._position += 1
            if flags & END_OF_PARTITION:
                break
            if flags & IS_MARKER:
                opened = self._marker(table_layout, opened, ranges)
                continue
            if flags & HAS_EXTENDED_FLAGS:
                self._position = skip_extended_flags(data, self._position)
            clustering: tuple[bytes | None, ...] = ()
            if clustered:
                clustering, self._position = table_layout.read_clustering(data, self._position)
            row = self._row(flags, clustering, columns)
            if row is not None:
                rows.append(row)
        if opened is not None:
            raise MutationError("expected the end of a deleted range, found the end of the partition")
        return tuple(rows), tuple(ranges)

    def _row(
        self, flags: int, clustering: tuple[bytes | None, ...], columns: tuple[ColumnLayout, ...]
    ) -> DecodedRow | None:
        """Decode a row after its clustering; None when nothing is left of it."""
        data = self._data
        timestamp: int | None = None
        self._ttl = self._expires_at = None
        deletion = None
        if flags & HAS_TIMESTAMP:
            delta, self._position = read_vint(data, self._position)
            timestamp = add_int64(delta, self._least)
            if flags & HAS_TTL:
                delta, self._position = read_vint(data, self._position)
                self._ttl = add_int32(delta, self._least_ttl)
                self._expires_at = self._local_deletion_time(self._ttl)
        self._timestamp = timestamp
        if flags & HAS_DELETION:
            deletion = self._deletion()
        if not flags & HAS_ALL_COLUMNS:
            columns, self._position = read_subset(data, self._position, columns)
        found = self._columns(flags, columns)
        if not found and timestamp is None and deletion is None:
            return None
        return new_row((clustering, timestamp, self._ttl, self._expires_at, deletion, found))

    def _marker(
        self,
        table_layout: TableLayout,
        opened: tuple[tuple[bytes | None, ...], bool] | None,
        ranges: list[RangeTombstone],
    ) -> tuple[tuple[bytes | None, ...], bool] | None:
        """Decode a bound after its flags: append the range it closes, return the one it opens.

        An open range is described by the values of its start and whether the start is inclusive.
        """
        kind, values, self._position = table_layout.read_bound(self._data, self._position)
        closes, opens = ENDS.get(kind), STARTS.get(kind)
        if (closes is None) != (opened is None):
            raise MutationError(
                f"expected the {'start' if opened is None else 'end'} of a deleted range, found kind {kind}"
            )
        if opened is not None and closes is not None:
            start, inclusive = opened
            ranges.append(new_range_tombstone((start, inclusive, values, closes, self._deletion())))
        if opens is None:
            return None
        self._deletion()
        return values, opens

    def _columns(self, flags: int, columns: tuple[ColumnLayout, ...]) -> dict[str, Cell | ComplexColumn]:
        """Decode a row's cells: the hot loop, in which a plain cell is taken without a call.

        A plain cell has the row's timestamp, a value, and nothing else.
        """
        data = self._data
        size = len(data)
        position = self._position
        timestamp = self._timestamp
        dropped = self._dropped
        found: dict[str, Cell | ComplexColumn] = {}
        for name, length in columns:
            if length != COMPLEX and timestamp is not None and data[position] == CELL_USES_ROW_TIMESTAMP:
                position += 1
                taken = length
                if length == VARIABLE:
                    taken = data[position]
                    position += 1
                    if taken >= _ONE_BYTE:
                        taken, position = read_length(data, position - 1)
                end = position + taken
                if end > size:
                    raise MutationError(f"expected {taken} bytes of {name}, found {size - position}")
                cell = new_cell((data[position:end], timestamp, None, None, None))
                position = end
            else:
                self._position = position
                if length == COMPLEX:
                    self._complex(flags, name, found)
                    position = self._position
                    continue
                cell = self._cell(length, name)
                position = self._position
            if not dropped or cell.timestamp > dropped.get(name, _LIVE):
                found[name] = cell
        self._position = position
        return found

    def _complex(self, flags: int, name: str, found: dict[str, Cell | ComplexColumn]) -> None:
        """Decode a complex column's deletion and cells; add nothing to `found` when none of it is left."""
        dropped_at = self._dropped.get(name, _LIVE)
        deletion = None
        if flags & HAS_COMPLEX_DELETION:
            deletion = self._deletion()
            if deletion.timestamp <= dropped_at:
                deletion = None
        count, self._position = read_vint(self._data, self._position)
        cells = []
        while count:
            count -= 1
            cell = self._cell(COMPLEX, name)
            if dropped_at == _LIVE or cell.timestamp > dropped_at:
                cells.append(cell)
        if deletion is not None or cells:
            found[name] = new_complex_column((deletion, tuple(cells)))

    def _cell(self, length: int, name: str) -> Cell:
        data = self._data
        flags = data[self._position]
        self._position += 1
        timestamp, ttl, expires_at = self._timestamp, self._ttl, self._expires_at
        if not flags & CELL_USES_ROW_TIMESTAMP:
            delta, self._position = read_vint(data, self._position)
            timestamp = add_int64(delta, self._least)
        elif timestamp is None:
            raise MutationError(f"expected a timestamp for {name}, found a row without one")
        if not flags & CELL_USES_ROW_TTL:
            ttl = expires_at = None
            if flags & (CELL_IS_DELETED | CELL_IS_EXPIRING):
                ttl, expires_at = self._cell_times(flags)
        path: bytes | None = None
        if length == COMPLEX:
            path = self._bytes(VARIABLE)
        if flags & CELL_HAS_EMPTY_VALUE:
            return new_cell((None if flags & CELL_IS_DELETED else b"", timestamp, ttl, expires_at, path))
        return new_cell((self._bytes(length), timestamp, ttl, expires_at, path))

    def _bytes(self, length: int) -> bytes:
        """Read `length` bytes; when it is negative, read the length before them."""
        data = self._data
        start = self._position
        if length < 0:
            length, start = read_length(data, start)
        end = start + length
        if end > len(data):
            raise MutationError(f"expected {length} bytes, found {len(data) - start}")
        self._position = end
        return data[start:end]

    def _cell_times(self, flags: int) -> tuple[int | None, int]:
        """Decode a cell's own TTL and local deletion time; the latter comes first but depends on the former."""
        if not flags & CELL_IS_EXPIRING:
            return None, self._local_deletion_time(0)
        start = self._position
        _, position = read_vint(self._data, start)
        delta, position = read_vint(self._data, position)
        ttl = add_int32(delta, self._least_ttl)
        expires_at = self._local_deletion_time(ttl)
        self._position = position
        return ttl, expires_at

    def _deletion(self) -> Deletion:
        delta, self._position = read_vint(self._data, self._position)
        return new_deletion((add_int64(delta, self._least), self._local_deletion_time(0)))

    def _local_deletion_time(self, ttl: int) -> int:
        """Return seconds since the epoch (`Cell.decodeLocalDeletionTime`)."""
        delta, self._position = read_vint(self._data, self._position)
        seconds = add_int32(delta, 0) + self._least_deletion
        if seconds < 0:
            seconds = seconds & 0xFFFF_FFFF if self._unsigned else INVALID_DELETION_TIME
        elif seconds < ttl != _EXPIRED:
            seconds = INVALID_DELETION_TIME
        return seconds
