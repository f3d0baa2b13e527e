"""A clock that was ahead and is right again: its versions return, and those of the future are not trusted."""

from __future__ import annotations

import pytest

from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.version_clock import RESERVED, HybridClock, VersionRange

HOUR = 3_600_000_000


def test_versions_are_right_again_after_the_clock_was_set_back() -> None:
    wall, stored = [HOUR], list[tuple[int, VersionRange]]()
    clock = HybridClock(now=lambda: wall[0])
    ahead = clock.next()
    wall[0] = 5_000_000
    assert clock.next() > ahead  # until somebody has confirmed that the clock is right now
    assert clock.lead() > HOUR // 2
    clock.step_back(lambda bound, untrusted: stored.append((bound, untrusted)))
    assert clock.next() < 5_000_000 + RESERVED
    assert clock.lead() < RESERVED
    assert stored == [(5_000_000 + RESERVED, clock.untrusted)]
    assert clock.is_untrusted(ahead)
    assert not clock.is_untrusted(5_000_000)
    assert not clock.is_untrusted(ahead + 2 * RESERVED)


def test_a_bound_is_reserved_again_after_a_step_back() -> None:
    wall, bounds = [HOUR], list[int]()
    clock = HybridClock(now=lambda: wall[0], reserve=bounds.append)
    clock.next()
    wall[0] = 5_000_000
    clock.step_back(lambda bound, _untrusted: bounds.append(bound))
    wall[0] += RESERVED + 1
    value = clock.next()
    assert value <= bounds[-1] < HOUR


def test_nothing_changes_when_the_step_cannot_be_stored() -> None:
    wall = [HOUR]
    clock = HybridClock(now=lambda: wall[0])
    ahead = clock.next()
    wall[0] = 5_000_000

    def fail(_bound: int, _untrusted: VersionRange) -> None:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError):
        clock.step_back(fail)
    assert clock.next() > ahead
    assert not clock.is_untrusted(ahead)


def test_two_steps_back_leave_one_range_with_both() -> None:
    wall = [HOUR]
    clock = HybridClock(now=lambda: wall[0])
    first = clock.next()
    wall[0] = 5_000_000
    clock.step_back(lambda _bound, _untrusted: None)
    wall[0] = HOUR // 2
    second = clock.next()
    wall[0] = 6_000_000
    clock.step_back(lambda _bound, _untrusted: None)
    assert clock.is_untrusted(first)
    assert clock.is_untrusted(second)


def test_a_range_that_ended_long_ago_is_replaced() -> None:
    wall = [HOUR]
    clock = HybridClock(now=lambda: wall[0])
    long_ago = clock.next()
    wall[0] = 5_000_000
    clock.step_back(lambda _bound, _untrusted: None)
    wall[0] = 200 * HOUR
    recent = clock.next()
    wall[0] = 199 * HOUR
    clock.step_back(lambda _bound, _untrusted: None)
    assert clock.is_untrusted(recent)
    assert not clock.is_untrusted(long_ago)


def test_a_version_of_the_future_that_another_daemon_wrote_is_not_trusted_either() -> None:
    clock = HybridClock(now=lambda: 5_000_000)
    clock.distrust(HOUR)
    assert clock.is_untrusted(HOUR)
    assert clock.next() == 5_000_000  # it does not move this daemon's versions


def test_the_next_process_knows_what_is_not_trusted() -> None:
    clock = HybridClock(start=7, now=lambda: 5_000_000, untrusted=VersionRange(100, HOUR))
    assert clock.is_untrusted(HOUR)
    assert not clock.is_untrusted(100)
