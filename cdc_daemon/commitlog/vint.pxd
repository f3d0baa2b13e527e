from libc.stdint cimport int64_t, uint64_t


cpdef (uint64_t, Py_ssize_t) read_vint(bytes data, Py_ssize_t position)
cpdef (Py_ssize_t, Py_ssize_t) read_length(bytes data, Py_ssize_t position)
cpdef int64_t add_int32(uint64_t delta, int64_t base) noexcept
cpdef int64_t add_int64(uint64_t delta, int64_t base) noexcept
