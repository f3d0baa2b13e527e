"""Decoding a row's cells: values stay raw, see `values`.

Cells and complex deletions no newer than the drop of their column are left out, as Cassandra does
(`DeserializationHelper.isDropped`).
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
    HAS_COMPLEX_DELETION,
    VARIABLE,
)
from cdc_daemon.commitlog.layout import ColumnLayout
from cdc_daemon.commitlog.records import new_cell, new_complex_column, new_deletion
from cdc_daemon.commitlog.update import INVALID_DELETION_TIME, Cell, ComplexColumn, Deletion
from cdc_daemon.commitlog.vint import add_int32, add_int64, read_length, read_vint
from cdc_daemon.model.errors import MutationError

_EXPIRED: Final = 0x7FFF_FFFF
"""The TTL of a row that was found expired (`LivenessInfo.EXPIRED_LIVENESS_TTL`)."""
_LIVE: Final = -(1 << 63)
"""The timestamp that stands for no deletion (`DeletionTime.LIVE`)."""
_ONE_BYTE: Final = 0x80
"""Vints below it are one byte."""


class CellDecoder:
    """Decodes cells and deletions of segments of one version.

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
