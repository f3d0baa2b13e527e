cimport cython
from libc.stdint cimport int64_t, uint64_t

from cdc_daemon.commitlog.layout cimport TableLayout, read_subset, skip_extended_flags, static_row_flags
from cdc_daemon.commitlog.native cimport (
    new_cell,
    new_complex_column,
    new_deletion,
    new_range_tombstone,
    new_row,
    new_update,
)
from cdc_daemon.commitlog.vint cimport add_int32, add_int64, read_length, read_vint

cdef unsigned char CELL_HAS_EMPTY_VALUE
cdef unsigned char CELL_IS_DELETED
cdef unsigned char CELL_IS_EXPIRING
cdef unsigned char CELL_USES_ROW_TIMESTAMP
cdef unsigned char CELL_USES_ROW_TTL
cdef Py_ssize_t COMPLEX
cdef int64_t DELETION_TIME_EPOCH
cdef dict ENDS
cdef unsigned char END_OF_PARTITION
cdef unsigned char HAS_ALL_COLUMNS
cdef unsigned char HAS_COMPLEX_DELETION
cdef unsigned char HAS_DELETION
cdef unsigned char HAS_EXTENDED_FLAGS
cdef unsigned char HAS_PARTITION_DELETION
cdef unsigned char HAS_ROW_ESTIMATE
cdef unsigned char HAS_STATIC_ROW
cdef unsigned char HAS_TIMESTAMP
cdef unsigned char HAS_TTL
cdef int64_t INVALID_DELETION_TIME
cdef unsigned char IS_EMPTY
cdef unsigned char IS_MARKER
cdef dict STARTS
cdef int64_t TIMESTAMP_EPOCH
cdef Py_ssize_t VARIABLE
cdef int64_t _EXPIRED
cdef object _LIVE
cdef unsigned char _ONE_BYTE


cdef class UpdateDecoder:
    cdef bytes _data
    cdef dict _dropped
    cdef object _expires_at
    cdef int64_t _least
    cdef int64_t _least_deletion
    cdef int64_t _least_ttl
    cdef Py_ssize_t _position
    cdef object _timestamp
    cdef object _ttl
    cdef bint _unsigned

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

    @cython.locals(
        data=bytes, size=Py_ssize_t, position=Py_ssize_t, found=dict, length=Py_ssize_t, taken=Py_ssize_t,
        end=Py_ssize_t, name=str,
    )
    cdef dict _columns(self, unsigned char flags, tuple columns)

    @cython.locals(count=uint64_t, cells=list)
    cdef int _complex(self, unsigned char flags, str name, dict found) except -1

    @cython.locals(data=bytes, flags=cython.uchar, delta=uint64_t)
    cdef object _cell(self, Py_ssize_t length, str name)

    @cython.locals(data=bytes, start=Py_ssize_t, end=Py_ssize_t)
    cdef bytes _bytes(self, Py_ssize_t length)

    @cython.locals(start=Py_ssize_t, position=Py_ssize_t, delta=uint64_t)
    cdef tuple _cell_times(self, unsigned char flags)

    @cython.locals(delta=uint64_t)
    cdef object _deletion(self)

    @cython.locals(delta=uint64_t, seconds=int64_t)
    cdef int64_t _local_deletion_time(self, int64_t ttl) except? -1
