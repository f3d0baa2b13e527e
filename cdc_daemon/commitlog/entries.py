"""The entries of a section: one mutation each, both checksums checked.

An entry is the mutation's size, a CRC-32 of the size, the mutation, and a CRC-32 that runs over the size and
the mutation (`CommitLog.add`). Everything in a section lies before a sync marker, so Cassandra has finished
writing it: any inconsistency there is damage.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from cdc_daemon.commitlog.native import crc32
from cdc_daemon.commitlog.section import Section
from cdc_daemon.model.errors import CommitLogError, DamagedSegmentError

HEAD_SIZE: Final = 8
TAIL_SIZE: Final = 4
OVERHEAD: Final = HEAD_SIZE + TAIL_SIZE
"""Bytes of an entry around its mutation (`CommitLogSegment.ENTRY_OVERHEAD_SIZE`)."""
_SMALLEST: Final = 10
"""Bytes; Cassandra treats a smaller mutation as invalid (`CommitLogReader.readSection`, CASSANDRA-2128)."""

_head_at = struct.Struct(">II").unpack_from
_tail_at = struct.Struct(">I").unpack_from
_tail_and_head_at = struct.Struct(">III").unpack_from

_size_crcs: dict[int, int] = {}
"""CRC-32 of sizes seen before; sizes repeat, and a look-up is cheaper than computing it."""
_SIZE_CRCS: Final = 1 << 16


def read_entries(  # noqa: PLR0912 - the hot loop: calls would cost more than what they do
    section: Section, *, segment: str, problems: list[CommitLogError], from_position: int = 0
) -> Iterator[tuple[bytes, int]]:
    """Yield each entry's mutation, serialised, and the logical position of the entry's end.

    Damage is appended to `problems` as `DamagedSegmentError` with the damaged bytes in its attribute `data`.
    An entry with a damaged mutation is skipped. After a damaged size the rest of the section cannot be read.
    """
    data = section.data
    base = section.start
    end = len(data)
    position = max(section.resume, from_position) - base
    if position + OVERHEAD > end:
        if position < end:
            problems.append(_lost(section, position, segment, "expected an entry"))
        return
    size, size_crc = _head_at(data, position)
    while True:
        crc = _size_crcs.get(size)
        if crc is None:
            crc = _crc_of(size)
        if crc != size_crc:
            reason = f"expected the CRC of size {size} to be {crc:08x}, found {size_crc:08x}"
            if size == 0 and size_crc == 0:
                reason = "expected an entry, found zeros"
            problems.append(_lost(section, position, segment, reason))
            return
        start = position + HEAD_SIZE
        position = start + size
        following = position + TAIL_SIZE
        if following > end or size < _SMALLEST:
            reason = f"expected an entry of {_SMALLEST} to {end - start - TAIL_SIZE} bytes, found {size}"
            problems.append(_lost(section, start - HEAD_SIZE, segment, reason))
            return
        payload = data[start:position]
        found = crc32(payload, crc)
        if following + HEAD_SIZE <= end:
            expected, size, size_crc = _tail_and_head_at(data, position)
        else:
            (expected,) = _tail_at(data, position)
        if found == expected:
            yield payload, base + following
        else:
            reason = f"expected the mutation's CRC to be {found:08x}, found {expected:08x}"
            problems.append(_damage(section, start - HEAD_SIZE, following, segment, f"{reason}; the entry is skipped"))
        position = following
        if position + HEAD_SIZE > end:
            if position < end:
                problems.append(_lost(section, position, segment, "expected an entry"))
            return


def _crc_of(size: int) -> int:
    if len(_size_crcs) >= _SIZE_CRCS:
        _size_crcs.clear()
    crc = _size_crcs[size] = crc32(size.to_bytes(4, "big"))
    return crc


def _lost(section: Section, start: int, segment: str, reason: str) -> DamagedSegmentError:
    rest = len(section.data) - start
    return _damage(
        section, start, len(section.data), segment, f"{reason}; {rest} bytes up to the next section are lost"
    )


def _damage(section: Section, start: int, end: int, segment: str, message: str) -> DamagedSegmentError:
    return DamagedSegmentError(
        message,
        data=section.data[start:end],
        segment=segment,
        position=section.start + start,
        end=section.start + end,
    )
