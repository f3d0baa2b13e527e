"""A commit log as Cassandra writes it, for tests: markers, index files, links, shutdowns, crashes.

`CommitLogWriter` imitates what `CommitLogSegmentManagerCDC` does to the two folders, step by step and without its
threads, so that a test decides what happens between any two steps.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.commitlog.table import Column, Kind, TableMetadata
from cdc_daemon.commitlog.update import Cell, DecodedRow, Deletion, PartitionUpdate, RangeTombstone
from cdc_daemon.model.cql_types import parse_type
from cdc_daemon.model.signal import TableName
from tests.unit.commitlog.writer import entry, header, marker, mutation

FIRST_ID = 1_795_461_419_810
SEGMENT_SIZE = 16 * 1024
WRITTEN = 1_795_461_420_000_000
"""A write time, microseconds since epoch."""


def column(name: str, kind: Kind, cql_type: str = "text", position: int = -1) -> Column:
    """Make a column's metadata."""
    return Column(name, name.encode(), parse_type(cql_type, keyspace="shop", user_types={}), kind, position)


def table(name: str, number: int, *, clustering: Sequence[str] = (), static: bool = False) -> TableMetadata:
    """Make a table `shop.<name>` with a text key `id`, int clustering columns, and a text column `v`."""
    return TableMetadata(
        id=UUID(int=number).bytes,
        keyspace="shop",
        name=name,
        partition_key=(column("id", "partition_key", position=0),),
        clustering=tuple(column(each, "clustering", "int", place) for place, each in enumerate(clustering)),
        static=(column("s", "static"),) if static else (),
        regular=(column("v", "regular"),),
        cdc=True,
    )


USERS = table("users", 1)
EVENTS = table("events", 2, clustering=("day", "number"), static=True)
OTHERS = table("others", 3)
LATECOMERS = table("latecomers", 4)
SCHEMA = Schema([USERS, EVENTS, OTHERS])
USERS_NAME = TableName("shop", "users")
EVENTS_NAME = TableName("shop", "events")
LATECOMERS_NAME = TableName("shop", "latecomers")


def numbers(*values: int) -> tuple[bytes, ...]:
    """Serialise a clustering of ints."""
    return tuple(struct.pack(">i", value) for value in values)


def row(*clustering: int, written: int = WRITTEN, value: bytes = b"value", name: str = "v") -> DecodedRow:
    """Make a row as an INSERT writes it."""
    return DecodedRow(numbers(*clustering), written, None, None, None, {name: Cell(value, written)})


