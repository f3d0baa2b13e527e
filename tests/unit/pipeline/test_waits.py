"""Who is waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cdc_daemon.errors import CassandraUnavailableError
from cdc_daemon.pipeline.waits import Waits


def test_the_longest_wait_is_told_once_it_is_long() -> None:
    now = 100.0
    waits = Waits(lambda: now)
    assert waits.trouble(1.0) is None
    with waits.on("cassandra"):
        now += 0.6
        with waits.on("elasticsearch"):
            now += 0.6
            trouble = waits.trouble(1.0)
            assert trouble is not None
            assert trouble.service == "cassandra"
            assert waits.trouble(2.0) is None
    assert waits.trouble(0.0) is None


def test_a_pause_after_a_failure_is_told_at_once() -> None:
    waits = Waits()
    with waits.on("elasticsearch"), waits.after(CassandraUnavailableError("no host")):
        trouble = waits.trouble(1.0)
    assert trouble == ("cassandra", "no host")
    assert waits.trouble(0.0) is None


async def test_a_page_is_waited_for_until_it_comes() -> None:
    now = 0.0
    waits = Waits(lambda: now)

    async def pages() -> AsyncIterator[list[int]]:
        nonlocal now
        for number in range(3):
            now += 5.0
            trouble = waits.trouble(4.0)
            assert trouble is not None
            assert trouble.service == "cassandra"
            yield [number]

    found = []
    async for page in waits.each("cassandra", pages()):
        now += 5.0
        assert waits.trouble(4.0) is None
        found += page
    assert found == [0, 1, 2]
