"""Cassandra is believed to answer as long as it does, in virtual time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cassandra import Unauthorized
from structlog.testing import capture_logs

from cdc_daemon.cassandra import availability
from cdc_daemon.cassandra.availability import (
    LOST_SECONDS,
    PROBE_INTERVAL,
    PROBE_TIMEOUT,
    CassandraAvailability,
    make_probe,
)
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import CassandraReadError, CassandraRefusedError, CassandraUnavailableError
from cdc_daemon.model.signal import TableName
from tests.simulation.virtual_time import virtual_time
from tests.unit.document.tables import table

WITHIN = LOST_SECONDS + 2 * PROBE_TIMEOUT
"""Seconds from the last answer within which an outage has to be known."""


class Server:
    """Answers probes at once, or as `trouble` does."""

    def __init__(self) -> None:
        self.trouble: Callable[[], Awaitable[None]] | None = None
        self.probes: list[float] = []
        self.changes: list[str] = []
        self.available = CassandraAvailability(self.probe)

    async def probe(self) -> None:
        self.probes.append(asyncio.get_running_loop().time())
        if self.trouble is not None:
            await self.trouble()


async def times_out() -> None:
    await asyncio.sleep(PROBE_TIMEOUT)
    raise CassandraReadError("Cassandra did not answer: OperationTimedOut")


async def has_no_host() -> None:
    raise CassandraUnavailableError("Cassandra did not answer: NoHostAvailable")


async def never_returns() -> None:
    await asyncio.Event().wait()


async def raises_what_nobody_expects() -> None:
    raise RuntimeError("cannot schedule new futures after shutdown")


def play(scene: Callable[[Server], Awaitable[None]]) -> Server:
    async def run() -> Server:
        server = Server()
        running = asyncio.create_task(server.available.run())
        try:
            await scene(server)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return server

    with virtual_time() as in_virtual_time, capture_logs() as logged:
        server = in_virtual_time(run())
    server.changes = [line["event"] for line in logged if line["event"].startswith("cassandra.")]
    return server


@pytest.mark.parametrize("trouble", [times_out, has_no_host, never_returns, raises_what_nobody_expects])
def test_no_answer_is_known_within_seconds_and_one_answer_ends_it(trouble: Callable[[], Awaitable[None]]) -> None:
    """The connections are open all the time, as with a stopped process, or with a driver whose pools are dead."""

    async def scene(server: Server) -> None:
        await asyncio.sleep(10)
        assert server.available
        server.trouble = trouble
        async with asyncio.timeout(WITHIN):
            reason = await server.available.wait_lost()
        assert reason == server.available.failure
        assert not server.available
        began, before = asyncio.get_running_loop().time(), len(server.probes)
        await asyncio.sleep(60)
        assert 60 / (PROBE_INTERVAL + PROBE_TIMEOUT + 2) <= len(server.probes) - before <= 60 / PROBE_INTERVAL
        assert began < server.probes[-1]
        server.trouble = None
        await asyncio.sleep(PROBE_INTERVAL + PROBE_TIMEOUT + 2)
        assert server.available
        assert server.available.failure is None

    assert play(scene).changes == ["cassandra.unavailable", "cassandra.available"]


def test_a_read_that_is_answered_ends_it_before_the_next_probe() -> None:
    async def scene(server: Server) -> None:
        server.trouble = never_returns
        await server.available.wait_lost()
        server.available.answered()
        assert server.available

    assert play(scene).changes == ["cassandra.unavailable", "cassandra.available"]


def test_nothing_is_probed_while_reads_are_answered() -> None:
    async def scene(server: Server) -> None:
        for _ in range(300):
            await asyncio.sleep(PROBE_INTERVAL / 3)
            server.available.answered()

    assert play(scene).probes == []


def test_reads_that_fail_while_probes_are_answered_are_no_outage() -> None:
    """One partition may fail forever and be the only one that is read: then `answered` is never called."""

    async def scene(_server: Server) -> None:
        await asyncio.sleep(600)

    server = play(scene)
    assert server.changes == []
    assert len(server.probes) <= 600 / PROBE_INTERVAL


def test_probes_that_fail_while_reads_are_answered_are_no_outage() -> None:
    async def scene(server: Server) -> None:
        server.trouble = times_out
        for _ in range(100):
            await asyncio.sleep(LOST_SECONDS - 0.5)
            server.available.answered()

    server = play(scene)
    assert server.changes == []
    assert server.probes


def test_a_pause_that_is_short_is_no_outage() -> None:
    async def scene(server: Server) -> None:
        await asyncio.sleep(10)
        server.trouble = times_out
        await asyncio.sleep(LOST_SECONDS - PROBE_INTERVAL)
        server.trouble = None
        await asyncio.sleep(30)

    assert play(scene).changes == []


def test_a_daemon_that_stood_still_itself_looks_twice() -> None:
    """Its own probe has failed when it goes on, however long ago the last answer is."""

    async def scene(server: Server) -> None:
        async def fails_late() -> None:
            server.trouble = None
            server.available._answered_at = asyncio.get_running_loop().time() - 3600
            raise CassandraReadError("Cassandra did not answer: OperationTimedOut")

        server.trouble = fails_late
        await asyncio.sleep(30)
        assert len(server.probes) > 1

    assert play(scene).changes == []


PAIR = TableName("sunbird", "pair")
SINGLE = TableName("sunbird", 'odd "name"')
TABLES = {
    PAIR: table(("a", "text", "partition_key"), ("b", "int", "partition_key"), ("v", "int", "regular")),
    SINGLE: table(("Id", "text", "partition_key"), ("v", "int", "regular")),
}


class Schema:
    """Tables by their names."""

    def known(self, name: TableName) -> TableMetadata:
        return TABLES[name]


class Driver:
    """Takes the queries of probes, and raises the errors it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queries: list[str] = []
        self.timeouts: set[float] = set()
        self.error: Exception | None = None
        monkeypatch.setattr(availability, "execute", self.execute)

    async def execute(self, _session: Any, statement: Any, *, timeout: float) -> list[Any]:  # noqa: ASYNC109 -- as there
        self.queries.append(statement.query_string)
        self.timeouts.add(timeout)
        if self.error is not None:
            raise self.error
        return []


