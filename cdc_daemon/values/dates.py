"""Timestamps and dates as texts: ISO 8601 unless a pattern is declared."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from cdc_daemon.model.errors import ConfigError


class Moment(NamedTuple):
    """A calendar time in UTC; years may exceed Python's range, as those of CQL's `date` do."""

    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    millisecond: int = 0

    @property
    def year_text(self) -> str:
        """Return the year in ISO 8601: in its expanded form beyond four digits and before the year 0."""
        sign = "-" if self.year < 0 else "+" if self.year > 9999 else ""
        return f"{sign}{abs(self.year):04}"


def moment_of(value: Any) -> Moment:
    """Return the moment of a driver's value of type `timestamp` (a datetime, UTC if naive) or `date`."""
    if isinstance(value, datetime):
        value = _rounded(value)
        return Moment(
            value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond // 1000
        )
    cycles, day = divmod(value.days_from_epoch + _EPOCH, _CYCLE)
    within = date.fromordinal(day + 1)
    return Moment(within.year + 400 * cycles, within.month, within.day)


def days_of(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a day of any year, the inverse of `moment_of`. Raises `ValueError`."""
    cycles, within = divmod(year - 1, 400)
    return date(within + 1, month, day).toordinal() - 1 - _EPOCH + cycles * _CYCLE


def timestamp_text(value: datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds, such as `2026-02-03T04:05:06.789Z`."""
    if value.tzinfo is None and not value.microsecond % 1000:
        return f"{value.isoformat(timespec='milliseconds')}Z"
    return _rounded(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def date_text(value: Any) -> str:
    """Return ISO 8601, in expanded form for years beyond four digits; the driver's own text is then a number."""
    moment = moment_of(value)
    return f"{moment.year_text}-{moment.month:02}-{moment.day:02}"


def date_format(pattern: str) -> Callable[[Any], str | int]:
    """Return a function that formats a `timestamp` or `date` by a pattern, always in UTC.

    The letters are those of Elasticsearch and Java: `yyyy MM dd HH mm ss SSS`, `Z` (+0000), `XXX` (Z); any other
    text is in single quotes or has no letters. `epoch_millis` and `epoch_second` give numbers. Raises
    `ConfigError` for any other letters.
    https://www.elastic.co/guide/en/elasticsearch/reference/8.19/mapping-date-format.html
    """
    if pattern in _EPOCHS:
        return _epoch(_EPOCHS[pattern])
    parts: list[Callable[[Moment], str]] = []
    for match in _TOKEN.finditer(pattern):
        letters = match["letters"]
        if letters is None:
            quoted = match["quoted"]
            parts.append(_constant(match["literal"] if quoted is None else quoted.replace("''", "'") or "'"))
        elif letters in _LETTERS:
            parts.append(_LETTERS[letters])
        else:
            raise ConfigError(
                f"expected a date's pattern, found {letters!r} in {pattern!r}",
                hint=f"the letters are {', '.join(_LETTERS)}; other text stands in single quotes",
            )
    if not any(each in _LETTERS.values() for each in parts):
        raise ConfigError(f"expected a date's pattern, found {pattern!r}", hint="such as yyyy-MM-dd")

    def write(value: Any) -> str:
        moment = moment_of(value)
        return "".join([part(moment) for part in parts])

    return write


def _constant(text: str) -> Callable[[Moment], str]:
    return lambda _moment: text


def _epoch(divisor: int) -> Callable[[Any], int]:
    def write(value: Any) -> int:
        if isinstance(value, datetime):
            return round((_in_utc(value) - _BEGINNING) / timedelta(milliseconds=1)) // divisor
        return int(value.days_from_epoch) * 86_400_000 // divisor

    return write


def _rounded(value: datetime) -> datetime:
    # The driver computes in floating-point seconds, which are slightly off the millisecond in distant years.
    return _in_utc(value + _HALF_A_MILLISECOND)


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_TOKEN = re.compile(
    r"(?P<letters>(?P<letter>[A-Za-z])(?P=letter)*)|'(?P<quoted>(?:[^']|'')*)'|(?P<literal>[^A-Za-z']+|')"
)
_EPOCHS = {"epoch_millis": 1, "epoch_second": 1000}
_LETTERS: dict[str, Callable[[Moment], str]] = {
    "yyyy": lambda moment: moment.year_text,
    "MM": lambda moment: f"{moment.month:02}",
    "dd": lambda moment: f"{moment.day:02}",
    "HH": lambda moment: f"{moment.hour:02}",
    "mm": lambda moment: f"{moment.minute:02}",
    "ss": lambda moment: f"{moment.second:02}",
    "SSS": lambda moment: f"{moment.millisecond:03}",
    "Z": lambda _moment: "+0000",
    "XXX": lambda _moment: "Z",
}
_HALF_A_MILLISECOND = timedelta(microseconds=500)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = date(1970, 1, 1).toordinal() - 1
"""Days from 0001-01-01 to 1970-01-01."""
_CYCLE = 146_097
"""Days in four hundred years, after which the Gregorian calendar repeats itself."""
