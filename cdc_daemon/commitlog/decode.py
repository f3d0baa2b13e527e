"""Full decoding of partition updates: every row, cell and deletion. Values stay raw, see `values`.

What Cassandra leaves out on reading is left out here too: cells and complex deletions no newer than the drop of
their column, and rows that hold nothing else (`DeserializationHelper.isDropped`, CASSANDRA-13337).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final

from cdc_daemon.commitlog import layout
from cdc_daemon.commitlog.descriptor import VERSION_50
from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.layout import DELETION_TIME_EPOCH, TIMESTAMP_EPOCH, TableLayout, read_subset
from cdc_daemon.commitlog.mutation import read_mutation
from cdc_daemon.commitlog.schema import Column, SchemaView
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import (
    INVALID_DELETION_TIME,
    Cell,
    ComplexColumn,
    DecodedRow,
    Deletion,
    PartitionUpdate,
    RangeTombstone,
)
from cdc_daemon.commitlog.vint import as_int32, as_int64, read_vint
from cdc_daemon.errors import CommitLogError, MutationError

_new = tuple.__new__

_EXPIRED: Final = 0x7FFF_FFFF
"""The TTL of a row that was found expired (`LivenessInfo.EXPIRED_LIVENESS_TTL`)."""
_LIVE: Final = -(1 << 63)
"""The timestamp of a deletion that is none (`DeletionTime.LIVE`)."""
_Bound = tuple[tuple[bytes | None, ...], bool]
"""A range's start: its values, and whether it is inclusive."""
_Liveness = tuple[int | None, int | None, int | None]
"""A row's timestamp, TTL and expiry, each None where it has none."""
_PLAIN_CELL: Final = layout.CELL_USES_ROW_TIMESTAMP
"""A cell with this flag alone has the row's timestamp, a value, and nothing else."""


def read_updates(
    section: Section,
    schema: SchemaView,
    *,
    segment: str,
    problems: list[CommitLogError],
    unknown: dict[bytes, int] | None = None,
    from_position: int = 0,
    only: Container[bytes] | None = None,
) -> Iterator[PartitionUpdate]:
    """Yield every partition update in `section` from logical position `from_position` on.

    With `only`, updates of tables whose id is not in it are left out. Damage (`DamagedSegmentError`) and
    mutations that cannot be read (`MutationError`, `UnknownTableError`) are appended to `problems`, with their
    bytes in `data`; updates of unknown tables are counted in `unknown` by table id.
    """
    decoder = Decoder(section.version)

    def layout_of(table_id: bytes) -> TableLayout | None:
        table = schema.get(table_id)
        return None if table is None else TableLayout.of(table)

    for payload, position in read_entries(section, segment=segment, problems=problems, from_position=from_position):
        try:
            updates, strangers = read_mutation(payload, layout_of, decoder.update)
        except MutationError as error:
            error.where.update(segment=segment, position=position)
            problems.append(error)
            continue
        if unknown is not None:
            for table_id in strangers:
                unknown[table_id] = unknown.get(table_id, 0) + 1
        for update in updates:
            if only is None or update.table.id in only:
                yield update._replace(position=position)


