"""Functions that run in C if compiled: the CRC-32, the creation of records, and the scan of plain mutations.

These are the Python versions; `native.pyx` has the compiled ones. Python has no fast way to scan plain mutations, so
`scan_plain` is None here and `keys` reads them itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar
from zlib import crc32

from cdc_daemon.commitlog.key_update import KeyUpdate
from cdc_daemon.commitlog.layout import TableLayout
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import Cell, ComplexColumn, DecodedRow, Deletion, PartitionUpdate, RangeTombstone

__all__ = [
    "crc32",
    "new_cell",
    "new_complex_column",
    "new_deletion",
    "new_range_tombstone",
    "new_row",
    "new_update",
    "scan_plain",
]

T = TypeVar("T", bound=tuple[Any, ...])


def _maker(kind: type[T]) -> Callable[[tuple[Any, ...]], T]:
    """Return a function that creates a record from the tuple of all its fields.

    A named tuple's own call checks and names its arguments, which takes longer than creating the tuple.
    """
    return partial(tuple.__new__, kind)


new_cell: Final = _maker(Cell)
new_complex_column: Final = _maker(ComplexColumn)
new_deletion: Final = _maker(Deletion)
new_range_tombstone: Final = _maker(RangeTombstone)
new_row: Final = _maker(DecodedRow)
new_update: Final = _maker(PartitionUpdate)

scan_plain: Callable[[Section, int, dict[bytes, TableLayout], list[KeyUpdate], int | None], tuple[int, int]] | None
scan_plain = None
"""Reads plain mutations of tables in the given layouts from a logical position on, up to the given number.

It appends their updates, and returns their number and the position after them. It reads nothing else and leaves
damage to the caller.
"""
