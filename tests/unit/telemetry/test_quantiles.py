from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from cdc_daemon.telemetry.quantiles import Counts, Window, quantile, read_counts, total

Reading = dict[tuple[str, ...], Counts]

BOUNDS = (0.1, 0.2, 1.0, 10.0)


def histogram() -> Histogram:
    return Histogram("lag", "Lag.", ("k", "t"), buckets=BOUNDS, registry=CollectorRegistry())


def test_counts_are_those_of_each_bucket() -> None:
    lag = histogram()
    for seconds in (0.05, 0.05, 0.5, 100.0):
        lag.labels("k", "t").observe(seconds)
    lag.labels("k", "u").observe(0.15)
    assert read_counts(lag, ("k", "t")) == {("k", "t"): (2, 0, 1, 0, 1), ("k", "u"): (0, 1, 0, 0, 0)}


def test_there_is_no_quantile_of_nothing() -> None:
    assert quantile(0.5, total([], 5), BOUNDS) is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((4, 0, 0, 0, 0), 0.5, 0.05),
        ((2, 2, 0, 0, 0), 0.75, 0.15),
        ((0, 0, 10, 0, 0), 1.0, 1.0),
        ((1, 0, 0, 0, 99), 0.99, 10.0),
    ],
)
def test_a_quantile_lies_within_its_bucket(counts: tuple[float, ...], share: float, expected: float) -> None:
    assert quantile(share, counts, BOUNDS) == pytest.approx(expected)


@given(st.lists(st.floats(0, 9.9), min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_in_the_bucket_of_the_true_one(seconds: list[float], share: float) -> None:
    lag = histogram()
    for each in seconds:
        lag.labels("k", "t").observe(each)
    found = quantile(share, read_counts(lag, ("k", "t"))["k", "t"], BOUNDS)
    true = sorted(seconds)[max(0, -(-int(share * 100) * len(seconds) // 100) - 1)]
    upper = next(bound for bound in BOUNDS if true <= bound)
    assert found is not None
    assert max((bound for bound in BOUNDS if bound < true), default=0.0) <= found <= upper


def test_a_window_tells_what_is_new() -> None:
    window = Window(2)
    first: Reading = {("a",): (1.0, 0.0)}
    second: Reading = {("a",): (3.0, 1.0)}
    third: Reading = {("a",): (3.0, 2.0), ("b",): (1.0, 0.0)}
    assert window.since_oldest(first) == first
    window.keep(first)
    assert window.since_oldest(second) == {("a",): (2.0, 1.0)}
    window.keep(second)
    assert window.since_oldest(third) == {("a",): (2.0, 2.0), ("b",): (1.0, 0.0)}
    assert window.since_newest(third) == {("a",): (0.0, 1.0), ("b",): (1.0, 0.0)}
    window.keep(third)
    assert window.since_oldest(third) == {("a",): (0.0, 1.0), ("b",): (1.0, 0.0)}
