"""Sizes, ages and times as people read them."""

from __future__ import annotations

import pytest

from cdc_daemon.cli import output


@pytest.mark.parametrize(
    ("size", "spelt"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (3 << 29, "1.5 GiB"), (1 << 41, "2.0 TiB")],
)
def test_sizes(size: int, spelt: str) -> None:
    assert output.format_bytes(size) == spelt


@pytest.mark.parametrize(
    ("seconds", "spelt"), [(-3, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (200_000, "2d")]
)
def test_ages(seconds: float, spelt: str) -> None:
    assert output.format_age(seconds) == spelt


@pytest.mark.parametrize(
    ("moment", "spelt"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_461_450_306_785, "2026-11-23T19:17:30.306Z"),
        (2**62, str(2**62)),
        (-(2**62), str(-(2**62))),
    ],
)
def test_write_times(moment: int, spelt: str) -> None:
    assert output.format_time(moment) == spelt
