# cython: language_level=3
"""The CRC-32 of entries, compiled: see `checksum.h`."""

from libc.stdint cimport uint32_t


cdef extern from "checksum.h":
    void checksum_prepare()
    uint32_t checksum_crc32(uint32_t value, const unsigned char *data, size_t size)


checksum_prepare()
__all__ = ["crc32"]


def crc32(bytes data not None, uint32_t value=0):
    """Return the CRC-32 of `data`, going on from `value`, as `zlib.crc32` does."""
    return checksum_crc32(value, data, len(data))
