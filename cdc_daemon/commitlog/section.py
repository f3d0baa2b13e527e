"""Splits a segment's bytes into sections by following the sync markers while the segment still grows.

The bytes between two sync markers (see `markers`) are a section. It has plain entries; in a compressed or encrypted
segment it has the section's plain length as an int and then the transformed bytes
(`CompressedSegment.write`, `EncryptedSegment.write`). Positions in the index file and in checkpoints are logical:
they count markers and plain bytes, as if nothing were transformed.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from cdc_daemon.commitlog.compression import decompress
from cdc_daemon.commitlog.descriptor import VERSION_40, Buffer, SegmentDescriptor
from cdc_daemon.commitlog.encryption import Decryptor, Keyring
from cdc_daemon.commitlog.markers import MARKER_SIZE, Markers
from cdc_daemon.model.errors import DamagedSegmentError, UnsupportedSegmentError

_LENGTH_SIZE: Final = 4
_PIECE: Final = 4 << 20
"""Bytes; a longer section of an uncompressed segment is returned in pieces of about this size."""

_size_and_crc = struct.Struct(">II").unpack
_int_at = struct.Struct(">I").unpack


@dataclass(frozen=True, slots=True)
class Section:
    """Consecutive entries, plain. `data[0]` has the logical position `start`, its end `end`.

    `resume` is the logical position of the first entry not consumed yet. It differs from `start`
    only in the first section after a start in the middle of a segment. `version` is the segment's.
    """

    data: bytes
    start: int
    end: int
    resume: int
    version: int = VERSION_40


class SectionReader:
    """The sections of one segment, from the logical position `position` on, which is an entry's end or 0.

    `buffer` may be the segment's file while Cassandra still writes to it. A memory map of a file of fixed size shows
    later writes by itself. When the file grows (compressed, encrypted, direct I/O), or the buffer is a copy, pass the
    newer buffer to `refill`.

    Raises `UnsupportedSegmentError` when the segment is encrypted and `keyring` has no key for it.
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
        self._markers = Markers(buffer, descriptor.id)
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
        """The logical position up to which sections were returned."""
        return self._logical if self._piece is None else self._piece[0]

    @property
    def has_rest(self) -> bool:
        """Whether data was found after the end of the chain of markers; `next` returns it."""
        return self._piece is not None or self._recovered is not None

    @property
    def next_marker(self) -> int | None:
        """The file position of the next marker; None while there is data before it that `next` returns."""
        return None if self.has_rest else self._marker

    @property
    def finished(self) -> bool:
        """Whether the last marker points so near to the end of the file that no further section fits.

        Always false when the file grows with each section (compressed, encrypted): there only the index file's
        COMPLETED and its offset show the end. With direct I/O an uncompressed file grows too, so use this only
        together with COMPLETED.
        """
        return (
            self.descriptor.compression is None
            and self._decryptor is None
            and self._piece is None
            and self._marker + MARKER_SIZE > len(self._buffer)
        )

    @property
    def missing(self) -> int:
        """Bytes missing from the file up to the position of the next marker: it is truncated, or still growing."""
        pair = self._markers.read(self._marker)
        if pair is None or pair[1] != self._markers.crc(self._marker):
            return 0
        return max(0, pair[0] - len(self._buffer))

    def refill(self, buffer: Buffer) -> None:
        """Continue with a newer or longer view of the same segment."""
        self._buffer = buffer
        self._markers.refill(buffer)

    def next(self) -> Section | None:
        """Return the next section that is not consumed yet; None when nothing more is written *so far*.

        A marker of zeros, one that is half written, and one that points past the end of the file all mean
        "call again later". Raises `DamagedSegmentError` for a marker that contradicts its checksum (from then on
        always, until `resynchronise` finds a later one) and for a section that cannot be decompressed or decrypted
        (the next call continues with the section after it). The error has `position` (logical) and `file_position`.
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
        """Return why `next` returns nothing more although the index file promises more, up to `durable`.

        Use it for a segment that is COMPLETED, or with an offset that stays ahead of `position`. A marker's checksum
        does not cover its target, so when it points past the end of the file, either the marker is damaged or the file
        is truncated. Zeros may have replaced a marker. Returns None when there is no more: after a crash Cassandra
        writes the file's length as the offset, and nothing follows the last marker.
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
        found = self._markers.find(self._marker + 1)
        if found is None:
            return None
        return self._damage(
            f"expected a sync marker, found zeros, and the next good marker at {found}",
            self._marker,
            self._logical,
        )

    def resynchronise(self) -> int | None:
        """Search after a bad marker, or after the damage that `unread` found, for the next valid marker.

        Returns its file position, or None when there is none; then the chain of markers has ended. The data before it
        is returned first if possible (`has_rest`): a damaged marker does not mean damaged entries after it, and these
        have their own checksums; and a truncated file begins with whole entries.
        Afterwards logical positions are exact in uncompressed segments. Otherwise they continue from the last
        good section and do not count lost data.
        """
        found = self._markers.find(self._marker + 1)
        start = self._marker + MARKER_SIZE
        end = self._sound_end(start) if found is None else found
        if found is None and end <= start:
            return None
        if self.descriptor.compression is None and self._decryptor is None:
            self._piece = (start, end) if start < end else None
            self._logical = end
        else:
            before = self._logical
            try:
                self._recovered = self._undo(start, end) if start < end else None
            except DamagedSegmentError:
                self._logical = before
        self._marker = end
        return found

    def _sound_end(self, start: int) -> int:
        """Return where the whole entries from `start` on end: at a truncated or invalid entry, or at the file's end."""
        size = len(self._buffer)
        if self.descriptor.compression is not None or self._decryptor is not None:
            return size
        while start + 2 * _LENGTH_SIZE < size:
            following = self._behind_entry(start)
            if following is None or following > size:
                break
            start = following
        return start

    def _behind_entry(self, position: int) -> int | None:
        """Return the end of the entry at this file position by its size; None when the size cannot be right."""
        head = bytes(self._buffer[position : position + 2 * _LENGTH_SIZE])
        size, crc = _size_and_crc(head)
        return None if zlib.crc32(head[:_LENGTH_SIZE]) != crc else position + size + 3 * _LENGTH_SIZE

    def _follow(self) -> tuple[int, int] | None:
        """Check the current marker; return the start and end of the bytes after it, None when there are none so far."""
        position = self._marker
        pair = self._markers.read(position)
        if pair is None or pair == (0, 0):
            return None
        expected = self._markers.crc(position)
        if pair[1] != expected:
            # The two ints are not written at once, so read again before reporting damage. A CRC that stays
            # zero is the result of a crash between the two writes: nothing after it was ever durable.
            pair = self._markers.read(position) or (0, 0)
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
        """Decompress or decrypt the section in the file from `start` to `end`; None when it is consumed."""
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
                data = self._decryptor.decrypt(stored, length)
            else:
                assert self.descriptor.compression is not None
                data = decompress(self.descriptor.compression, stored, length)
        except DamagedSegmentError as error:
            raise self._damage(error.message, start, logical) from error
        return Section(data, logical, self._logical, max(self._resume, logical), self.descriptor.version)

    def _next_piece(self) -> Section:
        """Return a section of an uncompressed segment, or a piece of it."""
        assert self._piece is not None
        start, end = self._piece
        piece_end = end if end - start <= _PIECE else self._entry_boundary(start, end)
        self._piece = (piece_end, end) if piece_end < end else None
        data = bytes(self._buffer[start:piece_end])
        return Section(data, start, piece_end, min(max(self._resume, start), piece_end), self.descriptor.version)

    def _entry_boundary(self, start: int, end: int) -> int:
        """Return the first end of an entry after `_PIECE` bytes; the section's end when a size cannot be right."""
        position = start
        while position - start < _PIECE and position + _LENGTH_SIZE * 2 < end:
            following = self._behind_entry(position)
            if following is None:
                return end
            position = following
        return position if position - start >= _PIECE and position < end else end

    def _damage(self, message: str, file_position: int, position: int) -> DamagedSegmentError:
        return DamagedSegmentError(message, segment=self.segment, position=position, file_position=file_position)
