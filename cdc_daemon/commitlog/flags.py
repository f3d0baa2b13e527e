"""The flags of updates, rows and cells, and the kinds of bounds and lengths: the same in Cassandra 4.0 to 5.0."""

from __future__ import annotations

from typing import Final

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

# Our own stand-ins for the length of values without a fixed one.
VARIABLE: Final = -1
"""The length of values that are each preceded by their own length."""
COMPLEX: Final = -2
"""The length of columns with many cells; their values are variable, regardless of the element type."""
