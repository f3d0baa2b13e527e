"""A partition update, decoded: rows, cells and deletions as Cassandra keeps them, values still raw; and as JSON.

Write times are microseconds since the epoch, local deletion times seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.commitlog.values import decode_element, decode_path, decode_value

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


def raw_form(update: PartitionUpdate, *, segment_id: int) -> dict[str, Any]:
    """Return the update with keys, clusterings, paths and values in hex; a tombstone's value is None."""
    return {
        "segment_id": segment_id,
        "position": update.position,
        "table": str(update.table),
        "partition_key": update.partition_key.hex(),
        "deleted_at": update.deletion and update.deletion.timestamp,
        "static": update.static and _raw_row(update.static),
        "rows": [_raw_row(row) for row in update.rows],
        "range_tombstones": [
            {
                "start": _raw_clustering(each.start),
                "start_inclusive": each.start_inclusive,
                "end": _raw_clustering(each.end),
                "end_inclusive": each.end_inclusive,
                "deleted_at": each.deletion.timestamp,
            }
            for each in update.ranges
        ],
    }


def _raw_row(row: DecodedRow) -> dict[str, Any]:
    return {
        "clustering": _raw_clustering(row.clustering),
        "timestamp": row.timestamp,
        "ttl": row.ttl,
        "deleted_at": row.deletion and row.deletion.timestamp,
        "columns": {name: _raw_column(column) for name, column in row.columns.items()},
    }


def _raw_clustering(values: tuple[bytes | None, ...]) -> list[str | None]:
    return [None if value is None else value.hex() for value in values]


def _raw_column(column: Cell | ComplexColumn) -> dict[str, Any]:
    if isinstance(column, Cell):
        return {"cells": [_raw_cell(column)]}
    return {
        "deleted_at": column.deletion and column.deletion.timestamp,
        "cells": [{"path": (cell.path or b"").hex(), **_raw_cell(cell)} for cell in column.cells],
    }


def _raw_cell(cell: Cell) -> dict[str, Any]:
    return {
        "value": None if cell.value is None else cell.value.hex(),
        "timestamp": cell.timestamp,
        "ttl": cell.ttl,
    }


def value_form(update: PartitionUpdate, *, segment_id: int) -> dict[str, Any]:
    """Return the update with Python values, keys and clusterings by column name.

    A complex column's cells have `path`: a set's element, a map's key, a UDT's field, a list element's time UUID.
    Times stay numbers: microseconds for write times, seconds for local deletion times. Raises `MutationError`
    for a value that is invalid for its type.
    """
    table = update.table
    return {
        "segment_id": segment_id,
        "position": update.position,
        "keyspace": table.keyspace,
        "table": table.name,
        "partition_key": _named(table.partition_key, table.key_values(update.partition_key)),
        "deletion": _deletion(update.deletion),
        "static": update.static and _value_row(table, update.static),
        "rows": [_value_row(table, row) for row in update.rows],
        "range_tombstones": [
            {
                "start": _named(table.clustering, table.clustering_values(each.start)),
                "start_inclusive": each.start_inclusive,
                "end": _named(table.clustering, table.clustering_values(each.end)),
                "end_inclusive": each.end_inclusive,
                "deletion": _deletion(each.deletion),
            }
            for each in update.ranges
        ],
    }


def _named(columns: tuple[Column, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    return {column.name: value for column, value in zip(columns, values, strict=False)}


def _deletion(deletion: Deletion | None) -> dict[str, int] | None:
    return None if deletion is None else deletion._asdict()


def _value_row(table: TableMetadata, row: DecodedRow) -> dict[str, Any]:
    return {
        "clustering": _named(table.clustering, table.clustering_values(row.clustering)),
        "timestamp": row.timestamp,
        "ttl": row.ttl,
        "expires_at": row.expires_at,
        "deletion": _deletion(row.deletion),
        "columns": {name: _value_column(table.columns[name.encode()], column) for name, column in row.columns.items()},
    }


def _value_column(column: Column, content: Cell | ComplexColumn) -> dict[str, Any]:
    if isinstance(content, Cell):
        return {"value": decode_value(column.type, content.value), **_times(content)}
    return {
        "deletion": _deletion(content.deletion),
        "cells": [
            {
                "path": decode_path(column.type, cell.path or b""),
                "value": decode_element(column.type, cell.path or b"", cell.value),
                **_times(cell),
            }
            for cell in content.cells
        ],
    }


def _times(cell: Cell) -> dict[str, Any]:
    return {
        "timestamp": cell.timestamp,
        "ttl": cell.ttl,
        "local_deletion_time": cell.local_deletion_time,
    }
