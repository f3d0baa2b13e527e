"""From a segment's bytes to its sections: following the sync markers while the segment still grows.

What lies between two sync markers (see `markers`) is a section: entries as they are, or, where the segment is
compressed or encrypted, the section's plain length as an int and then the transformed bytes
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
"""Bytes; a longer section of an uncompressed segment is handed out in pieces of about this size."""

_size_and_crc = struct.Struct(">II").unpack
_int_at = struct.Struct(">I").unpack


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
        """The logical position up to which sections were handed out."""
        return self._logical if self._piece is None else self._piece[0]

    @property
    def has_rest(self) -> bool:
        """Whether there is something that was found where the chain of markers ends: `next` hands it out."""
        return self._piece is not None or self._recovered is not None

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
        pair = self._markers.read(self._marker)
        if pair is None or pair[1] != self._markers.crc(self._marker):
            return 0
        return max(0, pair[0] - len(self._buffer))

    def refill(self, buffer: Buffer) -> None:
        """Go on with a newer or longer view of the same segment."""
        self._buffer = buffer
        self._markers.refill(buffer)

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
        found = self._markers.find(self._marker + 1)
        if found is None:
            return None
        return self._damage(
            f"expected a sync marker, found zeros, and the next good marker at {found}",
            self._marker,
            self._logical,
        )

    def resynchronise(self) -> int | None:
        """Look past a bad marker, or past what `unread` found, for the next good marker.

        Returns its file position, or None where there is none; then the chain of markers has ended. What lies before
        that is handed out first, where it can be (`has_rest`): a marker is damaged more easily than the entries
        after it, and they have their own checksums; and a file that is cut short ends with whole entries.
        Logical positions are exact after it in uncompressed segments; otherwise they count on from the last
        good section, without what was lost between.
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
        """Find where the entries at the file's end begin that are cut short or are none; the end where all is one."""
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
        """Where the entry at this file position ends by its size; None where the size cannot be right."""
        head = bytes(self._buffer[position : position + 2 * _LENGTH_SIZE])
        size, crc = _size_and_crc(head)
        return None if zlib.crc32(head[:_LENGTH_SIZE]) != crc else position + size + 3 * _LENGTH_SIZE

    def _follow(self) -> tuple[int, int] | None:
        """Where the bytes after the current marker lie in the file, checked; None for nothing so far."""
        position = self._marker
        expected = self._markers.crc(position)
        pair = self._markers.read(position)
        if pair is None or pair == (0, 0):
            return None
        if pair[1] != expected:
            # The two ints are not written at once, so look again before calling it damage. A CRC that stays
            # zero is what a crash between the two leaves: nothing after it was ever durable.
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
            following = self._behind_entry(position)
            if following is None:
                return end
            position = following
        return position if position - start >= _PIECE and position < end else end

    def _damage(self, message: str, file_position: int, position: int) -> DamagedSegmentError:
        return DamagedSegmentError(message, segment=self.segment, position=position, file_position=file_position)
