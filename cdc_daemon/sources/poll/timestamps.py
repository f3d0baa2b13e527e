"""Timestamp columns of any type as microseconds since epoch, and the time buckets of partition keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from cassandra.util import Date, min_uuid_from_time

from cdc_daemon.cassandra.dialect import CASSANDRA, Dialect
from cdc_daemon.cassandra.read_plan import bytes_of, quote
from cdc_daemon.commitlog.table import Column
from cdc_daemon.config.poll import BucketSettings, PollSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.text_timestamps import TextTimestamps

DAY = 86_400_000_000
"""Microseconds in a day."""

INTEGER_TYPES = ("int", "bigint", "varint")
"""Types of columns that hold numbers: of timestamps, or of buckets since 1970."""

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""Microseconds in each unit of a bigint column."""

_UUID_EPOCH = 0x01B21DD213814000
"""Hundreds of nanoseconds from 1582-10-15, from which UUIDs count, to 1970-01-01 (RFC 9562, section 5.1)."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FURTHEST = 2**80
"""The largest result in microseconds, beyond every `timestamp`: a varint may have any length."""
_QUARTER = 900_000_000
"""Microseconds in a quarter of an hour: all offsets of time zones are multiples of it today."""
_LAST = (datetime(9999, 1, 1, tzinfo=UTC) - _BEGINNING) // _MICROSECOND


class TimestampColumn:
    """Converts the values of one timestamp column.

    `expression` is the expression selected to read the column. `precision` is the period that one value covers, in
    microseconds: the change may be that much later than its value. `sortable` is true if the server orders values by
    time. Raises `ConfigError` if the column's type is no timestamp, or is text without a format.
    """

    def __init__(self, column: Column, settings: PollSettings, dialect: Dialect = CASSANDRA) -> None:
        self.column = column
        self.sortable = True
        self.expression = quote(column.name)
        self._read: Callable[[Any], int | None]
        self._bound: Callable[[int], Any]
        match column.type.name:
            case "timestamp":
                # As bytes: the driver cannot convert a timestamp beyond Python's years, and fails the whole page.
                self.expression = bytes_of(column, dialect)
                self.precision, self._read, self._bound = 1000, _of_timestamp, _to_datetime
            case "timeuuid":
                self.precision, self._read, self._bound = 1, _of_timeuuid, _to_timeuuid
            case "date":
                days = LocalDays(settings.zone)
                self.precision, self._read, self._bound = DAY, days.read, days.write
            case "bigint" | "varint" | "int":
                unit = UNITS[settings.unit]
                self.precision, self._read, self._bound = (
                    unit,
                    lambda value: value * unit,
                    lambda moment: moment // unit,
                )
            case "text" | "varchar" | "ascii":
                if settings.format is None:
                    raise ConfigError(
                        f"expected a format, as the column {column.name} is a text",
                        hint='such as format: "yyyy-MM-dd HH:mm:ss:SSSZ"',
                        table=str(settings.table),
                    )
                text = TextTimestamps(settings.format, settings.zone)
                self.precision, self._read, self._bound = text.finest, text.read, text.write
                self.sortable = False
            case other:
                raise ConfigError(
                    "expected a column of type timestamp, timeuuid, date, bigint, int, varint or text, "
                    f"found {column.name} of type {other}",
                    table=str(settings.table),
                )

    def latest(self, value: Any) -> int | None:
        """Return the last microsecond that a value covers; None if the value is null or invalid."""
        if value is None:
            return None
        try:
            moment = self._read(value)
        except (ValueError, OverflowError, AttributeError):
            return None
        return None if moment is None else max(-_FURTHEST, min(moment + self.precision - 1, _FURTHEST))

    def bound(self, moment: int) -> Any:
        """Return the smallest value of the column that a change since `moment` may have."""
        return self._bound(min(max(moment, 0), _LAST))


def _of_timestamp(value: bytes | datetime) -> int | None:
    if isinstance(value, datetime):  # of a database that returns no bytes; the driver's moments are naive, in UTC
        return (value.replace(tzinfo=UTC) - _BEGINNING) // _MICROSECOND
    return int.from_bytes(value, "big", signed=True) * 1000 if value else None


def _to_datetime(moment: int) -> datetime:
    return _BEGINNING + timedelta(milliseconds=moment // 1000)


def _of_timeuuid(value: UUID) -> int:
    return (value.time - _UUID_EPOCH) // 10


def _to_timeuuid(moment: int) -> UUID:
    return UUID(str(min_uuid_from_time(moment / 1e6 - 0.001)))


class LocalDays:
    """Dates in a time zone. A day on which the clocks change is longer or shorter than 24 hours."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)

    def read(self, value: Date) -> int:
        """Return this day's end less what a 24-hour day adds, in microseconds since epoch."""
        end = datetime.combine(value.date() + timedelta(days=1), time(), tzinfo=self._zone)
        return (end - _BEGINNING) // _MICROSECOND - DAY

    def write(self, moment: int) -> Date:
        """Return the day of a moment."""
        return Date((_BEGINNING + timedelta(microseconds=moment)).astimezone(self._zone).date())


class TimeBuckets:
    """Names the buckets of a partition key's column.

    Buckets begin by local time: a local day that a clock change makes an hour shorter or longer is one bucket; so is
    an hour that occurs twice. Raises `ConfigError` if the column's type cannot name a period.
    """

    def __init__(self, column: Column, bucket: BucketSettings, settings: PollSettings) -> None:
        named = column.type.name in ("text", "varchar", "ascii", "date")
        zone = bucket.zone or (settings.zone if named else "UTC")
        declared = settings.model_copy(update={"format": bucket.format, "zone": zone})
        self.width = int(bucket.width * 1e6)
        self._zone = ZoneInfo(zone)
        self._local = self._utc = None
        if column.type.name not in INTEGER_TYPES:
            self._local = TimestampColumn(column, declared)
            self._utc = TimestampColumn(column, declared.model_copy(update={"zone": "UTC"}))
        # No clock change shortens a bucket so much that a step of a quarter could miss it.
        self._step = min(self.width, max(self.width // 4, _QUARTER))

    def between(self, first: int, last: int) -> Sequence[Any]:
        """Return the values of all buckets that overlap the period between two moments (microseconds since epoch)."""
        moments = (first, *range(first - first % self._step + self._step, last, self._step), last)
        return list(dict.fromkeys(value for moment in moments for value in self._values(moment)))

    def _values(self, moment: int) -> Sequence[Any]:
        wall = (_BEGINNING + moment * _MICROSECOND).astimezone(self._zone).replace(tzinfo=UTC)
        passed = (wall - _BEGINNING) // _MICROSECOND
        number = passed // self.width
        if self._local is None or self._utc is None:
            return [number]
        begin = _BEGINNING + number * self.width * _MICROSECOND
        first, second = ((begin.replace(tzinfo=self._zone, fold=at) - _BEGINNING) // _MICROSECOND for at in (0, 1))
        if first == second:
            return [self._local.bound(first)]
        # A local time that occurs twice may be returned as either; one that is skipped is returned as if it occurred.
        return [self._local.bound(first), self._local.bound(second), self._utc.bound(number * self.width)]
