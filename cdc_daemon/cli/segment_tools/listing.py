"""`segments list`: segments with their state, the tables in them, and whether the daemon has consumed them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from cdc_daemon.cli.output import format_age, format_bytes, plain_table, show_table, text
from cdc_daemon.cli.segment_tools.reading import SegmentReading, read_index
from cdc_daemon.cli.segment_tools.reporting import ProgressLine, is_system_table
from cdc_daemon.cli.segment_tools.state import Consumption
from cdc_daemon.cli.segment_tools.verify import unreadable
from cdc_daemon.commitlog.descriptor import CdcIndex, SegmentDescriptor, parse_segment_name
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.key_update import read_key_update
from cdc_daemon.commitlog.layout import TABLE_ID_SIZE, TableLayout
from cdc_daemon.commitlog.mutation import read_mutation
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.commitlog.section import Section
from cdc_daemon.model.errors import CdcError, CommitLogError, MutationError

_ONE: Final = 1
"""The first byte of nearly every mutation: the number of its updates, a vint."""


@dataclass(slots=True)
class ListedSegment:
    """One segment.

    `tables` counts the updates of tables with CDC by name, `others` those of other tables by name or id, `own` those of
    system tables without a known name. `consumed` is `yes`, `partly` or `no`, or None if there is no state of a daemon.
    `modified` is in seconds since the epoch, `size` in bytes.
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
        """Seconds since the last modification of the segment."""
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
    path: Path, *, schema: Schema, look_inside: bool, keyring: Keyring | None, consumption: Consumption | None,
    progress: ProgressLine,
) -> ListedSegment:  # fmt: skip
    """List one segment. Errors are not raised, but added to its `problems`."""
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
    if consumption is not None and listed.id is not None:
        listed.consumed, listed.consumed_up_to = consumption.of(listed.id)
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


def _look_inside(reading: SegmentReading, listed: ListedSegment, schema: Schema, progress: ProgressLine) -> None:
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
        elif table is None and is_system_table(table_id):
            listed.own += count
        else:
            listed.others[str(UUID(bytes=table_id) if table is None else table)] += count


def _count_tables(
    section: Section, segment: str, schema: Schema, counts: Counter[bytes], problems: list[CommitLogError]
) -> None:
    """Count updates by table id. The contents of mutations with a single update are not decoded."""

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
    """Yield the problems of all segments."""
    for each in listed:
        yield from each.problems


def show_list(segments: Sequence[ListedSegment], *, known_tables: bool) -> None:
    """Print segments as a table. `known_tables` says whether the names of tables are known."""
    heading = "CDC tables (updates)" if known_tables else "tables (updates)"
    table = plain_table("segment", "index", "size", "age", "consumed", heading, right=("size", "age"))
    for each in segments:
        inside = each.tables if known_tables else each.others
        named = "" if inside is None else ", ".join(f"{name} ({count})" for name, count in inside.most_common())
        if each.encrypted or each.compression:
            kind = ", ".join(filter(None, [each.compression, "encrypted" if each.encrypted else None]))
            named = f"[{kind}] {named}"
        consumed = each.consumed or "?"
        if each.consumed_up_to is not None and consumed == "partly":
            consumed = f"up to {each.consumed_up_to}"
        table.add_row(
            text(each.path.name),
            each.state,
            format_bytes(each.size),
            format_age(each.age),
            consumed,
            text(named),
        )
    show_table(table)
