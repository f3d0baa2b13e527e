"""Sync markers, which separate the sections of a segment, and the recovery of a damaged header from them.

A marker is two ints, the file position of the next marker and a CRC-32 over the segment's id and the marker's
own file position (`CommitLogSegment.writeSyncMarker`). The CRC does not cover the position that the marker points to.

If a segment's header is damaged, its name gives its version and id, and with the id each marker can be recognised by
its CRC. The header's compression and encryption are used if they can still be read and the first section agrees.
Otherwise the first section shows its compression. An encrypted segment cannot be read without the vector in the header.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from cdc_daemon.commitlog.compression import COMPRESSORS, decompress
from cdc_daemon.commitlog.descriptor import (
    PARAMETERS_AT,
    VERSIONS,
    Buffer,
    SegmentDescriptor,
    describe,
    parse_segment_name,
)
from cdc_daemon.model.errors import DamagedSegmentError, UnsupportedSegmentError

MARKER_SIZE: Final = 8
_WINDOW: Final = 4 << 20
"""Bytes searched at a time."""

HEADER_RECOVERED: Final = "the file's name and its sync markers are used instead"
"""Text on how a segment with a damaged header is read."""
_LONGEST_HEADER: Final = PARAMETERS_AT + 0xFFFF + 4
"""Bytes: the length of the parameters is a short."""
_CRC_SIZE: Final = 4
_SECTIONS_TRIED: Final = 8
"""Sections that are searched for an entry; an empty one shows nothing."""

_size_and_crc = struct.Struct(">II").unpack_from
_int_at = struct.Struct(">I").unpack
_marker_at = struct.Struct(">II").unpack
_crc_input = struct.Struct(">III").pack


class Markers:
    """The markers in one segment's file, which may still grow."""

    def __init__(self, buffer: Buffer, segment_id: int) -> None:
        self._buffer = buffer
        self._id = segment_id

    def refill(self, buffer: Buffer) -> None:
        """Continue with a newer or longer view of the same segment."""
        self._buffer = buffer

    def read(self, position: int) -> tuple[int, int] | None:
        """Return the two ints at a file position; None when the file ends before they do."""
        raw = bytes(self._buffer[position : position + MARKER_SIZE])
        if len(raw) < MARKER_SIZE:
            return None
        end, crc = _marker_at(raw)
        return end, crc

    def crc(self, position: int) -> int:
        """Return the CRC that a marker at a file position has."""
        return zlib.crc32(_crc_input(self._id & 0xFFFF_FFFF, self._id >> 32 & 0xFFFF_FFFF, position))

    def find(self, start: int) -> int | None:
        """Return the file position of the first valid marker from `start` on; None when there is none."""
        for candidate in self._candidates(start, len(self._buffer)):
            pair = self.read(candidate)
            if pair is not None and pair[1] == self.crc(candidate):
                return candidate
        return None

    def _candidates(self, start: int, size: int) -> Iterator[int]:
        """Yield file positions from `start` on that could hold a marker: one that points to a later position."""
        first_byte = b"[\\x00-" + re.escape(bytes((size >> 24 & 0xFF,))) + b"]"
        possible = re.compile(b"(?!\\x00{4})" + first_byte, re.DOTALL)
        for window in range(start, size - MARKER_SIZE + 1, _WINDOW):
            data = bytes(self._buffer[window : min(window + _WINDOW + MARKER_SIZE, size)])
            last = min(_WINDOW, len(data.rstrip(b"\0")), len(data) - MARKER_SIZE + 1)
            for match in possible.finditer(data, 0, last):
                at = match.start()
                position = window + at
                if position + MARKER_SIZE <= int.from_bytes(data[at : at + 4], "big") <= size:
                    yield position


def recover_descriptor(buffer: Buffer, *, segment: str) -> SegmentDescriptor | None:
    """Return the descriptor that can be recovered without the header; None when the segment cannot be read.

    `segment` is the file's name. An undamaged segment under another's name is not recovered either: its markers do
    not fit the name.
    """
    named = parse_segment_name(segment.rpartition("/")[2])
    if named is None or named[0] not in VERSIONS:
        return None
    version, segment_id = named
    markers = Markers(buffer, segment_id)
    first = markers.find(0)
    if first is None:
        return None
    plain = SegmentDescriptor(version, segment_id, compression=None, encryption=None, header_size=first)
    stated = _from_parameters(buffer, plain, segment)
    if stated is not None and stated.encryption is not None:
        return stated
    guesses = [plain, *(replace(plain, compression=name) for name in COMPRESSORS)]
    if stated is not None:
        guesses.insert(0, stated)
    sections = list(_sections(buffer, markers, first))
    return next((guess for guess in guesses if any(_fits(guess, data) for data in sections)), stated)


def _from_parameters(buffer: Buffer, plain: SegmentDescriptor, segment: str) -> SegmentDescriptor | None:
    """Read the parameters before the first marker; None when these bytes are no parameters."""
    if plain.header_size > _LONGEST_HEADER:
        return None
    parameters = bytes(buffer[PARAMETERS_AT : plain.header_size - _CRC_SIZE])
    try:
        return describe(plain.version, plain.id, parameters, header_size=plain.header_size, segment=segment)
    except UnsupportedSegmentError:
        return None


def _sections(buffer: Buffer, markers: Markers, first: int) -> Iterator[bytes]:
    """Yield the first sections as they are stored."""
    marker = first
    for _ in range(_SECTIONS_TRIED):
        pair = markers.read(marker)
        if pair is None or pair[1] != markers.crc(marker) or not marker + MARKER_SIZE <= pair[0] <= len(buffer):
            return
        if pair[0] > marker + MARKER_SIZE:
            yield bytes(buffer[marker + MARKER_SIZE : pair[0]])
        marker = pair[0]


def _fits(guess: SegmentDescriptor, stored: bytes) -> bool:
    """Return whether a section begins with an entry when it is decompressed as in a segment of this kind."""
    data = stored
    if guess.compression is not None:
        if len(stored) < _CRC_SIZE:
            return False
        try:
            data = decompress(guess.compression, stored[4:], _int_at(stored[:4])[0])
        except DamagedSegmentError:
            return False
    if len(data) < 2 * _CRC_SIZE:
        return False
    return bool(_size_and_crc(data)[1] == zlib.crc32(data[:4]))


def how_it_ends(resumed: int | None, *, has_rest: bool) -> str:
    """Return how a segment is read after damage to its markers, by the result of `SectionReader.resynchronise`."""
    if resumed is not None:
        return f"reading continues at {resumed}"
    if has_rest:
        return "entries are read up to the first incomplete one; the rest of the segment is lost"
    return "the rest of the segment is lost"
