"""Read one segment while Cassandra still writes to it: section by section, in portions."""

from __future__ import annotations

import struct
from collections.abc import Container

from cdc_daemon.commitlog.descriptor import SegmentDescriptor, read_descriptor
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.entries import TAIL_SIZE
from cdc_daemon.commitlog.keys import KeyBatch, read_keys
from cdc_daemon.commitlog.markers import HEADER_RECOVERED, MARKER_SIZE, how_it_ends, recover_descriptor
from cdc_daemon.commitlog.schema import SchemaView
from cdc_daemon.commitlog.section import Section, SectionReader
from cdc_daemon.model.errors import CommitLogError, DamagedSegmentError
from cdc_daemon.sources.log.folder import SegmentBuffer, SegmentFile
from cdc_daemon.sources.log.lifecycle import Evidence

_checksum_at = struct.Struct(">I").unpack_from


class SegmentReader:
    """Reads a segment's updates from the logical offset `position`, which is the end of an entry or 0.

    Call `fetch`, then `take_damages`, and if a section was found `decode` and `advance`. Only `advance` consumes, so a
    portion can be decoded again with a newer schema. `fetch` reads the file, `decode` only computes; neither is safe
    for two threads at a time.

    Bytes before the offset of the index file, and all bytes of a closed segment, are durable: invalid data there is
    damage. Invalid data after that offset can be a write in progress. It is read again until it is durable.

    The constructor raises `OSError`, `UnsupportedSegmentError`, or `DamagedSegmentError` for the header.
    """

    def __init__(self, file: SegmentFile, *, position: int = 0, keyring: Keyring | None = None) -> None:
        self.name = file.name
        self.position = position
        self.damages: list[CommitLogError] = []
        self._keyring = keyring
        self._buffer = SegmentBuffer(file.path)
        self._reader: SectionReader | None = None
        self._section: Section | None = None
        self._header_size = 0
        self._counts_file_bytes = False
        self._final = False
        self._started = position
        self._noted: set[int] = set()
        self._bad_place: tuple[object, object] | None = None
        self._lost = False
        self._sound_end: tuple[int, Evidence] | None = None
        self._at_end = False
        try:
            self._open_reader()
        except BaseException:
            self._buffer.close()
            raise

    @property
    def at_end(self) -> bool:
        """Whether the last `fetch` reached the end of the written data."""
        return self._at_end

    @property
    def is_close(self) -> bool:
        """Whether the next `fetch` only reads recent writes of Cassandra, which are in the page cache."""
        return self._at_end or self._section is not None

    @property
    def is_blank(self) -> bool:
        """Whether the last `fetch` reached the end, and the next marker is still unwritten. It costs one small read.

        False when that cannot be read either: `fetch` raises the reason.
        """
        marker = None if self._reader is None or self._lost or not self._at_end else self._reader.next_marker
        if marker is None:
            return False
        try:
            return not any(self._buffer.peek(marker, MARKER_SIZE))
        except OSError:
            return False

    @property
    def ahead(self) -> int:
        """The bytes of the section that `fetch` found which are not decoded yet."""
        section = self._section
        return 0 if section is None else section.end - max(self.position, section.resume)

    @property
    def begun(self) -> bool:
        """Whether Cassandra has written a sync marker to this segment."""
        return self._section is not None or (self._reader is not None and self._reader.position > self._header_size)

    @property
    def end(self) -> int:
        """The logical offset up to which everything was read, empty sections included."""
        if self._section is not None or self._reader is None:
            return self.position
        return max(self.position, self._reader.position)

    def look(self) -> int:
        """Update the file's known size; return the file's number of names."""
        return self._buffer.look().links

    def fetch(self, evidence: Evidence, *, stay_durable: bool = False) -> bool:
        """Find the next section; return whether there is one. With `stay_durable`, find durable sections only."""
        self._at_end = False
        if self._section is None:
            self._buffer.look()
            self._section = self._next_section(evidence)
            self._final = self._section is not None and evidence.covers(self._section.end)
        if self._section is None:
            self._at_end = True
            return False
        return not stay_durable or evidence.covers(self._section.end)

    def decode(self, schema: SchemaView, *, limit: int, only: Container[bytes] | None = None) -> KeyBatch:
        """Read up to `limit` mutations of the section that `fetch` found.

        If its bytes were not durable when they were read, the portion ends before the first damaged entry.
        """
        section = self._section
        assert section is not None, "decode comes after a fetch that found a section"
        portion = read_keys(section, schema, segment=self.name, from_position=self.position, limit=limit, only=only)
        if not self._final:
            _stop_before_damage(portion)
        return portion

    def checksums(self, portion: KeyBatch) -> list[int]:
        """Return, for each update of a portion that was just decoded, the checksum that ends its entry."""
        assert self._section is not None
        data, base = self._section.data, self._section.start + TAIL_SIZE
        return [_checksum_at(data, update.position - base)[0] for update in portion.updates]

    def advance(self, portion: KeyBatch) -> None:
        """Continue behind a portion."""
        assert self._section is not None
        self.position = portion.end
        if portion.end >= self._section.end:
            self._section = None

    def look_again(self) -> None:
        """Discard data that was read but not consumed: its bytes may have changed."""
        self._section = None
        self._reader = None

    def close(self) -> None:
        """Close the file."""
        self._section = None
        self._buffer.close()

    def _open_reader(self, durable: int = 0) -> SectionReader | None:
        descriptor = self._read_header(durable)
        if descriptor is None:
            return None
        self._header_size = descriptor.header_size
        self._counts_file_bytes = _counts_file_bytes(descriptor)
        self._reader = SectionReader(
            self._buffer, descriptor, segment=self.name, position=self.position, keyring=self._keyring
        )
        return self._reader

    def _read_header(self, durable: int) -> SegmentDescriptor | None:
        """Read the header; None if it is not yet written. If it is damaged, record that and use the file's name."""
        missing = DamagedSegmentError("expected a header, found none", segment=self.name, position=0)
        try:
            descriptor = read_descriptor(self._buffer, segment=self.name)
        except DamagedSegmentError as error:
            descriptor = recover_descriptor(self._buffer, segment=self.name)
            if descriptor is None:
                raise
            self._note_header(error, descriptor)
            return descriptor
        if descriptor is None and durable > 0:
            descriptor = recover_descriptor(self._buffer, segment=self.name)
            if descriptor is None:
                self._lost = True
                self._note(missing)
            else:
                self._note_header(missing, descriptor)
        return descriptor

    def _note_header(self, error: DamagedSegmentError, descriptor: SegmentDescriptor) -> None:
        where = {**error.where, "position": 0, "end": descriptor.header_size}
        self._note(DamagedSegmentError(f"{error.message}; {HEADER_RECOVERED}", hint=error.hint, **where))

    def _next_section(self, evidence: Evidence) -> Section | None:
        reader = self._reader
        if reader is None and not self._lost:
            reader = self._open_reader(evidence.durable)
        while reader is not None:
            if self._lost:
                return reader.next() if reader.has_rest else None
            try:
                section = reader.next()
            except DamagedSegmentError as error:
                if not evidence.covers(int(error.where.get("position", 0)) + 1):
                    return None
                self._pass_damage(reader, error)
                continue
            if section is None:
                shortage = self._cut_short(reader, evidence)
                if shortage is None:
                    return None
                self._resume_behind(reader, shortage)
            elif section.end > self.position:
                return section
        return None

    def _cut_short(self, reader: SectionReader, evidence: Evidence) -> DamagedSegmentError | None:
        """Return an error if the chain of markers ends before an offset that must have been written."""
        if (reader.position, evidence) == self._sound_end:
            return None
        error = reader.unread(evidence.durable)
        if error is None and (
            (evidence.closed and reader.missing)
            # After a crash the index file holds the file's length, which does not show where the data ends.
            or (self._counts_file_bytes and reader.position < evidence.durable != len(self._buffer))
        ):
            error = self._shortage(reader, evidence)
        if error is None:
            self._sound_end = (reader.position, evidence)
        return error

    def _shortage(self, reader: SectionReader, evidence: Evidence) -> DamagedSegmentError:
        expected = max(evidence.durable, reader.position + reader.missing)
        return DamagedSegmentError(
            f"expected sync markers up to {expected}, found their end at {reader.position}",
            data=self._buffer[reader.position : expected] if self._counts_file_bytes else None,
            segment=self.name,
            position=reader.position,
        )

    def _pass_damage(self, reader: SectionReader, error: DamagedSegmentError) -> None:
        """Record damage that the reader found, and find the next section if the reader cannot.

        The reader itself passes a section that cannot be decompressed or decrypted. At a bad marker it stays and raises
        again.
        """
        place = (error.where.get("position"), error.where.get("file_position"))
        if place != self._bad_place:
            self._bad_place = place
            self._note(error)
        else:
            self._resume_behind(reader, error)

    def _resume_behind(self, reader: SectionReader, error: DamagedSegmentError) -> None:
        """Record damage and search for the next valid marker; without one the rest of the segment is lost."""
        resumed = reader.resynchronise()
        self._lost = resumed is None
        ending = how_it_ends(resumed, has_rest=reader.has_rest)
        where = {**error.where, "resumed": resumed}
        if self._counts_file_bytes:
            where["end"] = resumed
        self._note(DamagedSegmentError(f"{error.message}; {ending}", data=error.data, hint=error.hint, **where))

    def _note(self, error: DamagedSegmentError) -> None:
        """Record damage, unless it lies before the start of reading: then a previous process has reported it."""
        place = int(error.where.get("position", 0))
        self.damages = [known for known in self.damages if known.where.get("position") != place]
        if place >= self._started and place not in self._noted:
            self.damages.append(error)

    def take_damages(self) -> list[CommitLogError]:
        """Return damage to the chain of markers that was found since the last call."""
        damages, self.damages = self.damages, []
        self._noted.update(int(error.where.get("position", 0)) for error in damages)
        return damages


def _counts_file_bytes(descriptor: SegmentDescriptor) -> bool:
    return descriptor.compression is None and descriptor.encryption is None


def _stop_before_damage(portion: KeyBatch) -> None:
    """End a portion before the first damaged entry, which may be a write in progress."""
    torn = [
        int(problem.where.get("position", portion.start))
        for problem in portion.problems
        if isinstance(problem, DamagedSegmentError)
    ]
    if torn:
        portion.end = min(torn)
        portion.updates = [update for update in portion.updates if update.position <= portion.end]
        portion.unknown_tables = [each for each in portion.unknown_tables if each.where["position"] <= portion.end]
        portion.problems = [
            problem
            for problem in portion.problems
            if not isinstance(problem, DamagedSegmentError) and int(problem.where.get("position", 0)) <= portion.end
        ]
