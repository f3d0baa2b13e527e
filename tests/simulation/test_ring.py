"""Three daemons of a ring: whatever happens to one of them, nothing is lost; in calm everything is written once."""

from __future__ import annotations

import pytest

from tests.simulation.ring_scenarios import calm, equal, stop, stopped_takeovers, twins
from tests.simulation.ring_seeds import failing
from tests.simulation.virtual_time import virtual_time

SEEDS = 500


@pytest.mark.parametrize("part", range(4))
def test_nothing_is_lost_whatever_happens_to_one_of_them(part: int) -> None:
    assert failing(range(part * SEEDS, (part + 1) * SEEDS)) == []


@pytest.mark.parametrize("seed", range(20))
def test_in_calm_each_change_is_written_once_and_confirmed(seed: int) -> None:
    with virtual_time() as run:
        world = run(calm(seed))
        assert equal(world)
        assert world.index.written == world.writes == 60
        counts = [daemon.observed.counts for daemon in world.daemons.values()]
        assert sum(each["confirmed"] for each in counts) == 2 * world.writes
        assert [each.keys() - {"left", "confirmed"} for each in counts] == [set(), set(), set()]
        run(stop(world))


@pytest.mark.parametrize("seed", range(10))
def test_a_daemon_that_returns_costs_no_rewrites(seed: int) -> None:
    with virtual_time() as run:
        world = run(calm(seed, restart=True))
        assert equal(world)
        assert world.index.written <= 1.3 * world.writes
        run(stop(world))


def test_two_mutations_with_one_write_time_are_two_changes() -> None:
    with virtual_time() as run:
        assert run(twins())


def test_a_takeover_under_way_is_not_dropped_at_a_stop() -> None:
    with virtual_time() as run:
        assert run(stopped_takeovers(1))


def test_daemons_do_not_wait_for_each_other() -> None:
    with virtual_time() as run:
        world = run(calm(1, pause=0.0))
        assert equal(world)
        assert not any(daemon.observed.counts.keys() - {"left", "confirmed"} for daemon in world.daemons.values())
        run(stop(world))
