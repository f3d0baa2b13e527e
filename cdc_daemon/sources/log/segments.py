"""The tail's state of each segment, from its first listing to its release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cdc_daemon.model.errors import CdcError
from cdc_daemon.sources.log.checkpoint import Reached
from cdc_daemon.sources.log.folder import Listing, SegmentFile
from cdc_daemon.sources.log.lifecycle import Evidence, holds_cdc_surely
from cdc_daemon.sources.log.segment_reader import SegmentReader


class TrackedSegment:
    """One segment.

    `started` is the logical offset at which this process began to read, `position` the offset it has reached.
    `sequence` is that of its newest portion: when it is acknowledged, so is all of the segment up to `position`.
    `complete` means that it is closed and read to its end, `recorded` that the store has recorded it as consumed,
    `holds_cdc` that it holds CDC data, and `damaged` that part of it could not be read. `error` is the reason why it
    cannot be read at all. `gone` means that its name is no longer in the folder, `reading` that the reader is reading
    it, and `may_be_ahead` that part of it was read before a possible crash of Cassandra (see `Reader`). `rested` is its
    state when it was put to rest; `look_at` is the time (monotonic seconds) at which a resting segment of 3.11 is
    looked at again. `ended` is what was known when its end was reached, None before. `retry_at` is the time of the next
    attempt after the system denied reading. `noted` is the position up to which the store knows that a resting segment
    of 3.11 was read.
    """

    __slots__ = (
        "complete",
        "damaged",
        "ended",
        "error",
        "file",
        "gone",
        "holds_cdc",
        "look_at",
        "may_be_ahead",
        "noted",
        "position",
        "reader",
        "reading",
        "recorded",
        "rested",
        "retry_at",
        "sequence",
        "started",
    )

    def __init__(self, file: SegmentFile, *, started: int = 0, consumed: bool = False) -> None:
        self.file = file
        if file.is_moved:
            # The store also has the positions of segments that were only put to rest (`Releaser.note_resting`).
            consumed = False
        self.may_be_ahead = not consumed and (started > 0 or not file.replayed)
        self.started = started
        self.position = started
        self.reader: SegmentReader | None = None
        self.sequence = 0
        self.complete = False
        self.recorded = False
        self.holds_cdc = holds_cdc_surely(file)
        self.damaged = False
        self.error: CdcError | None = None
        self.gone = False
        self.rested: tuple[bool, bool] | None = None
        self.ended: tuple[Evidence, bool, bool] | None = None
        self.look_at = 0.0
        self.noted = started
        self.retry_at = 0.0
        self.reading = False

    @property
    def id(self) -> int:
        """The segment's id."""
        return self.file.id

    @property
    def is_blank(self) -> bool:
        """Whether nothing was written behind the end that was reached. It costs one small read."""
        return self.reader is not None and self.reader.is_blank

    def see(self, file: SegmentFile) -> None:
        """Update the segment from its current entry in the folder."""
        if file.path != self.file.path:
            self.retry_at = 0.0
        self.file = file
        self.gone = False
        self.holds_cdc = self.holds_cdc or holds_cdc_surely(file)

    def close(self) -> None:
        """Close the file; keep the state."""
        if self.reader is not None:
            self.position = max(self.position, self.reader.end)
            self.reader.close()
            self.reader = None


class Change(NamedTuple):
    """The changes in a listing: new files, and tracked segments that are no longer listed."""

    arrived: list[SegmentFile]
    vanished: list[TrackedSegment]


class Backlog(NamedTuple):
    """The unacknowledged data in the folder: bytes, segments, and the oldest segment."""

    size: int
    segments: int
    oldest: SegmentFile | None


class TrackedSegments:
    """All segments that are not released yet, by ascending id."""

    def __init__(self) -> None:
        self._segments: dict[int, TrackedSegment] = {}
        self._newest_begun = 0

    def __iter__(self) -> Iterator[TrackedSegment]:
        return iter(sorted(self._segments.values(), key=lambda segment: segment.id))

    def __len__(self) -> int:
        return len(self._segments)

    def add(self, segment: TrackedSegment) -> None:
        """Track a segment."""
        self._segments[segment.id] = segment
        self.note_begun(segment)

    def drop(self, segment: TrackedSegment) -> None:
        """Stop tracking a segment."""
        segment.close()
        self._segments.pop(segment.id, None)

    def compare(self, listing: Listing) -> Change:
        """Update the segments from a listing; return new files and vanished segments."""
        arrived = []
        present = set()
        for file in listing.segments:
            present.add(file.id)
            segment = self._segments.get(file.id)
            if segment is None:
                arrived.append(file)
            else:
                segment.see(file)
                self.note_begun(segment)
        vanished = [segment for segment in self if segment.id not in present]
        for segment in vanished:
            segment.gone = True
        return Change(arrived, vanished)

    def note_begun(self, segment: TrackedSegment) -> None:
        """Record whether Cassandra has written to the segment."""
        begun = segment.file.has_index or segment.position > 0
        if begun or (segment.reader is not None and segment.reader.begun):
            self._newest_begun = max(self._newest_begun, segment.id)

    def newer_begun(self, segment: TrackedSegment) -> bool:
        """Return whether Cassandra has written to a segment newer than this one."""
        return self._newest_begun > segment.id

    def evidence(self, segment: TrackedSegment) -> Evidence:
        """Return the known state of the segment before it is read."""
        evidence = Evidence.of(segment.file, newer_begun=self.newer_begun(segment))
        if segment.gone and segment.reader is not None and (segment.file.is_moved or segment.reader.look() == 0):
            # Cassandra has deleted its own name of the file, and it closes a segment before that. (Of a segment of 3.11
            # it has the only name, unless somebody archives segments by links.)
            return evidence._replace(closed=True)
        return evidence

    def next_after(self, segment: TrackedSegment) -> TrackedSegment | None:
        """Return the segment with the next higher id, or None."""
        later = [other for other in self._segments.values() if other.id > segment.id]
        return min(later, key=lambda other: other.id, default=None)

    def backlog(self, acknowledged: Reached) -> Backlog:
        """Count the unacknowledged data."""
        size = count = 0
        oldest = None
        for segment in self:
            settled = _settled(segment, acknowledged)
            written = segment.position
            if not segment.complete and segment.file.index is not None:
                written = max(written, segment.file.index.offset)
            if written > settled:
                size += written - settled
                count += 1
                oldest = oldest or segment.file
        return Backlog(size, count, oldest)


def _settled(segment: TrackedSegment, acknowledged: Reached) -> int:
    """Return the logical offset up to which everything of the segment is acknowledged."""
    if segment.sequence <= acknowledged.sequence:
        return segment.position
    if acknowledged.position.segment_id == segment.id:
        return acknowledged.position.offset
    return segment.started
