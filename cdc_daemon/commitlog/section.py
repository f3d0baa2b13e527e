"""From a segment's bytes to its sections: following the sync markers while the segment still grows.

A marker is two ints, the file position of the next marker and a CRC-32 over the segment's id and the marker's
own file position (`CommitLogSegment.writeSyncMarker`). What lies between two markers is a section: entries as
they are, or, where the segment is compressed or encrypted, the section's plain length as an int and then
the transformed bytes (`CompressedSegment.write`, `EncryptedSegment.write`). Positions in the index file and in
checkpoints are logical: they count markers and plain bytes, as if nothing were transformed.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cdc_daemon.commitlog.compression import decompress
from cdc_daemon.commitlog.descriptor import VERSION_40, Buffer, SegmentDescriptor
from cdc_daemon.commitlog.encryption import Decryptor, Keyring
from cdc_daemon.errors import DamagedSegmentError, UnsupportedSegmentError

MARKER_SIZE: Final = 8
_LENGTH_SIZE: Final = 4
_PIECE: Final = 4 << 20
"""Bytes; a longer section of an uncompressed segment is handed out in pieces of about this size."""

_marker_at = struct.Struct(">II").unpack
_int_at = struct.Struct(">I").unpack
_crc_input = struct.Struct(">III").pack


@dataclass(frozen=True, slots=True)
class Section:
    """Consecutive entries, plain. `data[0]` has the logical position `start`, its end `end`.

    `resume` is the logical position from which on entries were not consumed yet; it differs from `start`
    only in the first section after a start in the middle of a segment. `version` is the segment's.
    """

    data: bytes
    start: int
    end: int
    resume: int
    version: int = VERSION_40


class SectionReader:
    """The sections of one segment, from the logical position `position` on, which ends an entry or is 0.

    `buffer` may be the segment's file while Cassandra still writes to it. A map of a file that has a fixed
    size shows what is written later by itself; where the file grows (compressed, encrypted, direct I/O), or the
    buffer is a copy, give the newer buffer to `refill`.

    Raises `UnsupportedSegmentError` where the segment is encrypted and `keyring` has no key for it.
    """

    def __init__(
        self,
        buffer: Buffer,
        descriptor: SegmentDescriptor,
        *,
        segment: str,
        position: int = 0,
        keyring: Keyring | None = None,
    ) -> None:
        self.descriptor = descriptor
        self.segment = segment
        self._buffer = buffer
        self._marker = descriptor.header_size
        self._logical = descriptor.header_size
        self._resume = position
        self._piece: tuple[int, int] | None = None
        self._recovered: Section | None = None
        self._decryptor: Decryptor | None = None
        if descriptor.encryption is not None:
            if keyring is None:
                raise UnsupportedSegmentError(
                    f"the segment is encrypted with key {descriptor.encryption.key_alias!r}",
                    segment=segment,
                    hint="name the keystore and its password as cassandra.yaml does",
                )
            self._decryptor = Decryptor(descriptor.encryption, keyring, segment=segment)

    @property
    def position(self) -> int:
        """The logical position up to which sections were handed out."""
        return self._logical if self._piece is None else self._piece[0]

    @property
    def finished(self) -> bool:
        """Whether the last marker points so near to the end of the file that no section can follow in it.

        Always false where the file grows with each section (compressed, encrypted): there only the index
        file's COMPLETED and its offset tell the end. With direct I/O an uncompressed file grows too, so believe
        this only together with COMPLETED.
        """
        return (
            self.descriptor.compression is None
            and self._decryptor is None
            and self._piece is None
            and self._marker + MARKER_SIZE > len(self._buffer)
        )

    @property
    def missing(self) -> int:
        """Bytes by which the file is shorter than the next marker says: it is cut short, or still growing."""
        pair = self._read_marker(self._marker)
        if pair is None or pair[1] != self._marker_crc(self._marker):
            return 0
        return max(0, pair[0] - len(self._buffer))

    def refill(self, buffer: Buffer) -> None:
        """Go on with a newer or longer view of the same segment."""
        self._buffer = buffer

    def next(self) -> Section | None:
        """Return the next section that is not consumed yet; None where nothing more is written *so far*.

        A marker of zeros, one that is half written, and one that points past the end of the file all mean
        "call again later". Raises `DamagedSegmentError` for a marker that contradicts its checksum (from then on
        always, until `resynchronise` finds a later one) and for a section whose bytes cannot be undone (the
        next call goes on with the section after it). The error says `position` (logical) and `file_position`.
        """
        while True:
            if self._piece is not None:
                return self._next_piece()
            if self._recovered is not None:
                recovered, self._recovered = self._recovered, None
                return recovered
            span = self._follow()
            if span is None:
                return None
            start, end = span
            if self.descriptor.compression is None and self._decryptor is None:
                self._logical = self._marker = end
                if end > max(self._resume, start):
                    self._piece = start, end
                continue
            section = self._undo(start, end)
            if section is not None:
                return section

    def unread(self, durable: int) -> DamagedSegmentError | None:
        """Say why `next` gives nothing more although the index file says there is more, up to `durable`.

        For a segment that is COMPLETED, or whose offset stays ahead of `position`: a marker does not vouch for
        where it points, so one that points past the end of the file may be damaged as well as the file may be
        cut short, and zeros may stand where a marker stood. None where there is nothing: after a crash Cassandra
        writes the file's length for an offset, and nothing follows the last marker.
        """
        if self.position >= durable:
            return None
        missing = self.missing
        if missing:
            return self._damage(
                f"expected the file to reach the next marker, found {missing} bytes less",
                self._marker,
                self._logical,
            )
        found = self._later_marker()
        if found is None:
            return None
        return self._damage(
            f"expected a sync marker, found zeros, and the next good marker at {found}",
            self._marker,
            self._logical,
        )

    def resynchronise(self) -> int | None:
        """Look past a bad marker, or past what `unread` found, for the next good marker.

        Returns its file position, or None where there is none. What lies before it is handed out first, where it
        can be: a marker is damaged more easily than the entries after it, and they have their own checksums.
        Logical positions are exact after it in uncompressed segments; otherwise they count on from the last
        good section, without what was lost between.
        """
        found = self._later_marker()
        if found is None:
            return None
        start = self._marker + MARKER_SIZE
        if self.descriptor.compression is None and self._decryptor is None:
            self._piece = (start, found) if start < found else None
            self._logical = found
        else:
            before = self._logical
            try:
                self._recovered = self._undo(start, found) if start < found else None
            except DamagedSegmentError:
                self._logical = before
        self._marker = found
        return found

    def _later_marker(self) -> int | None:
        for candidate in self._candidates(self._marker + 1, len(self._buffer)):
            pair = self._read_marker(candidate)
            if pair is not None and pair[1] == self._marker_crc(candidate):
                return candidate
        return None

    def _follow(self) -> tuple[int, int] | None:
        """Where the bytes after the current marker lie in the file, checked; None for nothing so far."""
        position = self._marker
        expected = self._marker_crc(position)
        pair = self._read_marker(position)
        if pair is None or pair == (0, 0):
            return None
        if pair[1] != expected:
            # The two ints are not written at once, so look again before calling it damage. A CRC that stays
            # zero is what a crash between the two leaves: nothing after it was ever durable.
            pair = self._read_marker(position) or (0, 0)
            if pair[1] == 0:
                return None
        end, crc = pair
        if crc != expected:
            raise self._damage(
                f"expected the sync marker's CRC to be {expected:08x}, found {crc:08x}", position, self._logical
            )
        if end < position + MARKER_SIZE:
            raise self._damage(
                f"expected the sync marker to point past {position + MARKER_SIZE}, found {end}",
                position,
                self._logical,
            )
        return None if end > len(self._buffer) else (position + MARKER_SIZE, end)

    def _undo(self, start: int, end: int) -> Section | None:
        """Decompress or decrypt the section in the file from `start` to `end`; None where it is consumed."""
        logical = self._logical + MARKER_SIZE
        self._marker = end
        if end - start < _LENGTH_SIZE:
            raise self._damage(f"expected a section's length, found {end - start} bytes", start, logical)
        (length,) = _int_at(bytes(self._buffer[start : start + _LENGTH_SIZE]))
        if length >> 31:
            raise self._damage(f"expected a section's length, found {length:#x}", start, logical)
        self._logical = logical + length
        if self._logical <= self._resume:
            return None
        stored = bytes(self._buffer[start + _LENGTH_SIZE : end])
        try:
            if self._decryptor is not None:
                data = self._decryptor.undo(stored, length)
            else:
                assert self.descriptor.compression is not None
                data = decompress(self.descriptor.compression, stored, length)
        except DamagedSegmentError as error:
            raise self._damage(error.message, start, logical) from error
        return Section(data, logical, self._logical, max(self._resume, logical), self.descriptor.version)

    def _next_piece(self) -> Section:
        """Return a section of an uncompressed segment, or as many of its entries as make a piece."""
        assert self._piece is not None
        start, end = self._piece
        piece_end = end if end - start <= _PIECE else self._entry_boundary(start, end)
        self._piece = (piece_end, end) if piece_end < end else None
        data = bytes(self._buffer[start:piece_end])
        return Section(data, start, piece_end, min(max(self._resume, start), piece_end), self.descriptor.version)

    def _entry_boundary(self, start: int, end: int) -> int:
        """Find the first end of an entry after `_PIECE` bytes; the section's end where a size cannot be right."""
        position = start
        while position - start < _PIECE and position + _LENGTH_SIZE * 2 < end:
            head = bytes(self._buffer[position : position + 2 * _LENGTH_SIZE])
            size, crc = _marker_at(head)
            if zlib.crc32(head[:_LENGTH_SIZE]) != crc:
                return end
            position += size + 3 * _LENGTH_SIZE
        return position if position - start >= _PIECE and position < end else end

    def _read_marker(self, position: int) -> tuple[int, int] | None:
        raw = bytes(self._buffer[position : position + MARKER_SIZE])
        if len(raw) < MARKER_SIZE:
            return None
        end, crc = _marker_at(raw)
        return end, crc

    def _marker_crc(self, position: int) -> int:
        segment_id = self.descriptor.id
        return zlib.crc32(_crc_input(segment_id & 0xFFFF_FFFF, segment_id >> 32 & 0xFFFF_FFFF, position))

    def _candidates(self, start: int, size: int) -> Iterator[int]:
        """Yield file positions from `start` on whose bytes could be a marker: a later position in this file."""
        first_byte = b"[\\x00-" + re.escape(bytes((size >> 24 & 0xFF,))) + b"]"
        possible = re.compile(b"(?!\\x00{4})" + first_byte, re.DOTALL)
        for window in range(start, size - MARKER_SIZE + 1, _PIECE):
            data = bytes(self._buffer[window : min(window + _PIECE + MARKER_SIZE, size)])
            last = min(_PIECE, len(data.rstrip(b"\0")), len(data) - MARKER_SIZE + 1)
            for match in possible.finditer(data, 0, last):
                at = match.start()
                position = window + at
                if position + MARKER_SIZE <= int.from_bytes(data[at : at + 4], "big") <= size:
                    yield position

    def _damage(self, message: str, file_position: int, position: int) -> DamagedSegmentError:
        return DamagedSegmentError(message, segment=self.segment, position=position, file_position=file_position)
