"""Every time of a period is in one of the queried buckets, whatever clock changes there are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cassandra.util import Date
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_daemon.commitlog.table import Column
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.cql_types import parse_type
from cdc_daemon.sources.poll.timestamps import TimeBuckets

MINUTE = 60_000_000
CHANGES = {
    "UTC": datetime(2026, 3, 29, 1, tzinfo=UTC),
    "Europe/Berlin": datetime(2026, 10, 25, 1, tzinfo=UTC),  # an hour comes twice
    "America/New_York": datetime(2026, 3, 8, 7, tzinfo=UTC),  # an hour is missing
    "Atlantic/Azores": datetime(2026, 3, 29, 1, tzinfo=UTC),  # the day of 23 hours lies between two midnights of UTC
    "Australia/Lord_Howe": datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # half an hour is missing
    "Asia/Kolkata": datetime(2026, 3, 28, 18, 30, tzinfo=UTC),  # only a midnight
    "America/Havana": datetime(2026, 11, 1, 5, tzinfo=UTC),  # midnight comes twice
}
"""A moment in each zone at which its clocks are changed."""


def buckets(cql_type: str, bucket: dict[str, Any], *, zone: str = "UTC") -> TimeBuckets:
    declared = PollSettings.model_validate(
        {
            "table": "shop.orders",
            "strategy": "bucket",
            "column": "at",
            "zone": zone,
            "bucket": {"column": "bucket", **bucket},
        }
    )
    assert declared.bucket is not None
    return TimeBuckets(Column("bucket", b"bucket", parse_type(cql_type), "partition_key"), declared.bucket, declared)


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)


def six_hours(local: datetime) -> str:
    return f"{local:%Y-%m-%d} {local.hour - local.hour % 6:02}"


HOW: dict[str, tuple[str, dict[str, Any], Callable[[datetime], Any]]] = {
    "day as text": ("text", {"format": "yyyy-MM-dd"}, lambda local: f"{local:%Y-%m-%d}"),
    "day as date": ("date", {}, lambda local: Date(local.date())),
    "hour": ("text", {"format": "yyyy-MM-dd HH", "width": "1h"}, lambda local: f"{local:%Y-%m-%d %H}"),
    "hour with offset": ("text", {"format": "yyyyMMddHHZ", "width": "1h"}, lambda local: f"{local:%Y%m%d%H%z}"),
    "quarter of a day": ("text", {"format": "yyyy-MM-dd HH", "width": "6h"}, six_hours),
    "minute": ("text", {"format": "yyyy-MM-dd HH:mm", "width": "1m"}, lambda local: f"{local:%Y-%m-%d %H:%M}"),
    "hours counted": ("bigint", {"width": "1h"}, lambda local: micros(local) // (60 * MINUTE)),
}
"""By kind the column's type, how buckets are declared, and what an application calls that of a moment of its clock."""


@settings(max_examples=25)
@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("kind", HOW)
@given(
    begin=st.integers(min_value=-1600, max_value=200),
    length=st.integers(min_value=0, max_value=400),
    share=st.floats(min_value=0, max_value=1),
)
def test_each_moment_of_a_span_is_in_a_bucket_that_is_asked(
    kind: str, zone: str, begin: int, length: int, share: float
) -> None:
    cql_type, bucket, name = HOW[kind]
    first = micros(CHANGES[zone]) + begin * MINUTE
    last = first + length * MINUTE
    moment = datetime.fromtimestamp((first + int(share * (last - first))) / 1e6, ZoneInfo(zone))
    asked = buckets(cql_type, bucket, zone=zone).between(first, last)
    assert name(moment) in asked
    assert len(asked) == len(set(asked))


def test_a_days_rows_are_asked_once_each_turn() -> None:
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    of = buckets("text", {"format": "yyyy-MM-dd"}, zone="Asia/Kolkata")
    assert of.between(micros(noon - timedelta(minutes=5)), micros(noon) + of.width) == ["2026-03-10", "2026-03-11"]


@pytest.mark.parametrize(
    ("cql_type", "value"),
    [
        ("timestamp", datetime(2026, 3, 9, 18, 30, tzinfo=UTC)),
        ("int", 20522),
        ("date", Date("2026-03-10")),
        ("text", "10.03.2026"),
    ],
)
def test_buckets_may_have_a_zone_of_their_own(cql_type: str, value: Any) -> None:
    """At eight in the evening by UTC it is the next day in India."""
    moment = micros(datetime(2026, 3, 9, 20, tzinfo=UTC))
    pattern = {"format": "dd.MM.yyyy"} if cql_type == "text" else {}
    assert buckets(cql_type, {"zone": "Asia/Kolkata", **pattern}).between(moment, moment) == [value]
