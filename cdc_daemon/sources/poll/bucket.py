"""Newer rows in partitions that are split by time."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from cdc_daemon.cassandra.plan import quote
from cdc_daemon.commitlog.table import Column
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.sources.poll.asking import Asking
from cdc_daemon.sources.poll.columns import PolledColumns, find_column
from cdc_daemon.sources.poll.row import SeenRow
from cdc_daemon.sources.poll.time_buckets import NUMBERS, TimeBuckets


class BucketRows:
    """Reads the buckets that a period overlaps, and the one after now for clocks that are ahead.

    Raises `ConfigError` where the buckets' columns are not the table's partition key.
    """

    def __init__(
        self, asking: Asking, columns: PolledColumns, settings: PollSettings, *, now: Callable[[], int]
    ) -> None:
        bucket = settings.bucket
        assert bucket is not None
        assert columns.moments is not None
        table = columns.plan.table
        names = [column.name for column in table.partition_key]
        if set(names) != {bucket.column, *bucket.others}:
            raise ConfigError(
                f"expected bucket.column and bucket.others to name the partition key ({', '.join(names)}), "
                f"found {', '.join([bucket.column, *bucket.others])}",
                table=str(settings.table),
            )
        self._asking = asking
        self._moments = columns.moments
        self._now = now
        self._buckets = TimeBuckets(find_column(table, bucket.column, settings), bucket, settings)
        self._others = [
            [None] if name == bucket.column else _typed(column, bucket.others[name])
            for name, column in zip(names, table.partition_key, strict=True)
        ]
        self._at = names.index(bucket.column)
        clauses = [f"{quote(name)} = ?" for name in names]
        first = table.clustering[0].name if table.clustering else None
        self._ranged = first == columns.moments.column.name and columns.moments.sortable
        if self._ranged:
            clauses.append(f"{quote(columns.moments.column.name)} >= ?")
        self._where = " AND ".join(clauses)

    async def pages(self, since: int) -> AsyncIterator[Sequence[SeenRow]]:
        """Return the rows of every bucket from that of `since` to the one after now, page by page."""
        for value in self._buckets.between(since, self._now() + self._buckets.width):
            for combination in itertools.product(*self._others):
                values: list[Any] = list(combination)
                values[self._at] = value
                if self._ranged:
                    values.append(self._moments.bound(since))
                async for page in self._asking.rows(self._where, values):
                    yield page


def _typed(column: Column, values: Sequence[int | str]) -> list[Any]:
    number = column.type.name in (*NUMBERS, "smallint", "tinyint")
    for value in values:
        if number != isinstance(value, int):
            raise ConfigError(f"expected values of type {column.type} for the column {column.name}, found {value!r}")
    return list(values)
