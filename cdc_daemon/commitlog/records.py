"""Fast creation of the records of `update` in hot loops: each from the complete tuple of its fields.

A named tuple's own call checks and names its arguments, which takes longer than creating the tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from cdc_daemon.commitlog.update import Cell, ComplexColumn, DecodedRow, Deletion, PartitionUpdate, RangeTombstone

T = TypeVar("T", bound=tuple[Any, ...])


def _maker(kind: type[T]) -> Callable[[tuple[Any, ...]], T]:
    return partial(tuple.__new__, kind)


new_cell: Final = _maker(Cell)
new_complex_column: Final = _maker(ComplexColumn)
new_deletion: Final = _maker(Deletion)
new_range_tombstone: Final = _maker(RangeTombstone)
new_row: Final = _maker(DecodedRow)
new_update: Final = _maker(PartitionUpdate)
