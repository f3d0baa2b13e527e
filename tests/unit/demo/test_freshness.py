from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.demo.freshness import Percentiles, percentiles, spell


def test_percentiles_by_nearest_rank() -> None:
    assert percentiles([]) is None
    assert percentiles([0.2]) == Percentiles(1, 0.2, 0.2, 0.2)
    assert percentiles([float(value) for value in range(100, 0, -1)]) == Percentiles(100, 50.0, 99.0, 100.0)
    assert percentiles([float(value) for value in range(1, 201)]) == Percentiles(200, 100.0, 198.0, 200.0)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_were_measured_and_ascend(seconds: list[float]) -> None:
    found = percentiles(seconds)

    assert found is not None
    assert {found.p50, found.p99, found.maximum} <= set(seconds)
    assert found.p50 <= found.p99 <= found.maximum == max(seconds)
    assert sum(value <= found.p50 for value in seconds) * 2 >= len(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0852, "85 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.44, "1.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (75, "75 s"),
    ],
)
def test_times_are_spelt_for_people(seconds: float, text: str) -> None:
    assert spell(seconds) == text
