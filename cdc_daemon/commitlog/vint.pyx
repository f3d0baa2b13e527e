# cython: language_level=3, boundscheck=False, wraparound=False
"""Cassandra's variable-length integers, compiled: see `vint.py`."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from cdc_daemon.model.errors import MutationError

__all__ = ["LENGTHS", "MAX_LENGTH", "VALUE_BITS", "add_int32", "add_int64", "read_length", "read_vint"]

MAX_LENGTH = 9


def _leading_ones(byte):
    return 8 - (byte ^ 0xFF).bit_length()


LENGTHS = bytes(1 + _leading_ones(byte) for byte in range(256))
VALUE_BITS = tuple(
    (0xFF >> _leading_ones(byte)) << 8 * _leading_ones(byte) | (1 << 8 * _leading_ones(byte)) - 1 for byte in range(256)
)

cdef bytes _all_lengths = LENGTHS
cdef const unsigned char *_lengths = _all_lengths


cpdef (uint64_t, Py_ssize_t) read_vint(bytes data, Py_ssize_t position):
    cdef const unsigned char *start = data
    cdef Py_ssize_t size = len(data)
    cdef Py_ssize_t end
    cdef unsigned char first
    cdef uint64_t value
    if position < 0 or position >= size:
        raise MutationError("expected a vint, found the end of the bytes", at=position)
    first = start[position]
    if first < 0x80:
        return first, position + 1
    end = position + _lengths[first]
    if end > size:
        raise MutationError(f"expected a vint of {_lengths[first]} bytes, found {size - position}", at=position)
    value = first & (0xFF >> (_lengths[first] - 1))
    position += 1
    while position < end:
        value = value << 8 | start[position]
        position += 1
    return value, end


cpdef (Py_ssize_t, Py_ssize_t) read_length(bytes data, Py_ssize_t position):
    cdef uint64_t length
    length, position = read_vint(data, position)
    if length > <uint64_t>(len(data) - position):
        raise MutationError(f"expected {length} bytes, found the end after {len(data) - position}", at=position)
    return <Py_ssize_t>length, position


cpdef int64_t add_int32(uint64_t delta, int64_t base) noexcept:
    return <int32_t><uint32_t>(delta + <uint64_t>base)


cpdef int64_t add_int64(uint64_t delta, int64_t base) noexcept:
    return <int64_t>(delta + <uint64_t>base)