class Decoder:
    """Decodes updates of segments of one version; keeps the statistics of the update it is at."""

    __slots__ = ("_dropped", "_least", "_least_deletion", "_least_ttl", "_unsigned")

    def __init__(self, version: int) -> None:
        # In version 8 local deletion times are unsigned (CASSANDRA-14227), before they overflow in 2038.
        self._unsigned = version >= VERSION_50
        self._least = 0
        self._least_deletion = 0
        self._least_ttl = 0
        self._dropped: dict[str, int] = {}

    def update(self, data: bytes, position: int, table_layout: TableLayout) -> tuple[PartitionUpdate, int]:
        """Decode the update behind its table id; return it, with `position` 0, and the position after it.

        Raises `MutationError`, IndexError or struct.error where the bytes are no update of this table.
        """
        table = table_layout.table
        length, start = read_vint(data, position)
        position = start + length
        key = data[start:position]
        flags = data[position]
        position += 1
        if flags & layout.IS_EMPTY:
            return PartitionUpdate(table, key, 0, None, None, (), ()), position
        delta, position = read_vint(data, position)
        self._least = as_int64(delta + TIMESTAMP_EPOCH)
        delta, position = read_vint(data, position)
        self._least_deletion = as_int32(delta + DELETION_TIME_EPOCH)
        self._least_ttl, position = read_vint(data, position)
        self._dropped = table_layout.dropped
        static_columns: tuple[Column, ...] = ()
        if flags & layout.HAS_STATIC_ROW:
            static_columns, position = table_layout.read_columns(data, position)
        columns, position = table_layout.read_columns(data, position)
        deletion = static = None
        if flags & layout.HAS_PARTITION_DELETION:
            deletion, position = self._deletion(data, position)
        if flags & layout.HAS_STATIC_ROW:
            row_flags = layout.static_row_flags(data, position)
            static, position = self._row(data, position + 2, row_flags, (), static_columns)
        if flags & layout.HAS_ROW_ESTIMATE:
            _, position = read_vint(data, position)
        rows, ranges, position = self._unfiltereds(data, position, table_layout, columns)
        return PartitionUpdate(table, key, 0, deletion, static, rows, ranges), position

    def _unfiltereds(
        self, data: bytes, position: int, table_layout: TableLayout, columns: tuple[Column, ...]
    ) -> tuple[tuple[DecodedRow, ...], tuple[RangeTombstone, ...], int]:
        """Decode rows and markers up to the end of the partition."""
        rows: list[DecodedRow] = []
        ranges: list[RangeTombstone] = []
        opened: _Bound | None = None
        while True:
            flags = data[position]
            position += 1
            if flags & layout.END_OF_PARTITION:
                break
            if flags & layout.IS_MARKER:
                opened, position = self._marker(data, position, table_layout, opened, ranges)
                continue
            if flags & layout.HAS_EXTENDED_FLAGS:
                position = layout.skip_extended_flags(data, position)
            clustering, position = table_layout.read_clustering(data, position)
            row, position = self._row(data, position, flags, clustering, columns)
            if row is not None:
                rows.append(row)
        if opened is not None:
            raise MutationError("expected the end of a deleted range, found the end of the partition")
        return tuple(rows), tuple(ranges), position

    def _row(
        self,
        data: bytes,
        position: int,
        flags: int,
        clustering: tuple[bytes | None, ...],
        columns: tuple[Column, ...],
    ) -> tuple[DecodedRow | None, int]:
        """Decode a row behind its clustering; None where nothing is left of it."""
        timestamp = ttl = expires_at = deletion = None
        if flags & layout.HAS_TIMESTAMP:
            delta, position = read_vint(data, position)
            timestamp = as_int64(delta + self._least)
            if flags & layout.HAS_TTL:
                delta, position = read_vint(data, position)
                ttl = as_int32(delta + self._least_ttl)
                expires_at, position = self._local_deletion_time(data, position, ttl)
        if flags & layout.HAS_DELETION:
            deletion, position = self._deletion(data, position)
        if not flags & layout.HAS_ALL_COLUMNS:
            columns, position = read_subset(data, position, columns)
        found, position = self._columns(data, position, flags, columns, (timestamp, ttl, expires_at))
        if not found and timestamp is None and deletion is None:
            return None, position
        return DecodedRow(clustering, timestamp, ttl, expires_at, deletion, found), position

    def _columns(
        self, data: bytes, position: int, flags: int, columns: tuple[Column, ...], liveness: _Liveness
    ) -> tuple[dict[str, Cell | ComplexColumn], int]:
        """Decode a row's cells: the hot loop, in which a plain cell is taken without a call."""
        timestamp = liveness[0]
        dropped = self._dropped
        found: dict[str, Cell | ComplexColumn] = {}
        for column in columns:
            if column.multi_cell:
                complex_column, position = self._complex(data, position, flags, column, liveness)
                if complex_column is not None:
                    found[column.name] = complex_column
                continue
            if data[position] == _PLAIN_CELL and timestamp is not None:
                start = position + 1
                length = column.fixed_length
                if length is None:
                    length = data[start]
                    if length < 0x80:
                        start += 1
                    else:
                        length, start = read_vint(data, start)
                position = start + length
                cell: Cell = _new(Cell, (data[start:position], timestamp, None, None, None))
            else:
                cell, position = self._cell(data, position, column, liveness)
            if not dropped or cell.timestamp > dropped.get(column.name, _LIVE):
                found[column.name] = cell
        return found, position

    def _complex(
        self, data: bytes, position: int, flags: int, column: Column, liveness: _Liveness
    ) -> tuple[ComplexColumn | None, int]:
        """Decode a complex column's deletion and cells; None where nothing is left of it."""
        dropped_at = self._dropped.get(column.name, _LIVE)
        deletion = None
        if flags & layout.HAS_COMPLEX_DELETION:
            deletion, position = self._deletion(data, position)
            if deletion.timestamp <= dropped_at:
                deletion = None
        count, position = read_vint(data, position)
        cells = []
        while count:
            count -= 1
            cell, position = self._cell(data, position, column, liveness)
            if cell.timestamp > dropped_at:
                cells.append(cell)
        if deletion is None and not cells:
            return None, position
        return ComplexColumn(deletion, tuple(cells)), position

    def _cell(self, data: bytes, position: int, column: Column, liveness: _Liveness) -> tuple[Cell, int]:
        flags = data[position]
        position += 1
        timestamp, ttl, expires_at = liveness
        if not flags & layout.CELL_USES_ROW_TIMESTAMP:
            delta, position = read_vint(data, position)
            timestamp = as_int64(delta + self._least)
        elif timestamp is None:
            raise MutationError(f"expected a timestamp for {column.name}, found a row without one")
        if not flags & layout.CELL_USES_ROW_TTL:
            ttl, expires_at, position = self._cell_times(data, position, flags)
        path = None
        if column.multi_cell:
            length, start = read_vint(data, position)
            position = start + length
            path = data[start:position]
        if flags & layout.CELL_HAS_EMPTY_VALUE:
            return Cell(None if flags & layout.CELL_IS_DELETED else b"", timestamp, ttl, expires_at, path), position
        # A complex column's type has no fixed length, whatever its elements have (`getType(column)`).
        known = None if column.multi_cell else column.fixed_length
        length, start = read_vint(data, position) if known is None else (known, position)
        position = start + length
        return Cell(data[start:position], timestamp, ttl, expires_at, path), position

    def _cell_times(self, data: bytes, position: int, flags: int) -> tuple[int | None, int | None, int]:
        """Decode a cell's own TTL and local deletion time; the latter comes first but depends on the former."""
        if not flags & (layout.CELL_IS_DELETED | layout.CELL_IS_EXPIRING):
            return None, None, position
        ttl = None
        start = position
        _, position = read_vint(data, position)
        if flags & layout.CELL_IS_EXPIRING:
            delta, position = read_vint(data, position)
            ttl = as_int32(delta + self._least_ttl)
        expires_at, _ = self._local_deletion_time(data, start, ttl or 0)
        return ttl, expires_at, position

    def _marker(
        self,
        data: bytes,
        position: int,
        table_layout: TableLayout,
        opened: _Bound | None,
        ranges: list[RangeTombstone],
    ) -> tuple[_Bound | None, int]:
        """Decode a bound behind its flags: append the range it closes, return the one it opens."""
        kind, values, position = table_layout.read_bound(data, position)
        closes, opens = layout.ENDS.get(kind), layout.STARTS.get(kind)
        if (closes is None) != (opened is None):
            raise MutationError(
                f"expected the {'start' if opened is None else 'end'} of a deleted range, found kind {kind}"
            )
        if opened is not None and closes is not None:
            deletion, position = self._deletion(data, position)
            ranges.append(RangeTombstone(*opened, values, closes, deletion))
        if opens is None:
            return None, position
        _, position = self._deletion(data, position)
        return (values, opens), position

    def _deletion(self, data: bytes, position: int) -> tuple[Deletion, int]:
        delta, position = read_vint(data, position)
        local_deletion_time, position = self._local_deletion_time(data, position, 0)
        return Deletion(as_int64(delta + self._least), local_deletion_time), position

    def _local_deletion_time(self, data: bytes, position: int, ttl: int) -> tuple[int, int]:
        """Seconds since the epoch (`Cell.decodeLocalDeletionTime`)."""
        delta, position = read_vint(data, position)
        seconds = as_int32(delta) + self._least_deletion
        if seconds < 0:
            seconds = seconds & 0xFFFF_FFFF if self._unsigned else INVALID_DELETION_TIME
        elif seconds < ttl != _EXPIRED:
            seconds = INVALID_DELETION_TIME
        return seconds, position
