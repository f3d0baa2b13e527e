"""`segments stats`: count the contents of segments by table, and in total."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import typer

from cdc_daemon.cli.output import format_bytes, format_time, plain_table, show_table, text
from cdc_daemon.cli.segment_tools.mutations import MutationReader
from cdc_daemon.cli.segment_tools.reading import SegmentReading, read_index
from cdc_daemon.cli.segment_tools.reporting import ProblemReport, ProgressLine
from cdc_daemon.cli.segment_tools.verify import unreadable
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.update import Cell, ComplexColumn, DecodedRow, PartitionUpdate
from cdc_daemon.model.errors import CdcError, CommitLogError

KEPT: Final = 4096
"""The number of hashes that are kept. Up to this number of values the count is exact; beyond, its standard error is
1/64."""
_HASHES: Final = 1 << 64


class DistinctCounter:
    """Counts distinct values in bounded memory, by the smallest hashes (k minimum values, Bar-Yossef et al. 2002)."""

    __slots__ = ("_kept", "_largest", "exact")

    def __init__(self) -> None:
        self._kept: set[int] = set()
        self._largest: list[int] = []
        self.exact = True
        """Whether the count is exact."""

    def add(self, value: bytes) -> None:
        """Count a value."""
        number = int.from_bytes(blake2b(value, digest_size=8).digest(), "big")
        if number in self._kept:
            return
        if len(self._kept) < KEPT:
            self._kept.add(number)
            heapq.heappush(self._largest, -number)
            return
        self.exact = False
        if number < -self._largest[0]:
            self._kept.add(number)
            self._kept.discard(-heapq.heapreplace(self._largest, -number))

    @property
    def count(self) -> int:
        """The number of distinct values, exact or estimated."""
        if self.exact:
            return len(self._kept)
        return round((KEPT - 1) * _HASHES / -self._largest[0])


@dataclass(slots=True)
class Span:
    """The oldest and the newest write time in microseconds since the epoch, or None if nothing was written."""

    oldest: int | None = None
    newest: int | None = None

    def add(self, timestamp: int) -> None:
        """Add a write time."""
        if self.oldest is None or self.newest is None:
            self.oldest = self.newest = timestamp
        elif timestamp < self.oldest:
            self.oldest = timestamp
        elif timestamp > self.newest:
            self.newest = timestamp

    def join(self, other: Span) -> None:
        """Add the write times of another span."""
        for timestamp in (other.oldest, other.newest):
            if timestamp is not None:
                self.add(timestamp)


@dataclass(slots=True)
class TableStats:
    """The contents of segments for one table.

    `mutations` counts the mutations with updates of the table, `size` the bytes of these updates. `partitions` counts
    distinct partition keys. `rows` counts written rows, static rows included. Deletions are counted by their scope:
    partitions, ranges of rows, rows, cells, and whole collections or UDTs. Every write of a whole collection contains a
    deletion of its previous elements.
    """

    name: str
    mutations: int = 0
    size: int = 0
    updates: int = 0
    partitions: DistinctCounter = field(default_factory=DistinctCounter)
    rows: int = 0
    cells: int = 0
    expiring_cells: int = 0
    partition_deletions: int = 0
    range_deletions: int = 0
    row_deletions: int = 0
    cell_deletions: int = 0
    collection_deletions: int = 0
    written: Span = field(default_factory=Span)

    def add(self, update: PartitionUpdate, size: int) -> Span:
        """Count an update of `size` bytes; return its write times."""
        self.updates += 1
        self.size += size
        self.partitions.add(update.partition_key)
        span = Span()
        if update.deletion is not None:
            self.partition_deletions += 1
            span.add(update.deletion.timestamp)
        for each in update.ranges:
            self.range_deletions += 1
            span.add(each.deletion.timestamp)
        if update.static is not None:
            self._add_row(update.static, span)
        for row in update.rows:
            self._add_row(row, span)
        self.written.join(span)
        return span

    def _add_row(self, row: DecodedRow, span: Span) -> None:
        if row.deletion is not None:
            self.row_deletions += 1
            span.add(row.deletion.timestamp)
        if row.timestamp is not None:
            span.add(row.timestamp)
        if row.timestamp is not None or row.columns:
            self.rows += 1
        for column in row.columns.values():
            if isinstance(column, Cell):
                self._add_cell(column, span)
            else:
                self._add_complex(column, span)

    def _add_complex(self, column: ComplexColumn, span: Span) -> None:
        if column.deletion is not None:
            self.collection_deletions += 1
            span.add(column.deletion.timestamp)
        for cell in column.cells:
            self._add_cell(cell, span)

    def _add_cell(self, cell: Cell, span: Span) -> None:
        span.add(cell.timestamp)
        if cell.value is None:
            self.cell_deletions += 1
        else:
            self.cells += 1
            self.expiring_cells += cell.ttl is not None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "table": self.name,
            "mutations": self.mutations,
            "bytes": self.size,
            "updates": self.updates,
            "partitions": self.partitions.count,
            "partitions_exact": self.partitions.exact,
            "rows": self.rows,
            "cells": self.cells,
            "expiring_cells": self.expiring_cells,
            "deletions": {
                "partitions": self.partition_deletions,
                "ranges": self.range_deletions,
                "rows": self.row_deletions,
                "cells": self.cell_deletions,
                "collections": self.collection_deletions,
            },
            "oldest_write": self.written.oldest,
            "newest_write": self.written.newest,
        }


@dataclass(slots=True)
class SegmentStats:
    """One segment: the size of the file, the logical position after the last marker, mutations, and write times."""

    path: Path
    size: int = 0
    end: int = 0
    mutations: int = 0
    written: Span = field(default_factory=Span)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "path": str(self.path),
            "bytes": self.size,
            "end": self.end,
            "mutations": self.mutations,
            "oldest_write": self.written.oldest,
            "newest_write": self.written.newest,
        }


@dataclass(slots=True)
class Statistics:
    """Counts segments one after another."""

    reader: MutationReader
    report: ProblemReport
    tables: dict[str, TableStats] = field(default_factory=dict)
    segments: list[SegmentStats] = field(default_factory=list)
    mutations: int = 0
    size: int = 0
    unknown: int = 0
    written: Span = field(default_factory=Span)

    def read(self, paths: Iterable[Path], *, keyring: Keyring | None, progress: ProgressLine) -> None:
        """Count segments. A segment that cannot be read is reported and skipped."""
        for path in paths:
            try:
                self._read(path, keyring, progress)
            except OSError as error:
                self.report.problem(unreadable(path, error))
            except CdcError as error:
                self.report.problem(error)

    def _read(self, path: Path, keyring: Keyring | None, progress: ProgressLine) -> None:
        index = read_index(path).index
        problems: list[CommitLogError] = []
        with SegmentReading(path, keyring=keyring, problems=problems) as reading:
            segment = SegmentStats(path, size=reading.size)
            self.segments.append(segment)
            for section in reading.sections():
                for mutation in self.reader.read(section, segment=path.name, problems=problems):
                    segment.mutations += 1
                    self.mutations += 1
                    self.size += mutation.size
                    self.unknown += mutation.unknown
                    self._add(mutation.updates, segment)
                self._report_problems(problems)
                progress.step(path.name, section.end, reading.size)
            segment.end = reading.end
            reading.check_end(index)
            self._report_problems(problems)

    def _add(self, updates: list[tuple[PartitionUpdate, int]], segment: SegmentStats) -> None:
        met = set()
        for update, size in updates:
            name = str(update.table)
            table = self.tables.get(name)
            if table is None:
                table = self.tables[name] = TableStats(name)
            span = table.add(update, size)
            segment.written.join(span)
            self.written.join(span)
            met.add(name)
        for name in met:
            self.tables[name].mutations += 1

    def _report_problems(self, problems: list[CommitLogError]) -> None:
        for problem in problems:
            self.report.problem(problem)
        problems.clear()

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values; times in microseconds since the epoch, sizes in bytes."""
        return {
            "segments": [each.as_dict() for each in self.segments],
            "tables": [self.tables[name].as_dict() for name in sorted(self.tables)],
            "mutations": self.mutations,
            "bytes": self.size,
            "unknown_updates": self.unknown,
            "problems": self.report.count,
            "oldest_write": self.written.oldest,
            "newest_write": self.written.newest,
        }


def show_statistics(statistics: Statistics) -> None:
    """Print the numbers of each table, and the totals."""
    numbers = ("mutations", "bytes", "partitions", "rows", "deleted: partitions", "ranges", "rows ", "cells")
    table = plain_table("table", *numbers, "oldest write", "newest write", right=numbers)
    for name in sorted(statistics.tables):
        each = statistics.tables[name]
        about = "" if each.partitions.exact else "~"
        table.add_row(
            text(name),
            str(each.mutations),
            str(each.size),
            f"{about}{each.partitions.count}",
            str(each.rows),
            str(each.partition_deletions),
            str(each.range_deletions),
            str(each.row_deletions),
            str(each.cell_deletions),
            format_time(each.written.oldest) if each.written.oldest is not None else "",
            format_time(each.written.newest) if each.written.newest is not None else "",
        )
    show_table(table)
    read = len(statistics.segments)
    typer.echo(
        f"{statistics.mutations} mutations, {format_bytes(statistics.size)}, in {read} segment"
        f"{'' if read == 1 else 's'}"
        + (f"; {statistics.unknown} updates of unknown tables" if statistics.unknown else "")
    )
