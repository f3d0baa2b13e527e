from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.text_timestamps import TextTimestamps

SUNBIRD = "yyyy-MM-dd HH:mm:ss:SSSZ"


def micros(*parts: int, fraction: int = 0) -> int:
    year, month, day, hour, minute, second = (*parts, 0, 0, 0)[:6]
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1_000_000 + fraction


@pytest.mark.parametrize(
    ("pattern", "zone", "text", "moment"),
    [
        (SUNBIRD, "UTC", "2026-02-03 04:05:06:789+0000", micros(2026, 2, 3, 4, 5, 6, fraction=789_000)),
        (SUNBIRD, "UTC", "2026-02-03 04:05:06:789+0530", micros(2026, 2, 2, 22, 35, 6, fraction=789_000)),
        (SUNBIRD, "Asia/Kolkata", "2026-02-03 04:05:06:789-0800", micros(2026, 2, 3, 12, 5, 6, fraction=789_000)),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "UTC", "2026-02-03T04:05:06Z", micros(2026, 2, 3, 4, 5, 6)),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "UTC", "2026-02-03T04:05:06-01:30", micros(2026, 2, 3, 5, 35, 6)),
        ("yyyy-MM-dd HH:mm", "Asia/Kolkata", "2026-02-03 05:30", micros(2026, 2, 3)),
        ("dd.MM.yyyy", "UTC", "03.02.2026", micros(2026, 2, 3)),
        ("yyyyMMddHHmmssSSSSSS", "UTC", "20260203040506789012", micros(2026, 2, 3, 4, 5, 6, fraction=789_012)),
        # Clocks are set back at 01:00 UTC: half past two comes twice, and the later is meant.
        ("yyyy-MM-dd HH:mm", "Europe/Berlin", "2026-10-25 02:30", micros(2026, 10, 25, 1, 30)),
        # Clocks are set forward: half past two never comes; the later of its readings is meant.
        ("yyyy-MM-dd HH:mm", "Europe/Berlin", "2026-03-29 02:30", micros(2026, 3, 29, 1, 30)),
        # The day has 25 hours: together with the day that its text stands for the moment is its end.
        ("yyyy-MM-dd", "Europe/Berlin", "2026-10-25", micros(2026, 10, 24, 23)),
        (SUNBIRD, "UTC", "2026-02-30 04:05:06:789+0000", None),
        (SUNBIRD, "UTC", "2026-02-03T04:05:06:789+0000", None),
        (SUNBIRD, "UTC", "2026-02-03 04:05:06:789", None),
        (SUNBIRD, "UTC", "0000-02-03 04:05:06:789+0000", None),
        (
            SUNBIRD,
            "UTC",
            "9999-12-31 23:59:59:999-1400",
            micros(9999, 12, 31) + 136_799_999_000,
        ),
        (SUNBIRD, "UTC", "2026-02-03 04:05:06:789+9999", None),
        (SUNBIRD, "UTC", "", None),
    ],
)
def test_reading(pattern: str, zone: str, text: str, moment: int | None) -> None:
    assert TextTimestamps(pattern, zone).read(text) == moment


@pytest.mark.parametrize("pattern", [SUNBIRD, "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "SSSSSS''ss mm HH dd MM yyyy Z"])
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
@given(moment=st.integers(min_value=0, max_value=micros(2100, 1, 1)))
def test_what_is_written_reads_back(pattern: str, zone: str, moment: int) -> None:
    text = TextTimestamps(pattern, zone)
    assert text.read(text.write(moment)) == moment - moment % text.finest


@pytest.mark.parametrize(
    "pattern", ["", "HH:mm:ss", "YYYY-MM-dd", "yyyy-MM-dd yyyy", "yyyy-MM-dd hh:mm a", "yyyy-MM-dd ZXXX", "yyyy"]
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        TextTimestamps(pattern)
