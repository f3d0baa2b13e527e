from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cassandra.util import Date
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.dates import date_format, date_text, timestamp_text

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_000)  # noqa: DTZ001 -- the driver gives naive UTC


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("yyyy-MM-dd", MOMENT, "2026-02-03"),
        ("yyyy-MM-dd HH:mm:ss:SSSZ", MOMENT, "2026-02-03 04:05:06:789+0000"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", MOMENT, "2026-02-03T04:05:06.789Z"),
        ("dd.MM.yyyy 'o''clock' HH", MOMENT, "03.02.2026 o'clock 04"),
        ("yyyyMMdd", MOMENT, "20260203"),
        ("HH ''mm''", MOMENT, "04 '05'"),
        ("yyyy-MM-dd", MOMENT.replace(tzinfo=timezone(timedelta(hours=5))), "2026-02-02"),
        ("yyyy-MM-dd HH", Date("2026-02-03"), "2026-02-03 00"),
        ("yyyy", Date(2_932_897), "+10000"),
        ("epoch_millis", MOMENT, 1_770_091_506_789),
        ("epoch_second", MOMENT, 1_770_091_506),
        ("epoch_millis", Date("1970-01-02"), 86_400_000),
        ("epoch_second", Date("1969-12-31"), -86_400),
    ],
)
def test_a_moment_is_written_by_a_pattern(pattern: str, value: Any, expected: str | int) -> None:
    assert date_format(pattern)(value) == expected


@pytest.mark.parametrize("pattern", ["", "yy", "YYYY-MM-DD", "hello", "''", "-", "yyyy-MM-dd hh", "iso", "'yyyy'"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        date_format(pattern)


@given(st.datetimes(max_value=datetime(9999, 12, 31)))  # noqa: DTZ001 -- likewise
def test_every_timestamp_is_iso_with_milliseconds(moment: datetime) -> None:
    text = timestamp_text(moment)
    read = datetime.fromisoformat(text)
    assert text.endswith("Z")
    assert abs(read - moment.replace(tzinfo=UTC)) <= timedelta(microseconds=500)


@given(st.integers(-(2**31), 2**31 - 1))
def test_every_date_of_cassandra_has_a_text(days: int) -> None:
    year, month, day = date_text(Date(days)).rsplit("-", 2)
    assert 1 <= int(month) <= 12
    assert 1 <= int(day) <= 31
    assert abs(int(year)) < 6_000_000
