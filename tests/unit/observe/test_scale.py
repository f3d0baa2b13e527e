"""The values beside a graph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.observe.scale import Scale, spell


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.25, "s", "250 ms"),
        (2.0, "s", "2 s"),
        (600.0, "s", "10 min"),
        (3 * 2.0**20, "bytes", "3 MiB"),
        (1500, "ops", "1.5 k/s"),
        (7, "short", "7"),
        (3, "bool", "3"),
    ],
)
def test_values_are_spelt_in_the_size_that_people_use(value: float, unit: str, expected: str) -> None:
    assert spell(value, unit) == expected


@pytest.mark.parametrize(
    ("values", "unit", "ticks"),
    [
        ([3.0, 287.0], "ops", [0, 100, 200, 300]),
        ([6580.0], "short", [0, 2000, 4000, 6000, 8000]),
        ([161 * 2.0**20], "bytes", [0, 50 * 2.0**20, 100 * 2.0**20, 150 * 2.0**20, 200 * 2.0**20]),
        ([0.3, 110.0], "s", [0.1, 1, 10, 60, 600]),
        ([0.0, 0.0], "short", [0]),
        ([], "s", [1, 10]),
    ],
)
def test_ticks_are_round(values: list[float], unit: str, ticks: list[float]) -> None:
    assert list(Scale.of(values, unit).ticks)[: len(ticks)] == ticks


@given(
    st.lists(st.floats(min_value=0, max_value=1e12, allow_subnormal=False) | st.just(float("inf")), max_size=20),
    st.sampled_from(["s", "bytes", "ops", "short", "percentunit"]),
)
def test_every_value_has_its_place(values: list[float], unit: str) -> None:
    scale = Scale.of(values, unit)
    assert 2 <= len(scale.ticks) <= 8
    assert list(scale.ticks) == sorted(set(scale.ticks))
    shares = [scale.share(value) for value in sorted(values)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)
    assert [scale.share(tick) for tick in (scale.ticks[0], scale.ticks[-1])] == [0, 1]
