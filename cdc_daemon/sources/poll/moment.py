"""The value of a timestamp column, of any type, as microseconds since epoch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from cassandra.util import Date, min_uuid_from_time

from cdc_daemon.cassandra.plan import quote
from cdc_daemon.commitlog.table import Column
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.text_moment import TextMoment

DAY = 86_400_000_000
"""Microseconds in a day."""

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""Microseconds in each unit of a bigint column."""

_UUID_EPOCH = 0x01B21DD213814000
"""Hundreds of nanoseconds from 1582-10-15, from which UUIDs count, to 1970-01-01 (RFC 9562, section 5.1)."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FURTHEST = 2**80
"""Microseconds from 1970 to the furthest moment stored, beyond every `timestamp`: a varint may be any length."""
_LAST = (datetime(9999, 1, 1, tzinfo=UTC) - _BEGINNING) // _MICROSECOND


class ColumnMoments:
    """Reads the moments of one column.

    `expression` is the expression selected to read the column. `finest` is the period that one value covers, in
    microseconds: the change may be that much later than its value. `sortable` says whether the server orders values by
    time. Raises `ConfigError` where the column's type cannot hold a moment, or is text without a format.
    """

    def __init__(self, column: Column, settings: PollSettings) -> None:
        self.column = column
        self.sortable = True
        self.expression = quote(column.name)
        self._read: Callable[[Any], int | None]
        self._bound: Callable[[int], Any]
        match column.type.name:
            case "timestamp":
                # As bytes: the driver cannot convert a moment beyond Python's years, and fails the whole page.
                self.expression = f"timestampasblob({self.expression})"
                self.finest, self._read, self._bound = 1000, _of_timestamp, _to_datetime
            case "timeuuid":
                self.finest, self._read, self._bound = 1, _of_timeuuid, _to_timeuuid
            case "date":
                days = LocalDays(settings.zone)
                self.finest, self._read, self._bound = DAY, days.read, days.write
            case "bigint" | "varint" | "int":
                unit = UNITS[settings.unit]
                self.finest, self._read, self._bound = unit, lambda value: value * unit, lambda moment: moment // unit
            case "text" | "varchar" | "ascii":
                if settings.format is None:
                    raise ConfigError(
                        f"expected a format, as the column {column.name} is a text",
                        hint='such as format: "yyyy-MM-dd HH:mm:ss:SSSZ"',
                        table=str(settings.table),
                    )
                text = TextMoment(settings.format, settings.zone)
                self.finest, self._read, self._bound = text.finest, text.read, text.write
                self.sortable = False
            case other:
                raise ConfigError(
                    "expected a column of type timestamp, timeuuid, date, bigint, int, varint or text, "
                    f"found {column.name} of type {other}",
                    table=str(settings.table),
                )

    def latest(self, value: Any) -> int | None:
        """Return the last moment that a value covers, or None where it is null or not a moment."""
        if value is None:
            return None
        try:
            moment = self._read(value)
        except (ValueError, OverflowError, AttributeError):
            return None
        return None if moment is None else max(-_FURTHEST, min(moment + self.finest - 1, _FURTHEST))

    def bound(self, moment: int) -> Any:
        """Return the value from which rows are queried to find each change since `moment`."""
        return self._bound(min(max(moment, 0), _LAST))


def _of_timestamp(value: bytes) -> int | None:
    return int.from_bytes(value, "big", signed=True) * 1000 if value else None


def _to_datetime(moment: int) -> datetime:
    return _BEGINNING + timedelta(milliseconds=moment // 1000)


def _of_timeuuid(value: UUID) -> int:
    return (value.time - _UUID_EPOCH) // 10


def _to_timeuuid(moment: int) -> UUID:
    return UUID(str(min_uuid_from_time(moment / 1e6 - 0.001)))


class LocalDays:
    """Dates by the calendar of a time zone, with days that are longer or shorter where clocks are changed."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)

    def read(self, value: Date) -> int:
        """Return this day's end less what a 24-hour day adds, in microseconds since epoch."""
        end = datetime.combine(value.date() + timedelta(days=1), time(), tzinfo=self._zone)
        return (end - _BEGINNING) // _MICROSECOND - DAY

    def write(self, moment: int) -> Date:
        """Return the day of a moment."""
        return Date((_BEGINNING + timedelta(microseconds=moment)).astimezone(self._zone).date())