def probe_of(*tables: TableName) -> availability.Probe:
    session: Any = object()
    schema: Any = Schema()
    return make_probe(session, schema, tables)


async def test_a_probe_reads_one_token_of_each_table_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    probe = probe_of(PAIR, SINGLE)
    for _ in range(3):
        await probe()
    pair = r'SELECT "a", "b" FROM "sunbird"\."pair" WHERE token\("a", "b"\) = -?\d+ LIMIT 1'
    single = r'SELECT "Id" FROM "sunbird"\."odd ""name""" WHERE token\("Id"\) = -?\d+ LIMIT 1'
    for query, pattern in zip(driver.queries, (pair, single, pair), strict=True):
        assert re.fullmatch(pattern, query), query
    assert len(set(driver.queries)) == 3  # another token each time
    assert driver.timeouts == {PROBE_TIMEOUT}


async def test_a_probe_without_tables_asks_the_coordinator(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch)
    await probe_of()()
    assert driver.queries == ["SELECT key FROM system.local"]


@pytest.mark.parametrize("error", [CassandraRefusedError("no such table"), Unauthorized("no SELECT")])
async def test_a_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    driver = Driver(monkeypatch)
    driver.error = error
    await probe_of(PAIR)()
    assert len(driver.queries) == 1


@pytest.mark.parametrize("error", [CassandraReadError("timed out"), CassandraUnavailableError("no replica")])
async def test_no_answer_is_raised(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    driver = Driver(monkeypatch)
    driver.error = error
    with pytest.raises(type(error)):
        await probe_of(PAIR)()
