"""Full decoding of one partition update: every row, cell and deletion.

It omits the same data as Cassandra's own reader: cells of dropped columns, see `cells`, and rows that hold nothing
else (CASSANDRA-13337).
"""

from __future__ import annotations

from cdc_daemon.commitlog.cells import CellDecoder
from cdc_daemon.commitlog.flags import (
    END_OF_PARTITION,
    ENDS,
    HAS_ALL_COLUMNS,
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
    skip_extended_flags,
    static_row_flags,
)
from cdc_daemon.commitlog.records import new_range_tombstone, new_row, new_update
from cdc_daemon.commitlog.update import DecodedRow, PartitionUpdate, RangeTombstone
from cdc_daemon.commitlog.vint import add_int32, add_int64, read_length, read_vint
from cdc_daemon.model.errors import MutationError


class Decoder(CellDecoder):
    """Decodes whole updates."""

    __slots__ = ()

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
