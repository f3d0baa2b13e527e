# cython: language_level=3
"""Making the records of `update`, compiled: see `records.py`."""

from cdc_daemon.commitlog.update import Cell, ComplexColumn, DecodedRow, Deletion, PartitionUpdate, RangeTombstone

__all__ = ["new_cell", "new_complex_column", "new_deletion", "new_range_tombstone", "new_row", "new_update"]


cdef extern from "records.h":
    object records_new(object kind, object fields)


cdef object _cell = Cell
cdef object _complex_column = ComplexColumn
cdef object _deletion = Deletion
cdef object _range_tombstone = RangeTombstone
cdef object _row = DecodedRow
cdef object _update = PartitionUpdate


cpdef object new_cell(tuple fields):
    return records_new(_cell, fields)


cpdef object new_complex_column(tuple fields):
    return records_new(_complex_column, fields)


cpdef object new_deletion(tuple fields):
    return records_new(_deletion, fields)


cpdef object new_range_tombstone(tuple fields):
    return records_new(_range_tombstone, fields)


cpdef object new_row(tuple fields):
    return records_new(_row, fields)


cpdef object new_update(tuple fields):
    return records_new(_update, fields)
