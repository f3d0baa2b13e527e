"""Sync markers, which separate the sections of a segment.

A marker is two ints, the file position of the next marker and a CRC-32 over the segment's id and the marker's
own file position (`CommitLogSegment.writeSyncMarker`). The CRC does not cover the position that the marker points to.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from cdc_daemon.commitlog.descriptor import Buffer

MARKER_SIZE: Final = 8
_WINDOW: Final = 4 << 20
"""Bytes searched at a time."""

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
