"""What is in a folder of segments: their state, what tables they speak of, and whether they are consumed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from cdc_daemon.cli.segment_tools.progress import Progress
from cdc_daemon.cli.segment_tools.reading import SegmentReading, read_index
from cdc_daemon.cli.segment_tools.report import is_own
from cdc_daemon.cli.segment_tools.verify import unreadable
from cdc_daemon.commitlog.descriptor import SegmentDescriptor, parse_segment_name
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.index import CdcIndex
from cdc_daemon.commitlog.keywalk import read_key_update
from cdc_daemon.commitlog.layout import TABLE_ID_SIZE, TableLayout
from cdc_daemon.commitlog.mutation import read_mutation
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.commitlog.section import Section
from cdc_daemon.model.errors import CdcError, CommitLogError, MutationError

_ONE: Final = 1
"""The count of updates, a vint, with which nearly every mutation begins."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a daemon is: its checkpoint, and where the segments that it is done with end, by id."""

    checkpoint: tuple[int, int] | None
    consumed: dict[int, int]

    def of(self, segment_id: int) -> tuple[str, int | None]:
        """Return whether a segment is consumed (`yes`, `partly`, `no`), and up to where."""
        if segment_id in self.consumed:
            return "yes", self.consumed[segment_id]
        if self.checkpoint is not None and self.checkpoint[0] == segment_id and self.checkpoint[1] > 0:
            return "partly", self.checkpoint[1]
        return "no", None


@dataclass(slots=True)
class ListedSegment:
    """One segment.

    `tables` counts updates of tables with CDC by name, `others` those of the rest by name or id, `own` those of
    Cassandra's own tables that are not known by name. `consumed` is `yes`, `partly` or `no`, None where no daemon's
    state is known. `modified` is in seconds since the epoch, `size` in bytes.
    """

    path: Path
    id: int | None = None
    version: int | None = None
    size: int = 0
    modified: float = 0.0
    links: int = 0
    has_index: bool = False
    index: CdcIndex | None = None
    compression: str | None = None
    encrypted: bool = False
    tables: Counter[str] | None = None
    others: Counter[str] = field(default_factory=Counter)
    own: int = 0
    consumed: str | None = None
    consumed_up_to: int | None = None
    problems: list[CdcError] = field(default_factory=list)

    @property
    def state(self) -> str:
        """Return the content of the index file as text."""
        if self.index is None:
            return "being written" if self.has_index else "none"
        return f"{self.index.offset} completed" if self.index.completed else str(self.index.offset)

    @property
    def age(self) -> float:
        """Seconds since the segment was changed."""
        return time.time() - self.modified

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "path": str(self.path),
            "id": self.id,
            "version": self.version,
            "bytes": self.size,
            "modified": self.modified,
            "links": self.links,
            "compression": self.compression,
            "encrypted": self.encrypted,
            "has_index": self.has_index,
            "index": None if self.index is None else self.index._asdict(),
            "tables": None if self.tables is None else dict(self.tables.most_common()),
            "other_tables": dict(self.others.most_common()),
            "updates_of_system_tables": self.own,
            "consumed": self.consumed,
            "consumed_up_to": self.consumed_up_to,
            "problems": [str(problem) for problem in self.problems],
        }


def list_segment(
    path: Path, *, schema: Schema, look_inside: bool, keyring: Keyring | None, progressed: Progressed | None,
    progress: Progress,
) -> ListedSegment:  # fmt: skip
    """List one segment. Nothing is raised: what is wrong is among its `problems`."""
    listed = ListedSegment(path)
    named = parse_segment_name(path.name)
    if named is not None:
        listed.version, listed.id = named
    try:
        _look_at(path, listed)
        with SegmentReading(path, keyring=keyring) as reading:
            if reading.descriptor is not None:
                _take_header(listed, reading.descriptor)
            if look_inside:
                _look_inside(reading, listed, schema, progress)
            listed.problems += reading.problems
    except OSError as error:
        listed.problems.append(unreadable(path, error))
    except CdcError as error:
        listed.problems.append(error)
    if progressed is not None and listed.id is not None:
        listed.consumed, listed.consumed_up_to = progressed.of(listed.id)
    return listed


def _look_at(path: Path, listed: ListedSegment) -> None:
    status = path.stat()
    listed.size, listed.modified, listed.links = status.st_size, status.st_mtime, status.st_nlink
    state = read_index(path)
    listed.has_index, listed.index = state.present, state.index


def _take_header(listed: ListedSegment, descriptor: SegmentDescriptor) -> None:
    listed.id, listed.version = descriptor.id, descriptor.version
    listed.compression = descriptor.compression
    listed.encrypted = descriptor.encryption is not None


def _look_inside(reading: SegmentReading, listed: ListedSegment, schema: Schema, progress: Progress) -> None:
    counts: Counter[bytes] = Counter()
    problems: list[CommitLogError] = []
    for section in reading.sections():
        _count_tables(section, reading.name, schema, counts, problems)
        progress.step(reading.name, section.end, reading.size)
    listed.problems += problems
    listed.tables = Counter()
    for table_id, count in counts.items():
        table = schema.get(table_id)
        if table is not None and table.cdc:
            listed.tables[str(table)] += count
        elif table is None and is_own(table_id):
            listed.own += count
        else:
            listed.others[str(UUID(bytes=table_id) if table is None else table)] += count


def _count_tables(
    section: Section, segment: str, schema: Schema, counts: Counter[bytes], problems: list[CommitLogError]
) -> None:
    """Count updates by table id, without a look at what they say where a mutation has only one."""

    def layout_of(table_id: bytes) -> TableLayout | None:
        table = schema.get(table_id)
        return None if table is None else TableLayout.of(table)

    def read(data: bytes, position: int, layout: TableLayout) -> tuple[bytes, int]:
        return layout.table.id, read_key_update(data, position, layout)[1]

    for payload, position in read_entries(section, segment=segment, problems=problems):
        if payload[0] == _ONE and len(payload) > TABLE_ID_SIZE:
            counts[payload[1 : 1 + TABLE_ID_SIZE]] += 1
            continue
        try:
            known, unknown = read_mutation(payload, layout_of, read)
        except MutationError as error:
            error.where.update(segment=segment, position=position)
            problems.append(error)
            continue
        counts.update(known)
        counts.update(unknown)


def all_problems(listed: list[ListedSegment]) -> Iterator[CdcError]:
    """Yield everything that is wrong with segments."""
    for each in listed:
        yield from each.problems
