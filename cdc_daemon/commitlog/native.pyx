# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled functions: see `native.py`, for the CRC-32 `checksum.h`, for plain mutations `keys.py`."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from cdc_daemon.commitlog.key_update import KeyUpdate, RowKey
from cdc_daemon.commitlog.layout import TIMESTAMP_EPOCH
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


cdef extern from "checksum.h":
    void checksum_prepare()
    uint32_t checksum_crc32(uint32_t value, const unsigned char *data, size_t size)


checksum_prepare()


def crc32(bytes data not None, uint32_t value=0):
    """Return the CRC-32 of `data`, going on from `value`, as `zlib.crc32` does."""
    return checksum_crc32(value, data, len(data))


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


cdef object _new = tuple.__new__
cdef tuple _ONE_ROW = (RowKey((), deleted=False),)
cdef int64_t _EPOCH = TIMESTAMP_EPOCH
# What keys.py calls by these names.
cdef unsigned int _PLAIN_UPDATE = 0x10 << 7 | 0b1111_110
cdef uint64_t _PLAIN_TIMESTAMP = (<uint64_t>1 << 49) - 1
cdef unsigned char _NOT_PLAIN = 0x01 | 0x02 | 0x08 | 0x10 | 0x80


cdef inline uint32_t _int_at(const unsigned char *data) noexcept:
    return <uint32_t>data[0] << 24 | <uint32_t>data[1] << 16 | <uint32_t>data[2] << 8 | data[3]


cdef inline bint _opens_range(const unsigned char *data, const unsigned char *end) noexcept:
    while end - data >= 3:
        data = <const unsigned char *>memchr(data, 0x02, end - data - 2)
        if data is NULL:
            return False
        if (data[1] == 1 or data[1] == 7) and data[2] == 0:
            return True
        data += 1
    return False


def scan_plain(section, position, dict layouts not None, list updates not None, limit):
    """Append the updates of the plain mutations from `position` on; return how many, and the position after them."""
    cdef bytes data = section.data
    cdef const unsigned char *start = data
    cdef Py_ssize_t base = section.start
    cdef Py_ssize_t entry = position - base
    cdef Py_ssize_t end = len(data)
    cdef Py_ssize_t most = -1 if limit is None else limit
    cdef Py_ssize_t taken = 0
    cdef Py_ssize_t size, body, stop, key_end, at, length
    cdef const unsigned char *table_id = NULL
    cdef const unsigned char *expected = NULL
    cdef Py_ssize_t expected_size = 0
    cdef bytes prefix = b""
    cdef object table_layout = None, table = None, value
    cdef tuple lengths = (), rows
    cdef list values
    cdef uint32_t crc
    cdef uint64_t head, delta
    cdef int64_t timestamp
    cdef unsigned char flags, more
    cdef bint plain

    while taken != most and entry >= 0 and end - entry >= 48:
        size = _int_at(start + entry)
        if size < 36 or size > end - entry - 12:
            break
        crc = checksum_crc32(0, start + entry, 4)
        if crc != _int_at(start + entry + 4):
            break
        body = entry + 8
        stop = body + size
        if start[body] != 1 or start[body + 17] >= 0x80:
            break
        if checksum_crc32(crc, start + body, size) != _int_at(start + stop):
            break
        if table_id is NULL or memcmp(table_id, start + body + 1, 16) != 0:
            table_layout = layouts.get(data[body + 1:body + 17])
            if table_layout is None:
                break
            table_id = start + body + 1
            table = table_layout.table
            lengths = table_layout.clustering
            prefix = table_layout.plain_prefix
            expected = prefix
            expected_size = len(prefix)
        key_end = body + 18 + start[body + 17]
        at = key_end + 8
        if at >= stop:
            break
        head = <uint64_t>_int_at(start + key_end) << 32 | _int_at(start + key_end + 4)
        if head >> 49 != _PLAIN_UPDATE:
            break
        if stop - at < expected_size or memcmp(start + at, expected, expected_size) != 0:
            if not table_layout.find_prefix(data, at):
                break
            prefix = table_layout.plain_prefix
            expected = prefix
            expected_size = len(prefix)
        at += expected_size
        if at + 1 >= stop:
            break
        flags = start[at]
        at += 1
        if flags & _NOT_PLAIN:
            break
        rows = _ONE_ROW
        if lengths:
            plain = start[at] == 0
            at += 1
            values = []
            for value in lengths:
                if value is None:
                    if at >= stop or start[at] >= 0x80:
                        plain = False
                        break
                    length = start[at]
                    at += 1
                else:
                    length = value
                if length > stop - at:
                    plain = False
                    break
                values.append(data[at:at + length])
                at += length
            if not plain or _opens_range(start + at, start + stop):
                break
            rows = (_new(RowKey, (tuple(values), False)),)
        timestamp = <int64_t>(head & _PLAIN_TIMESTAMP) + _EPOCH
        if flags & 0x04:
            if at >= stop:
                break
            if start[at]:
                more = 0
                while more < 8 and start[at] & (0x80 >> more):
                    more += 1
                if more > 6 or at + more >= stop:
                    break
                delta = start[at] & (0xFF >> more)
                for length in range(1, more + 1):
                    delta = delta << 8 | start[at + length]
                timestamp += <int64_t>delta
        updates.append(
            _new(
                KeyUpdate,
                (table, data[body + 18:key_end], base + stop + 4, timestamp, (), None, False, rows, ()),
            )
        )
        taken += 1
        entry = stop + 4
    return taken, base + entry
