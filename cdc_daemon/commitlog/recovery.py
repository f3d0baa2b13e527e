"""Recovery of segments with a damaged header, from their name and their sync markers.

A segment's name gives its version and id, and with the id each marker can be recognised by its CRC. The header's
compression and encryption are used if they can still be read and the first section agrees. Otherwise the first
section shows its compression. An encrypted segment cannot be read without the vector in the header.
"""

from __future__ import annotations

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
from cdc_daemon.commitlog.markers import MARKER_SIZE, Markers
from cdc_daemon.model.errors import DamagedSegmentError, UnsupportedSegmentError

HEADER_PASSED: Final = "the file's name and its sync markers are gone by"
"""Message about how a segment with a damaged header is read."""
_LONGEST_HEADER: Final = PARAMETERS_AT + 0xFFFF + 4
"""Bytes: the length of the parameters is a short."""
_CRC_SIZE: Final = 4
_SECTIONS_TRIED: Final = 8
"""Sections that are searched for an entry; an empty one shows nothing."""

_size_and_crc = struct.Struct(">II").unpack_from
_int_at = struct.Struct(">I").unpack


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
    said = _said_by_header(buffer, plain, segment)
    if said is not None and said.encryption is not None:
        return said
    guesses = [plain, *(replace(plain, compression=name) for name in COMPRESSORS)]
    if said is not None:
        guesses.insert(0, said)
    sections = list(_sections(buffer, markers, first))
    return next((guess for guess in guesses if any(_fits(guess, data) for data in sections)), said)


def _said_by_header(buffer: Buffer, plain: SegmentDescriptor, segment: str) -> SegmentDescriptor | None:
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
        return f"reading goes on at {resumed}"
    if has_rest:
        return "what follows is read up to the first entry that is not whole, and the rest of the segment is lost"
    return "the rest of the segment is lost"
