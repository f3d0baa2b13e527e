"""Segments whose header is damaged: read by what their name and their sync markers say.

A segment's name gives its version and id, and with the id each marker shows itself by its CRC. What the header says
of compression and encryption is believed as far as it can still be read and the first section agrees; where it
cannot, the first section tells how it is compressed. Without the vector that stands in the header an encrypted
segment stays closed.
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
"""What becomes of a segment whose header is damaged."""
_LONGEST_HEADER: Final = PARAMETERS_AT + 0xFFFF + 4
"""Bytes: the length of the parameters is a short."""
_CRC_SIZE: Final = 4
_SECTIONS_TRIED: Final = 8
"""Sections looked into for an entry; an empty one says nothing."""

_size_and_crc = struct.Struct(">II").unpack_from
_int_at = struct.Struct(">I").unpack


def recover_descriptor(buffer: Buffer, *, segment: str) -> SegmentDescriptor | None:
    """Return what can be known of a segment without its header; None where that is too little to read it.

    `segment` is the file's name. What is not damaged, such as a segment under another's name, is not recovered
    either: its markers do not fit its name.
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
    """Read the parameters that stand before the first marker, if these bytes still are some."""
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
    """Tell whether a section begins with an entry when it is undone as a segment of this kind is."""
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
    """Say what becomes of a segment behind damage to its markers, by what `SectionReader.resynchronise` found."""
    if resumed is not None:
        return f"reading goes on at {resumed}"
    if has_rest:
        return "what follows is read up to the first entry that is not whole, and the rest of the segment is lost"
    return "the rest of the segment is lost"
