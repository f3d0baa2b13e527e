from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cassandra.cqltypes import DateType
from cassandra.util import Date, max_uuid_from_time, min_uuid_from_time
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.table import Column
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.cql_types import parse_type
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.sources.poll.timestamps import DAY, TimestampColumn

HOUR = DAY // 24
NOON = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * 1_000_000


def moments(cql_type: str, **options: Any) -> TimestampColumn:
    column = Column("changed", b"changed", parse_type(cql_type), "regular")
    settings = PollSettings.model_validate({"table": "shop.orders", "strategy": "scan", "column": "changed", **options})
    return TimestampColumn(column, settings)


@pytest.mark.parametrize(
    ("cql_type", "options", "value", "latest"),
    [
        ("timestamp", {}, (NOON // 1000).to_bytes(8, "big"), NOON + 999),
        ("timestamp", {}, (NOON * 1000).to_bytes(8, "big"), NOON * 1_000_000 + 999),
        ("timestamp", {}, (-1).to_bytes(8, "big", signed=True), -1),
        ("timestamp", {}, b"", None),
        ("date", {}, Date("2026-11-24"), NOON + DAY // 2 - 1),
        ("bigint", {"unit": "ms"}, NOON // 1000, NOON + 999),
        ("bigint", {"unit": "s"}, NOON // 1_000_000, NOON + 999_999),
        ("bigint", {"unit": "us"}, NOON, NOON),
        ("int", {"unit": "s"}, NOON // 1_000_000, NOON + 999_999),
        ("text", {"format": "yyyy-MM-dd"}, "2026-11-24", NOON + DAY // 2 - 1),
        ("timestamp", {}, None, None),
        ("text", {"format": "yyyy-MM-dd"}, "yesterday", None),
        # A day of New York ends five hours after that of UTC, and one of 25 hours an hour after one of 24.
        ("date", {"zone": "America/New_York"}, Date("2026-11-24"), NOON + DAY // 2 + 5 * HOUR - 1),
        ("date", {"zone": "Europe/Berlin"}, Date("2026-10-25"), NOON - 30 * DAY + 11 * HOUR - 1),
        ("date", {}, Date(4_000_000), None),
    ],
)
def test_what_a_value_says(cql_type: str, options: dict[str, Any], value: Any, latest: int | None) -> None:
    assert moments(cql_type, **options).latest(value) == latest


def test_a_timeuuid_says_when_it_was_made() -> None:
    of = moments("timeuuid")
    for made in (min_uuid_from_time(NOON / 1e6), max_uuid_from_time(NOON / 1e6)):
        assert of.latest(made) == NOON


@pytest.mark.parametrize(
    ("cql_type", "options"),
    [
        ("timestamp", {}),
        ("timeuuid", {}),
        ("date", {}),
        ("date", {"zone": "America/New_York"}),
        ("bigint", {"unit": "us"}),
        ("bigint", {"unit": "s"}),
        ("text", {"format": "yyyy-MM-dd HH:mm:ss:SSSZ"}),
    ],
)
@given(moment=st.integers(min_value=0, max_value=2 * NOON))
def test_the_bound_covers_its_moment(cql_type: str, options: dict[str, Any], moment: int) -> None:
    """The bound's own value stands for moments not after the one asked for, so nothing from there on is left out."""
    of = moments(cql_type, **options)
    bound = of.bound(moment)
    latest = of.latest(DateType.serialize(bound, 4) if cql_type == "timestamp" else bound)
    assert latest is not None
    assert latest - of.precision + 1 <= moment + HOUR * (cql_type == "date")
    assert moment - latest < 2000


@pytest.mark.parametrize(
    ("cql_type", "options", "said"),
    [
        ("text", {}, "expected a format"),
        ("list<int>", {}, "expected a column of type"),
        ("double", {}, "of type double"),
    ],
)
def test_columns_that_tell_no_moment(cql_type: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        moments(cql_type, **options)
