cimport cython
from libc.stdint cimport int64_t, uint64_t

from cdc_daemon.commitlog.cells cimport CellDecoder
from cdc_daemon.commitlog.layout cimport TableLayout, read_subset, skip_extended_flags, static_row_flags
from cdc_daemon.commitlog.records cimport new_range_tombstone, new_row, new_update
from cdc_daemon.commitlog.vint cimport add_int32, add_int64, read_length, read_vint

cdef int64_t DELETION_TIME_EPOCH
cdef unsigned char END_OF_PARTITION
cdef dict ENDS
cdef unsigned char HAS_ALL_COLUMNS
cdef unsigned char HAS_DELETION
cdef unsigned char HAS_EXTENDED_FLAGS
cdef unsigned char HAS_PARTITION_DELETION
cdef unsigned char HAS_ROW_ESTIMATE
cdef unsigned char HAS_STATIC_ROW
cdef unsigned char HAS_TIMESTAMP
cdef unsigned char HAS_TTL
cdef unsigned char IS_EMPTY
cdef unsigned char IS_MARKER
cdef dict STARTS
cdef int64_t TIMESTAMP_EPOCH


cdef class Decoder(CellDecoder):
    @cython.locals(
        length=Py_ssize_t, flags=cython.uchar, row_flags=cython.uchar, delta=uint64_t, key=bytes,
        static_columns=tuple, columns=tuple, rows=tuple, ranges=tuple,
    )
    cpdef tuple update(self, bytes data, Py_ssize_t position, TableLayout table_layout, object place=*)

    @cython.locals(data=bytes, clustered=bint, rows=list, ranges=list, flags=cython.uchar, clustering=tuple)
    cdef tuple _unfiltereds(self, TableLayout table_layout, tuple columns)

    @cython.locals(data=bytes, delta=uint64_t, found=dict)
    cdef object _row(self, unsigned char flags, tuple clustering, tuple columns)

    cdef object _marker(self, TableLayout table_layout, object opened, list ranges)
