"""Reading one segment while Cassandra still writes to it: section by section, in portions."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from cdc_daemon.commitlog.descriptor import SegmentDescriptor, read_descriptor
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.keys import KeyUpdate, read_keys
from cdc_daemon.commitlog.schema import SchemaView
from cdc_daemon.commitlog.section import Section, SectionReader
from cdc_daemon.errors import CommitLogError, DamagedSegmentError
from cdc_daemon.tail.buffer import SegmentBuffer
from cdc_daemon.tail.folder import SegmentFile
from cdc_daemon.tail.lifecycle import Evidence


@dataclass(slots=True, kw_only=True)
class Portion:
    """What was read at once: the updates, and the logical offset behind them.

    `mutations` counts entries, `skipped` updates of unwanted tables, `unknown` updates by table id of tables
    that no schema has, `size` the bytes passed. `problems` are entries that cannot be read and never will.
    """

    start: int
    end: int
    updates: list[KeyUpdate] = field(default_factory=list)
    mutations: int = 0
    skipped: int = 0
    unknown: dict[bytes, int] = field(default_factory=dict)
    problems: list[CommitLogError] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the segment that this portion covers."""
        return self.end - self.start


class SegmentFollower:
    """Reads a segment's updates from the logical offset `position` on, which ends an entry or is 0.

    The order of use is `fetch`, and where it finds something `decode`, then `advance`. Nothing is consumed before
    `advance`, so a portion can be decoded again with a newer schema. `fetch` reads the file, `decode` only
    computes; neither is for two threads at a time.

    What lies before the offset of the index file, or in a segment that is closed, is durable: whatever does
    not hold together there is damage. Anything after it can be a write in progress and is only looked at again
    later, until it is durable.

    Creating one raises `OSError`, `UnsupportedSegmentError`, or `DamagedSegmentError` for the header.
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
        self._bad_place: tuple[object, object] | None = None
        self._lost = False
        self._at_end = False
        try:
            self._open_reader()
        except BaseException:
            self._buffer.close()
            raise

    @property
    def at_end(self) -> bool:
        """Whether the last `fetch` found nothing more that is written so far."""
        return self._at_end

    @property
    def is_close(self) -> bool:
        """Whether the next `fetch` only looks at what Cassandra has just written, which is in memory."""
        return self._at_end or self._section is not None

    @property
    def begun(self) -> bool:
        """Whether Cassandra has put a marker into this segment."""
        return self._section is not None or (self._reader is not None and self._reader.position > self._header_size)

    @property
    def end(self) -> int:
        """The logical offset up to which everything is read, empty sections included."""
        if self._section is not None or self._reader is None:
            return self.position
        return max(self.position, self._reader.position)

    def look(self) -> int:
        """Take note of the file's present size; return how many names the file still has."""
        return self._buffer.look().links

    def fetch(self, evidence: Evidence, *, stay_durable: bool = False) -> bool:
        """Find the next section; tell whether there is one. With `stay_durable` only what is durable counts."""
        self._at_end = False
        if self._section is None:
            self._buffer.look()
            self._section = self._next_section(evidence)
        if self._section is None:
            self._at_end = True
            return False
        return not stay_durable or evidence.covers(self._section.end)

    def decode(
        self, schema: SchemaView, evidence: Evidence, *, limit: int, only: Container[bytes] | None = None
    ) -> Portion:
        """Read up to `limit` mutations of the section that `fetch` found."""
        section = self._section
        assert section is not None, "decode comes after a fetch that found a section"
        start = max(self.position, section.resume)
        batch = read_keys(section, schema, segment=self.name, from_position=self.position, limit=limit, only=only)
        portion = Portion(
            start=start,
            end=batch.position,
            updates=batch.updates,
            mutations=batch.mutations,
            skipped=batch.skipped,
            unknown=batch.unknown,
            problems=batch.problems,
        )
        if not evidence.covers(section.end):
            _stop_before_damage(portion)
        return portion

    def advance(self, portion: Portion) -> None:
        """Go on behind a portion."""
        assert self._section is not None
        self.position = portion.end
        if portion.end >= self._section.end:
            self._section = None

    def close(self) -> None:
        """Close the file."""
        self._section = None
        self._buffer.close()

    def _open_reader(self) -> SectionReader | None:
        descriptor = read_descriptor(self._buffer, segment=self.name)
        if descriptor is None:
            return None
        self._header_size = descriptor.header_size
        self._counts_file_bytes = _counts_file_bytes(descriptor)
        self._reader = SectionReader(
            self._buffer, descriptor, segment=self.name, position=self.position, keyring=self._keyring
        )
        return self._reader

    def _next_section(self, evidence: Evidence) -> Section | None:
        reader = self._reader or self._open_reader()
        if reader is None and evidence.durable > 0 and not self._lost:
            self._lost = True
            self.damages.append(DamagedSegmentError("expected a header, found none", segment=self.name, position=0))
        while reader is not None and not self._lost:
            try:
                section = reader.next()
            except DamagedSegmentError as error:
                if not evidence.covers(int(error.where.get("position", 0)) + 1):
                    return None
                self._pass_damage(reader, error)
                continue
            if section is not None or not self._is_cut_short(reader, evidence):
                return section
            self._pass_damage(reader, self._shortage(reader, evidence))
        return None

    def _is_cut_short(self, reader: SectionReader, evidence: Evidence) -> bool:
        """Tell whether the chain of markers ends before a place that must have been written."""
        if reader.missing and evidence.closed:
            return True
        # After a crash the index file holds the file's length, which says nothing of data.
        return self._counts_file_bytes and reader.position < evidence.durable != len(self._buffer)

    def _shortage(self, reader: SectionReader, evidence: Evidence) -> DamagedSegmentError:
        expected = max(evidence.durable, reader.position + reader.missing)
        return DamagedSegmentError(
            f"expected sync markers up to {expected}, found their end at {reader.position}",
            segment=self.name,
            position=reader.position,
        )

    def _pass_damage(self, reader: SectionReader, error: DamagedSegmentError) -> None:
        """Note damage, and find the next section where the reader cannot by itself.

        It can behind a section whose bytes cannot be undone. At a bad marker it stays; then the next good
        marker is looked for, and if there is none the rest of the segment is lost.
        """
        place = (error.where.get("position"), error.where.get("file_position"))
        if place != self._bad_place:
            self._bad_place = place
            self.damages.append(error)
            return
        try:
            resumed = reader.resynchronise()
        except DamagedSegmentError:  # the file was truncated meanwhile
            resumed = None
        self._lost = resumed is None
        self.damages[-1:] = [_continued(error, resumed)]


def _counts_file_bytes(descriptor: SegmentDescriptor) -> bool:
    return descriptor.compression is None and descriptor.encryption is None


def _continued(error: DamagedSegmentError, resumed: int | None) -> DamagedSegmentError:
    """Say in the error where reading goes on."""
    ending = "the rest of the segment is lost" if resumed is None else f"reading goes on at {resumed}"
    return DamagedSegmentError(
        f"{error.message}; {ending}", data=error.data, hint=error.hint, **error.where, resumed=resumed
    )


def _stop_before_damage(portion: Portion) -> None:
    """End a portion before the first entry that may only be a write in progress."""
    torn = [
        int(problem.where.get("position", portion.start))
        for problem in portion.problems
        if isinstance(problem, DamagedSegmentError)
    ]
    if torn:
        portion.end = min(torn)
        portion.updates = [update for update in portion.updates if update.position <= portion.end]
        portion.problems = [
            problem
            for problem in portion.problems
            if not isinstance(problem, DamagedSegmentError) and int(problem.where.get("position", 0)) <= portion.end
        ]
