"""Which buckets hold the rows of a period, in the time zone of the buckets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cdc_daemon.commitlog.table import Column
from cdc_daemon.config.poll import BucketSettings, PollSettings
from cdc_daemon.sources.poll.moment import ColumnMoments

NUMBERS = ("int", "bigint", "varint")
"""Types of columns that number the buckets since 1970."""

_QUARTER = 900_000_000
"""Microseconds in a quarter of an hour: all offsets of time zones are multiples of it today."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class TimeBuckets:
    """Names the buckets of a partition key's column.

    Buckets begin by local time: a local day that a clock change makes an hour shorter or longer is one bucket; so is
    an hour that occurs twice. Raises `ConfigError` where the column's type cannot name a period.
    """

    def __init__(self, column: Column, bucket: BucketSettings, settings: PollSettings) -> None:
        named = column.type.name in ("text", "varchar", "ascii", "date")
        zone = bucket.zone or (settings.zone if named else "UTC")
        declared = settings.model_copy(update={"format": bucket.format, "zone": zone})
        self.width = int(bucket.width * 1e6)
        self._zone = ZoneInfo(zone)
        self._moments = self._plain = None
        if column.type.name not in NUMBERS:
            self._moments = ColumnMoments(column, declared)
            self._plain = ColumnMoments(column, declared.model_copy(update={"zone": "UTC"}))
        # No clock change shortens a bucket so much that a step of a quarter could miss it.
        self._step = min(self.width, max(self.width // 4, _QUARTER))

    def between(self, first: int, last: int) -> Sequence[Any]:
        """Return the values of all buckets that overlap the period between two moments (microseconds since epoch)."""
        moments = (first, *range(first - first % self._step + self._step, last, self._step), last)
        return list(dict.fromkeys(value for moment in moments for value in self._of(moment)))

    def _of(self, moment: int) -> Sequence[Any]:
        wall = (_BEGINNING + moment * _MICROSECOND).astimezone(self._zone).replace(tzinfo=UTC)
        passed = (wall - _BEGINNING) // _MICROSECOND
        number = passed // self.width
        if self._moments is None or self._plain is None:
            return [number]
        begin = _BEGINNING + number * self.width * _MICROSECOND
        first, second = ((begin.replace(tzinfo=self._zone, fold=at) - _BEGINNING) // _MICROSECOND for at in (0, 1))
        if first == second:
            return [self._moments.bound(first)]
        # The beginning occurs twice and may be returned as either, or it is skipped and returned as if it occurred.
        return [self._moments.bound(first), self._moments.bound(second), self._plain.bound(number * self.width)]
