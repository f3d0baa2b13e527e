"""Who is waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cdc_daemon.errors import CassandraUnavailableError
from cdc_daemon.pipeline.entry import Entry, Key
from cdc_daemon.pipeline.signal import TableName
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


def test_a_pause_after_a_failure_is_told_while_no_wait_is_long() -> None:
    now = 100.0
    waits = Waits(lambda: now)
    with waits.on("elasticsearch"), waits.after(CassandraUnavailableError("no host")):
        assert waits.trouble(1.0) == ("cassandra", "no host")
        now += 1.5
        # The pause may be of an outage that is over; that this server does not answer is now.
        assert waits.trouble(1.0) == ("elasticsearch", "no answer for 1.5 s")
    assert waits.trouble(0.0) is None


def test_who_asks_for_keys_is_told_of_their_own_wait() -> None:
    now = 100.0
    waits = Waits(lambda: now)
    table = TableName("app", "person")
    mine, others = Key(table, b"mine", (b"1",)), Key(table, b"others", ())
    with waits.on("cassandra", [Entry(others)]):
        now += 1.0
        with waits.on("elasticsearch", [Entry(others), Entry(mine)]):
            now += 1.0
            for keys, service in (
                ({mine}, "elasticsearch"),
                ({mine._replace(clustering=None)}, "elasticsearch"),
                ({others}, "cassandra"),
                (set[Key](), "cassandra"),
            ):
                trouble = waits.trouble(1.0, keys)
                assert trouble is not None
                assert trouble.service == service
            # What waits for its own server for a moment only is held up by something else.
            trouble = waits.trouble(1.5, {mine})
            assert trouble is not None
            assert trouble.service == "cassandra"


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
