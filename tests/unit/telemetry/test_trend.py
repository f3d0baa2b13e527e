from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from cdc_daemon.telemetry.trend import Counts, Measure, Trend, Window, quantile, read_counts, total

Reading = dict[tuple[str, ...], Counts]

BOUNDS = (0.1, 0.2, 1.0, 10.0)

LAG = Measure("lag", "Lag", "seconds")
THERE = Measure("there", "There", "share", "lowest")


def line(trend: Trend, number: int = 0) -> Any:
    return trend.show()["lines"][number]["values"]


def test_nothing_is_shown_before_a_step_has_ended() -> None:
    trend = Trend([LAG])
    assert not trend.record(1000.0, {"lag": 1.0})
    assert not trend.record(1009.9, {"lag": 1.0})
    assert trend.show() == {
        "step": 10.0,
        "end": None,
        "lines": [{"name": "lag", "title": "Lag", "unit": "seconds", "values": []}],
    }


def test_the_worst_of_a_step_stands_for_it() -> None:
    trend = Trend([LAG, THERE])
    for second, lag, there in ((0, 1.0, 1.0), (3, 7.0, 0.0), (9, 2.0, 1.0)):
        trend.record(1000.0 + second, {"lag": lag, "there": there})
    assert trend.record(1010.0, {"lag": 1.0, "there": 1.0})
    assert (line(trend, 0), line(trend, 1)) == ([7.0], [0.0])
    assert trend.show()["end"] == 1010.0


def test_a_measure_may_have_no_value() -> None:
    trend = Trend([LAG, THERE])
    trend.record(1000.0, {"lag": None, "there": math.nan})
    trend.record(1010.0, {})
    trend.record(1020.0, {"lag": 3.0})
    assert line(trend) == [None, None]
    trend.record(1030.0, {})
    assert line(trend) == [None, None, 3.0]
    assert orjson.loads(orjson.dumps(trend.show())) == trend.show()


def test_time_in_which_the_process_was_held_is_empty() -> None:
    trend = Trend([LAG], kept=60)
    trend.record(1000.0, {"lag": 1.0})
    trend.record(1035.0, {"lag": 2.0})
    assert line(trend) == [1.0, None, None]
    trend.record(90_000.0, {"lag": 3.0})
    assert line(trend) == [None] * 6
    assert trend.show()["end"] == 90_000.0


def test_a_clock_that_goes_back_loses_nothing() -> None:
    trend = Trend([LAG])
    trend.record(1000.0, {"lag": 1.0})
    assert not trend.record(500.0, {"lag": 2.0})
    trend.record(1010.0, {})
    assert line(trend) == [2.0]


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e12)), max_size=200))
def test_it_is_of_bounded_size_and_short(records: list[tuple[float, float]]) -> None:
    trend = Trend([LAG], kept=100)
    for moment, value in sorted(records):
        trend.record(moment, {"lag": value})
    values = line(trend)
    assert len(values) <= 10
    assert {len(values)} == {len(each["values"]) for each in trend.show()["lines"]}
    assert all(value is None or math.isclose(value, float(f"{value:.4g}")) for value in values)


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
