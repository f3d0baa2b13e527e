"""A row that Cassandra can never read blocks no other row and no checkpoint; an outage makes no dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cdc_daemon.model.errors import (
    CassandraReadError,
    CassandraUnavailableError,
    CdcError,
    ElasticsearchUnavailableError,
)
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.giving_up import GiveUpPolicy
from cdc_daemon.store.dead_letters import DeadLetter
from tests.simulation.parts import Counts
from tests.simulation.virtual_time import virtual_time
from tests.unit.pipeline.servers import Servers, processor_of

TABLE = TableName("k", "t")


class FailingServers(Servers):
    """A Cassandra that fails on some rows, whatever is read with them, or on every one."""

    def __init__(self) -> None:
        self.failures: dict[bytes, CdcError] = {}
        self.outage: CdcError | None = None
        self.reads: list[list[bytes]] = []
        self.letters: list[DeadLetter] = []

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        self.reads.append([key.partition_key for key in keys])
        await asyncio.sleep(0.01)
        for key in keys:
            if failure := self.outage or self.failures.get(key.partition_key):
                raise failure
        return await super().read(table, keys, confirm=confirm)


class RowCounts(Counts):
    """Of a row that cannot be read it is not known which documents it has."""

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        super().settled(table, outcome, alias or str(table))


class World:
    """A processor, fed by hand, and one receipt for all."""

    def __init__(self, servers: FailingServers, **parts: Any) -> None:
        self.servers = servers
        self.coalescer = Coalescer()
        self.processor = processor_of(
            servers,
            self.coalescer,
            set_aside=servers.letters.extend,
            observer=RowCounts(),
            policy=GiveUpPolicy(now=asyncio.get_running_loop().time),
            **parts,
        )
        self.line: AcknowledgementLine[int] = AcknowledgementLine(0)

    async def change(self, *keys: bytes) -> None:
        receipt = await self.line.open(self.line.acknowledged + len(self.line) + 1)
        for key in keys:
            self.coalescer.add(Signal(TABLE, key, Scope.ROW), receipt)
        receipt.release()

    async def settle(self) -> CdcError | None:
        """Settle what is ready; return what was raised."""
        try:
            await self.processor.process(await self.coalescer.take_rows(100))
        except CdcError as error:
            return error
        return None

    async def settle_all(self) -> None:
        while len(self.coalescer):
            if await self.settle() is not None:
                await asyncio.sleep(1.0)


async def rows_beside_one_that_cannot_be_read() -> None:
    servers = FailingServers()
    servers.failures[b"bad"] = CassandraReadError("too many tombstones")
    world = World(servers)
    now = asyncio.get_running_loop().time
    await world.change(b"bad")
    await world.change(b"good", b"fine")
    assert await world.settle() is None
    assert len(world.coalescer) == 1, "the others are settled"
    assert servers.reads[0] == [b"bad", b"good", b"fine"]
    servers.reads.clear()

    began = now()
    while not servers.letters:
        await world.change(b"other")
        assert world.line.acknowledged == 0
        assert await world.settle() is None
        await asyncio.sleep(1.0)
    await world.settle_all()
    assert now() - began >= 300
    tries = [keys for keys in servers.reads if b"bad" in keys]
    assert len(tries) >= 9
    assert all(len(keys) == 1 for keys in tries), "it spoils no read of others any more"
    (letter,) = servers.letters
    assert (letter.reason, letter.partition_key, letter.alias) == ("CassandraReadError", b"bad", "")
    assert world.line.acknowledged > 1


async def rows_during_an_outage(outage: CdcError, *, before: bool) -> None:
    servers = FailingServers()
    world = World(servers)
    now = asyncio.get_running_loop().time
    if before:
        # One of them fails a little before the outage and a little after it, too.
        servers.failures[b"1"] = CassandraReadError("slow")
    await world.change(*(str(number).encode() for number in range(40)))
    await world.settle()
    await world.change(*(str(number).encode() for number in range(40)))
    servers.outage = outage
    ends = now() + 900
    while now() < ends:
        await world.settle()
        await asyncio.sleep(5.0)
    servers.outage = None
    await world.change(b"other")
    await world.settle()
    servers.failures.clear()
    await world.settle_all()
    assert servers.letters == []
    assert world.line.acknowledged == 3


async def an_elasticsearch_that_a_read_waits_for() -> None:
    servers = FailingServers()
    servers.failures[b"bad"] = CassandraReadError("too many tombstones")
    world = World(servers)
    await world.change(b"bad", b"good")
    await world.settle()
    servers.failures[b"new"] = ElasticsearchUnavailableError("no answer", alias="users")
    await asyncio.sleep(60)
    await world.change(b"good", b"new")
    raised = await world.settle()
    assert isinstance(raised, ElasticsearchUnavailableError)
    assert raised.where == {"alias": "users"}
    assert world.line.acknowledged == 0


class Dead:
    """All rows of one key are set aside."""

    def has(self, key: Key, alias: str) -> bool:
        return key.partition_key == b"bad" and not alias

    def revive(self, shown: Sequence[tuple[Key, str]]) -> None:
        assert not shown


async def a_row_that_is_set_aside_already() -> None:
    servers = FailingServers()
    servers.failures[b"bad"] = CassandraReadError("too many tombstones")
    world = World(servers, dead=Dead())
    await world.change(b"bad", b"good", b"fine")
    assert await world.settle() is None
    assert sorted(servers.reads) == [[b"bad"], [b"good", b"fine"]]
    assert [letter.partition_key for letter in servers.letters] == [b"bad"]
    assert world.line.acknowledged == 1


def test_a_row_that_can_never_be_read_becomes_a_dead_letter_and_holds_up_no_other() -> None:
    with virtual_time() as run:
        run(rows_beside_one_that_cannot_be_read())


@pytest.mark.parametrize("outage", [CassandraReadError("timeout"), CassandraUnavailableError("no host")])
@pytest.mark.parametrize("before", [False, True])
def test_an_outage_makes_no_dead_letter(outage: CdcError, *, before: bool) -> None:
    with virtual_time() as run:
        run(rows_during_an_outage(outage, before=before))


def test_an_elasticsearch_that_does_not_answer_is_told_all_the_same() -> None:
    with virtual_time() as run:
        run(an_elasticsearch_that_a_read_waits_for())


def test_a_row_that_is_set_aside_already_is_tried_once() -> None:
    with virtual_time() as run:
        run(a_row_that_is_set_aside_already())
