from __future__ import annotations

from collections.abc import Sequence

import pytest

from cdc_daemon.model.version_clock import HybridClock, VersionRange
from cdc_daemon.sources.clock_watch import CONFIRMATIONS, ClockWatch

HOUR = 3_600_000_000
NOW = 1_700_000_000_000_000


def is_wrong(watch: ClockWatch) -> bool:
    return watch.state.wrong


class World:
    """A wall clock, and servers whose clocks are right."""

    def __init__(self) -> None:
        self.ahead = 0
        self.answers = 3
        self.bounds: list[int] = []
        self.kept: list[VersionRange] = []
        self.clock = HybridClock(now=lambda: NOW + self.ahead, reserve=self.bounds.append)
        self.watch = ClockWatch(self.clock, measures=[self.measure], keep=self.keep)

    async def measure(self) -> Sequence[float]:
        return [self.ahead / 1e6] * self.answers

    def keep(self, bound: int, untrusted: VersionRange) -> None:
        self.bounds.append(bound)
        self.kept.append(untrusted)

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.watch.check()


@pytest.fixture
def world() -> World:
    return World()


async def test_versions_step_back_once_the_servers_confirm_that_the_clock_is_right(world: World) -> None:
    world.ahead = HOUR
    ahead = world.clock.next()
    await world.look(CONFIRMATIONS)
    assert is_wrong(world.watch)
    assert world.clock.next() > ahead
    world.ahead = 0
    await world.look(CONFIRMATIONS - 1)
    assert world.watch.state.versions_ahead == pytest.approx(3600, abs=3)
    await world.look()
    assert world.clock.next() == pytest.approx(NOW, abs=10)
    assert ahead in world.kept[-1]
    assert world.bounds[-1] < NOW + HOUR
    assert not is_wrong(world.watch)
    await world.look(CONFIRMATIONS)
    assert len(world.kept) == 1


async def test_a_clock_that_is_behind_moves_no_version_back(world: World) -> None:
    right = world.clock.next()
    world.ahead = -HOUR
    await world.look(2 * CONFIRMATIONS)
    assert is_wrong(world.watch)
    assert world.clock.next() > right
    assert world.kept == []


async def test_without_an_answer_no_version_moves_back(world: World) -> None:
    world.ahead = HOUR
    ahead = world.clock.next()
    world.ahead, world.answers = 0, 0
    await world.look(2 * CONFIRMATIONS)
    assert world.watch.state.ahead is None
    assert not is_wrong(world.watch)
    assert world.clock.next() > ahead


async def test_the_usual_reserve_of_a_restart_is_no_step_back(world: World) -> None:
    clock = HybridClock(start=NOW + 2_000_000, now=lambda: NOW)
    watch = ClockWatch(clock, measures=[world.measure], keep=world.keep)
    for _ in range(2 * CONFIRMATIONS):
        await watch.check()
    assert world.kept == []


async def test_one_wrong_server_does_not_decide(world: World) -> None:
    async def wrong() -> Sequence[float]:
        return [5000.0]

    watch = ClockWatch(world.clock, measures=[world.measure, wrong], keep=world.keep)
    await watch.check()
    assert not is_wrong(watch)
