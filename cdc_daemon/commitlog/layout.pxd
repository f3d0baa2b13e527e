cimport cython
from libc.stdint cimport int64_t, uint64_t

from cdc_daemon.commitlog.vint cimport read_length, read_vint

cdef unsigned char CELL_HAS_EMPTY_VALUE
cdef unsigned char CELL_IS_DELETED
cdef unsigned char CELL_IS_EXPIRING
cdef unsigned char CELL_USES_ROW_TIMESTAMP
cdef unsigned char CELL_USES_ROW_TTL
cdef Py_ssize_t COMPLEX
cdef dict ENDS
cdef unsigned char EXTENDED_IS_STATIC
cdef unsigned char HAS_EXTENDED_FLAGS
cdef dict STARTS
cdef Py_ssize_t VARIABLE
cdef Py_ssize_t _BITMAP_COLUMNS
cdef Py_ssize_t _CLUSTERING_BATCH
cdef Py_ssize_t _KNOWN_COLUMN_LISTS
cdef uint64_t _LARGEST


cdef class TableLayout:
    cdef readonly tuple clustering
    cdef readonly dict dropped
    cdef readonly object fixed_clustering
    cdef readonly dict lists
    cdef readonly bytes plain_prefix
    cdef readonly object table
    cdef bytes _expected

    @cython.locals(encoded=bytes, columns=tuple, start=Py_ssize_t, count=uint64_t, length=Py_ssize_t, end=Py_ssize_t)
    cpdef tuple read_columns(self, bytes data, Py_ssize_t position)

    cpdef bint find_prefix(self, bytes data, Py_ssize_t position)

    cdef _expect(self, bytes encoded)

    @cython.locals(index=Py_ssize_t, header=uint64_t, length=Py_ssize_t, end=Py_ssize_t, values=list)
    cpdef tuple read_clustering(self, bytes data, Py_ssize_t position, object count=*)

    cpdef tuple read_bound(self, bytes data, Py_ssize_t position)


cpdef int static_row_flags(bytes data, Py_ssize_t position) except -1
cpdef Py_ssize_t skip_extended_flags(bytes data, Py_ssize_t position) except -1

@cython.locals(encoded=uint64_t, count=uint64_t, present=uint64_t, listed=uint64_t, index=uint64_t)
cpdef tuple read_subset(bytes data, Py_ssize_t position, tuple columns)

@cython.locals(
    newest=uint64_t, expiring=bint, length=Py_ssize_t, count=uint64_t, delta=uint64_t, flags=cython.uchar,
    size=Py_ssize_t,
)
cpdef tuple skip_cells(bytes data, Py_ssize_t position, tuple columns, bint complex_deletions)