def deleted_row(*clustering: int, written: int = WRITTEN) -> DecodedRow:
    """Make a row as a DELETE writes it."""
    return DecodedRow(numbers(*clustering), None, None, None, Deletion(written, written // 1_000_000), {})


def deleted_range(start: Sequence[int], end: Sequence[int], *, written: int = WRITTEN) -> RangeTombstone:
    """Make a range tombstone, both bounds inclusive."""
    return RangeTombstone(numbers(*start), True, numbers(*end), True, Deletion(written, written // 1_000_000))


def update(
    of: TableMetadata,
    key: str,
    *rows: DecodedRow,
    ranges: Sequence[RangeTombstone] = (),
    static: bool = False,
    deleted: int | None = None,
) -> PartitionUpdate:
    """Make a partition update; `deleted` is the write time of a partition deletion."""
    return PartitionUpdate(
        of,
        key.encode(),
        0,
        None if deleted is None else Deletion(deleted, deleted // 1_000_000),
        row(name="s") if static else None,
        rows,
        tuple(ranges),
    )


def user(key: str, *, written: int = WRITTEN) -> bytes:
    """Serialise the mutation that writes one row of `shop.users`."""
    return mutation(update(USERS, key, row(written=written)))


def other(key: str) -> bytes:
    """Serialise the mutation that writes one row of `shop.others`, which has no mapping."""
    return mutation(update(OTHERS, key, row()))


@dataclass
class SegmentWriter:
    """One segment: `CommitLogSegment` and `MemoryMappedSegment`."""

    id: int
    storage: Path
    cdc_raw: Path
    size: int = SEGMENT_SIZE
    linked: bool = True
    holds_cdc: bool = False
    closed: bool = False
    marker: int = 0
    allocated: int = 0
    entry_ends: list[int] = field(default_factory=list)

    version: ClassVar[int] = 7

    def __post_init__(self) -> None:
        begin = header(self.version, self.id)
        with self.path.open("xb") as file:
            file.truncate(self.size)
            file.write(begin)
        self.marker = len(begin)
        self.allocated = self.marker + 8
        if self.linked:
            self.link_to_cdc()

    @property
    def name(self) -> str:
        return f"CommitLog-{self.version}-{self.id}.log"

    @property
    def path(self) -> Path:
        return self.storage / self.name

    @property
    def link(self) -> Path:
        return self.cdc_raw / self.name

    @property
    def index(self) -> Path:
        return self.cdc_raw / f"CommitLog-{self.version}-{self.id}_cdc.idx"

    def link_to_cdc(self) -> None:
        self.link.hardlink_to(self.path)

    def write_at(self, position: int, data: bytes) -> None:
        descriptor = os.open(self.path if self.path.exists() else self.link, os.O_WRONLY)
        try:
            os.pwrite(descriptor, data, position)
        finally:
            os.close(descriptor)

    def add(self, payload: bytes, *, cdc: bool = True) -> bool:
        """Allocate and write an entry; false when there is no room."""
        data = entry(payload)
        if self.closed or self.allocated + len(data) >= self.size:
            return False
        self.write_at(self.allocated, data)
        self.allocated += len(data)
        self.entry_ends.append(self.allocated)
        self.holds_cdc = self.holds_cdc or cdc
        return True

    def mark(self) -> None:
        """`sync(false)`: put a marker behind what is written."""
        if not self.closed and self.allocated > self.marker + 8:
            self._section(self.allocated)
            self.allocated += 8

    def sync(self) -> None:
        """`sync(true)`: markers, and the index file where there is CDC data."""
        self.mark()
        if self.holds_cdc and not self.closed:
            self.write_index(self.marker)

    def close(self) -> None:
        """`close()`: the last section, which may be empty, and COMPLETED."""
        if self.closed:
            return
        self._section(self.allocated)
        self.closed = True
        if self.holds_cdc:
            self.write_index(self.marker, completed=True)

    def discard(self) -> None:
        """`CommitLogSegmentManagerCDC.discard`: no memtable needs the segment any more."""
        self.close()
        self.path.unlink()
        if not self.holds_cdc:
            self.link.unlink(missing_ok=True)
            self.index.unlink(missing_ok=True)

    def replay(self) -> None:
        """What a restart after a crash does: `handleCDCReplayCompletion`, then `handleReplayedSegment`."""
        self.closed = True
        if not self.path.exists():
            return
        if self.holds_cdc:
            if not self.link.exists():
                self.link_to_cdc()
            self.write_index(self.size, completed=True)
        self.path.unlink()
        if self.link.exists() and not self.index.exists():
            self.link.unlink()

    def write_index(self, offset: int, *, completed: bool = False) -> None:
        self.index.write_text(f"{offset}\nCOMPLETED" if completed else str(offset))

    def _section(self, end: int) -> None:
        if end <= self.size - 8:
            self.write_at(end, bytes(8))
        self.write_at(self.marker, marker(self.id, self.marker, end))
        self.marker = end


class MovedSegmentWriter(SegmentWriter):
    """One segment of 3.11: no link and no index file."""

    version = 6

    def link_to_cdc(self) -> None:
        """Do nothing: 3.11 makes no links."""

    def write_index(self, offset: int, *, completed: bool = False) -> None:
        """Do nothing: 3.11 writes no index files."""

    def discard(self) -> None:
        """`CommitLogSegmentManagerCDC.discard` of 3.11: close, then move or delete."""
        self.close()
        if self.holds_cdc:
            self.path.rename(self.link)
        else:
            self.path.unlink()

    def replay(self) -> None:
        """`CommitLogSegmentManagerCDC.handleReplayedSegment` of 3.11: move whatever is in the segment."""
        self.closed = True
        self.path.rename(self.link)


class CommitLogWriter:
    """The commit log of one node: `AbstractCommitLogSegmentManager` with its prepared segment."""

    def __init__(
        self,
        root: Path,
        *,
        size: int = SEGMENT_SIZE,
        first_id: int = FIRST_ID,
        make_segment: type[SegmentWriter] = SegmentWriter,
    ) -> None:
        self._make_segment = make_segment
        self.storage = root / "commitlog"
        self.cdc_raw = root / "cdc_raw"
        self.storage.mkdir(exist_ok=True)
        self.cdc_raw.mkdir(exist_ok=True)
        self.size = size
        self.segments: list[SegmentWriter] = []
        self._next_id = first_id
        self.start()

    @property
    def current(self) -> SegmentWriter:
        """The segment in use; behind it is an empty one."""
        return self.segments[-2]

    @property
    def prepared(self) -> SegmentWriter:
        """The segment that comes next."""
        return self.segments[-1]

    def start(self) -> None:
        """Begin a run with two fresh segments."""
        self._create()
        self._create()

    def write(self, *payloads: bytes, cdc: bool = True) -> None:
        """Add mutations, going on to the next segment where one is full."""
        for payload in payloads:
            while not self.current.add(payload, cdc=cdc):
                self.advance()

    def advance(self, *, close: bool = True) -> None:
        """Take the prepared segment into use and prepare the next; close the old one, or leave that for later.

        Between the two a writer that is late may still use the old one (`advanceAllocatingFrom`).
        """
        old = self.current
        self._create()
        if close:
            old.close()

    def shut_down_and_start(self) -> None:
        """Drain: everything is flushed and discarded, but the prepared segment's link is forgotten."""
        for segment in self.segments[:-1]:
            if segment.path.exists():
                segment.discard()
        self.prepared.close()
        self.prepared.path.unlink()
        self._begin_run()
        self.start()

    def crash_and_restart(self) -> None:
        """Kill -9, then a new process that replays."""
        old = [segment for segment in self.segments if segment.path.exists()]
        self._begin_run()
        self.start()
        for segment in old:
            segment.replay()

    def _begin_run(self) -> None:
        """`CommitLogSegment.idBase`: the wall clock's milliseconds, after every write of the run before."""
        self._next_id = max(self._next_id + 1_000_000, time.time_ns() // 1_000_000 + 1)

    def _create(self) -> None:
        self.segments.append(self._make_segment(self._next_id, self.storage, self.cdc_raw, self.size))
        self._next_id += 1
