"""The three ways to find the changed rows of a polled table: by an index, by time buckets, or by a full scan."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from cdc_daemon.cassandra.read_plan import quote
from cdc_daemon.cassandra.ring import WHOLE_RING, Ring, TokenRange
from cdc_daemon.cassandra.scan import TokenScan
from cdc_daemon.commitlog.table import Column
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.sources.poll.rows import PagedQueries, PolledColumns, PolledRow, find_column, in_ranges
from cdc_daemon.sources.poll.timestamps import DAY, INTEGER_TYPES, TimeBuckets

AHEAD = 2 * DAY
"""How many microseconds of the future are queried day by day: for clocks and time zones that are ahead of ours."""

ORDERED_INDICES = ("storageattachedindex", "sai", "sasiindex")
"""Suffixes of the names of index classes that support ranges."""


class ScannedRows:
    """Reads the keys and times of all rows, token range by token range. No index is needed; it costs a full scan."""

    def __init__(self, scan: TokenScan, columns: PolledColumns, ring: Ring) -> None:
        self._scan = scan
        self._columns = columns
        self._ring = ring

    async def pages(
        self,
        since: int,  # noqa: ARG002 -- a scan reads every row
        ranges: Sequence[TokenRange] | None = None,
    ) -> AsyncIterator[Sequence[PolledRow]]:
        """Return every row of the ranges, page by page, in token order."""
        columns = self._columns
        for piece in await self._ring.pieces(columns.table, [WHOLE_RING] if ranges is None else ranges):
            async for page in self._scan.keys(columns.table, piece, shown=columns.others):
                yield [columns.row(key, values) for key, values in zip(page.keys, page.values, strict=True)]


class IndexedRows:
    """Queries a storage-attached or SASI index for all rows since a given time, including future ones.

    Other indices support only equality: with one of these, a column of type `date` is queried day by day.
    """

    def __init__(self, queries: PagedQueries, columns: PolledColumns, *, ordered: bool, now: Callable[[], int]) -> None:
        assert columns.timestamp is not None
        self._queries = queries
        self._timestamp = columns.timestamp
        self._ordered = ordered
        self._now = now
        self._name = quote(columns.timestamp.column.name)

    async def pages(self, since: int, ranges: Sequence[TokenRange] | None = None) -> AsyncIterator[Sequence[PolledRow]]:
        """Return every row whose column is `since` or later, page by page."""
        if self._ordered:
            async for page in self._queries.rows(f"{self._name} >= ?", [self._timestamp.bound(since)]):
                yield in_ranges(page, ranges)
            return
        # In steps that miss no local day, even when clocks are changed on it.
        times = range(since, self._now() + AHEAD, DAY // 4)
        for day in dict.fromkeys(map(self._timestamp.bound, times)):
            async for page in self._queries.rows(f"{self._name} = ?", [day]):
                yield in_ranges(page, ranges)


def check_index(columns: PolledColumns, indices: Sequence[tuple[str | None, str]]) -> bool:
    """Return whether the index on the timestamp column supports ranges.

    `indices` are the class (None for Cassandra's built-in index) and the target of each of the table's indices. Raises
    `ConfigError` where no index can find changed rows.
    """
    assert columns.timestamp is not None
    column = columns.timestamp.column
    place = {"table": str(columns.table), "column": column.name}
    kinds = [kind for kind, target in indices if target.strip('"') == column.name]
    if not kinds:
        raise ConfigError(
            "expected an index on the column, found none",
            hint=f"CREATE INDEX ON {columns.table} ({quote(column.name)}) USING 'sai'; or strategy: scan",
            **place,
        )
    if any(kind is not None and kind.rpartition(".")[2].lower() in ORDERED_INDICES for kind in kinds):
        if not columns.timestamp.sortable:
            raise ConfigError(
                "expected a column whose index answers ranges, found a text",
                hint="use strategy: scan, which reads the text of each row",
                **place,
            )
        return True
    if column.type.name != "date":
        raise ConfigError(
            f"expected an index that answers ranges, found one for equality only, on a {column.type}",
            hint="use an index USING 'sai', or a column of type date, or strategy: scan",
            **place,
        )
    return False


class BucketRows:
    """Reads the time buckets that overlap a period, and the one after now for clocks that are ahead.

    Raises `ConfigError` if the bucket's columns are not the table's partition key.
    """

    def __init__(
        self, queries: PagedQueries, columns: PolledColumns, settings: PollSettings, *, now: Callable[[], int]
    ) -> None:
        bucket = settings.bucket
        assert bucket is not None
        assert columns.timestamp is not None
        table = columns.plan.table
        names = [column.name for column in table.partition_key]
        if set(names) != {bucket.column, *bucket.others}:
            raise ConfigError(
                f"expected bucket.column and bucket.others to name the partition key ({', '.join(names)}), "
                f"found {', '.join([bucket.column, *bucket.others])}",
                table=str(settings.table),
            )
        self._queries = queries
        self._timestamp = columns.timestamp
        self._now = now
        self._buckets = TimeBuckets(find_column(table, bucket.column, settings), bucket, settings)
        self._others = [
            [None] if name == bucket.column else _typed(column, bucket.others[name])
            for name, column in zip(names, table.partition_key, strict=True)
        ]
        self._at = names.index(bucket.column)
        clauses = [f"{quote(name)} = ?" for name in names]
        first = table.clustering[0].name if table.clustering else None
        self._ranged = first == columns.timestamp.column.name and columns.timestamp.sortable
        if self._ranged:
            clauses.append(f"{quote(columns.timestamp.column.name)} >= ?")
        self._where = " AND ".join(clauses)

    async def pages(self, since: int, ranges: Sequence[TokenRange] | None = None) -> AsyncIterator[Sequence[PolledRow]]:
        """Return the rows of every bucket from that of `since` to the one after now, page by page."""
        for value in self._buckets.between(since, self._now() + self._buckets.width):
            for combination in itertools.product(*self._others):
                values: list[Any] = list(combination)
                values[self._at] = value
                if self._ranged:
                    values.append(self._timestamp.bound(since))
                async for page in self._queries.rows(self._where, values):
                    yield in_ranges(page, ranges)


def _typed(column: Column, values: Sequence[int | str]) -> list[Any]:
    """Return the values if they suit the column's type. Raises `ConfigError`."""
    number = column.type.name in (*INTEGER_TYPES, "smallint", "tinyint")
    for value in values:
        if number != isinstance(value, int):
            raise ConfigError(f"expected values of type {column.type} for the column {column.name}, found {value!r}")
    return list(values)
