from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.version_clock import RESERVED, HybridClock


@given(times=st.lists(st.integers(0, 10**16), min_size=1), seen=st.integers(0, 10**16))
def test_values_never_repeat_and_never_go_back_whatever_the_wall_clock_does(times: list[int], seen: int) -> None:
    walls = iter(times)
    clock = HybridClock(now=lambda: next(walls))
    values = [clock.next() for _ in times[: len(times) // 2]]
    clock.observe(seen)
    values.append(clock.next())
    assert values == sorted(set(values))
    assert values[-1] > seen


def test_values_follow_the_wall_clock() -> None:
    assert HybridClock(now=lambda: 1_000).next() == 1_000


def test_a_bound_is_durable_before_any_value_above_the_last_is_given_out() -> None:
    bounds: list[int] = []
    wall = [1_000]
    clock = HybridClock(now=lambda: wall[0], reserve=bounds.append)
    for _ in range(10):
        assert clock.next() <= bounds[-1]
    assert len(bounds) == 1
    wall[0] += RESERVED + 11
    assert clock.next() <= bounds[-1]
    assert len(bounds) == 2


def test_a_new_process_begins_above_every_value_of_the_one_before() -> None:
    bounds: list[int] = []
    first = HybridClock(now=lambda: 5_000_000, reserve=bounds.append)
    last = [first.next() for _ in range(1000)][-1]
    wall_stepped_back = 1_000_000
    second = HybridClock(start=bounds[-1], now=lambda: wall_stepped_back)
    assert second.next() > last


def test_no_value_is_given_out_when_the_bound_cannot_be_stored() -> None:
    def fail(_bound: int) -> None:
        raise StoreError("the disk is full")

    clock = HybridClock(now=lambda: 1_000, reserve=fail)
    with pytest.raises(StoreError):
        clock.next()
    with pytest.raises(StoreError):
        clock.next()
