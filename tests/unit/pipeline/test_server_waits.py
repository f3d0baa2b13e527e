"""Who is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from cdc_daemon.model.errors import CassandraUnavailableError, Trouble
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.server_waits import ServerWaits


@asynccontextmanager
async def elsewhere(waits: ServerWaits, service: str, entries: Sequence[Entry] = ()) -> AsyncIterator[None]:
    """Make another worker wait."""
    begun, over = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        with waits.on(service, entries):
            begun.set()
            await over.wait()

    task = asyncio.create_task(wait())
    await begun.wait()
    yield
    over.set()
    await task


async def test_the_longest_wait_is_told_once_it_is_long() -> None:
    now = 100.0
    waits = ServerWaits(lambda: now)
    assert waits.trouble(1.0) is None
    async with elsewhere(waits, "cassandra"):
        now += 0.6
        async with elsewhere(waits, "elasticsearch"):
            now += 0.6
            assert waits.trouble(1.0) == Trouble("cassandra", "no answer for 1.2 s")
            assert waits.trouble(2.0) is None
    assert waits.trouble(0.0) is None


def test_a_pause_after_a_failure_is_told_while_no_wait_is_long() -> None:
    now = 100.0
    waits = ServerWaits(lambda: now)
    with waits.on("elasticsearch"), waits.after(CassandraUnavailableError("no host")):
        assert waits.trouble(1.0) == Trouble("cassandra", "no host")
        now += 1.5
        # The pause may be of an outage that is over; that this server does not answer is now.
        assert waits.trouble(1.0) == Trouble("elasticsearch", "no answer for 1.5 s")
    assert waits.trouble(0.0) is None


async def test_who_asks_for_keys_is_told_of_their_own_wait() -> None:
    now = 100.0
    waits = ServerWaits(lambda: now)
    table = TableName("app", "person")
    mine, others = Key(table, b"mine", (b"1",)), Key(table, b"others", ())
    async with elsewhere(waits, "cassandra", [Entry(others)]):
        now += 1.0
        async with elsewhere(waits, "elasticsearch", [Entry(others), Entry(mine)]):
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


async def test_a_wait_inside_of_another_counts_alone() -> None:
    """A read may have to ask Elasticsearch for an index's fields before it is over."""
    now = 100.0
    waits = ServerWaits(lambda: now)
    key = Key(TableName("app", "person"), b"mine", ())

    async def ask() -> None:
        nonlocal now
        with waits.on("elasticsearch"):
            now += 1.0
            assert waits.trouble(0.5, {key}) == Trouble("elasticsearch", "no answer for 1.0 s")

    with waits.on("cassandra", [Entry(key)]):
        now += 3.0
        await asyncio.gather(ask(), ask())
        assert waits.trouble(0.5, {key}) is None
        now += 2.0
        assert waits.trouble(0.5, {key}) == Trouble("cassandra", "no answer for 2.0 s")
    assert waits.trouble(0.0) is None


async def test_a_page_is_waited_for_until_it_comes() -> None:
    now = 0.0
    waits = ServerWaits(lambda: now)

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
