"""A partition that Cassandra can never read blocks no other partition, and in the end no checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import CassandraReadError, StoreError, Trouble
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Clustering, Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.giving_up import GiveUpPolicy
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.pipeline import EXPANDERS, Pipeline
from cdc_daemon.pipeline.unreadable import LONGEST_PAUSE
from cdc_daemon.store.dead_letters import DeadLetter
from tests.simulation.parts import Counts, unreadable_of
from tests.simulation.virtual_time import virtual_time
from tests.unit.pipeline.servers import Servers, processor_of

TABLE = TableName("k", "t")


class FailingServers(Servers):
    """Partitions of one row each; those whose keys begin with `bad` cannot be listed, and in an outage nothing can."""

    def __init__(self) -> None:
        self.tried: list[float] = []
        self.away = False
        self.healed = False

    async def clusterings(self, _table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        await asyncio.sleep(0.01)
        if self.away or (partition_key.startswith(b"bad") and not self.healed):
            self.tried.append(asyncio.get_running_loop().time())
            raise CassandraReadError("too many tombstones")
        yield [(b"1",)]

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        if self.away:
            raise CassandraReadError("timeout")
        return await super().read(table, keys, confirm=confirm)

    async def find(self, _table: TableName, _partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        for page in list[list[Clustering]]():
            yield page


class SomeCounts(Counts):
    """Of a partition that cannot be read it is not known which documents it has."""

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        super().settled(table, outcome, alias or str(table))


class Dead:
    """What is set aside; the store fails the first time."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.keys: set[Key] = set()
        self.failures = 0

    def set_aside(self, letters: Sequence[DeadLetter]) -> None:
        if not self.failures:
            self.failures += 1
            raise StoreError("the disk is full")
        for letter in letters:
            assert letter.clustering is None
            self.keys.add(Key(TABLE, letter.partition_key or b"", None))
        self.letters += letters

    def has(self, key: Key, alias: str) -> bool:
        return key in self.keys and not alias

    def revive(self, shown: Sequence[tuple[Key, str]]) -> None:
        self.keys -= {key for key, _ in shown}


class Waiting:
    """Somebody who asked for a partition."""

    closed = False

    def __init__(self) -> None:
        self.told: list[DocumentOutcome] = []
        self.done = asyncio.Event()

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        self.told += documents
        if key.clustering is None:
            self.done.set()

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        raise AssertionError((key, troubles, documents))

    def delayed(self, key: Key, trouble: Trouble) -> None:
        assert key.table == TABLE
        assert trouble.service in {"cassandra", "daemon"}


class World:
    """A pipeline at work, the acknowledgement of what it is given, and what it sets aside."""

    def __init__(self, servers: FailingServers) -> None:
        self.coalescer = Coalescer()
        self.dead = Dead()
        self.line: AcknowledgementLine[int] = AcknowledgementLine(0)
        policy = GiveUpPolicy(now=asyncio.get_running_loop().time)
        self.pipeline = Pipeline(
            coalescer=self.coalescer,
            rows=processor_of(servers, self.coalescer, policy=policy),
            expansion=Expansion(coalescer=self.coalescer, reader=servers, finder=servers),  # type: ignore[arg-type]
            unreadable=unreadable_of(
                self.coalescer, policy=policy, set_aside=self.dead.set_aside, observer=SomeCounts(), dead=self.dead
            ),
            writer=servers,
        )
        self.given = 0

    async def change(self, *keys: bytes) -> None:
        self.given += 1
        receipt = await self.line.open(self.given)
        await self.coalescer.submit([Signal(TABLE, key, Scope.STATIC) for key in keys], receipt)
        receipt.release()


@asynccontextmanager
async def working(servers: FailingServers) -> AsyncIterator[World]:
    world = World(servers)
    work = asyncio.create_task(world.pipeline.run())
    try:
        yield world
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def others_beside_partitions_that_cannot_be_read() -> None:
    servers, loop = FailingServers(), asyncio.get_running_loop()
    async with working(servers) as world:
        await world.change(*(b"bad%d" % at for at in range(EXPANDERS + 1)))
        took = []
        for number in range(290):
            before = loop.time()
            await world.change(b"good%d" % number)
            while len(world.coalescer) > EXPANDERS + 1:  # noqa: ASYNC110 -- nothing tells of it
                await asyncio.sleep(0.01)
            took.append(loop.time() - before)
            await asyncio.sleep(1)
        assert world.line.acknowledged == 0, "what was not settled is not acknowledged"
        assert max(took) < 1
        late = [at for at in servers.tried if at > 190]
        assert 0 < len(late) <= (EXPANDERS + 1) * (1 + 100 / (LONGEST_PAUSE / 2))


async def a_partition_that_can_never_be_read() -> None:
    servers, loop = FailingServers(), asyncio.get_running_loop()
    async with working(servers) as world:
        began = loop.time()
        await world.change(b"bad")
        while not world.dead.letters:
            await world.change(b"good")
            assert world.line.acknowledged == 0
            await asyncio.sleep(1)
        assert loop.time() - began >= 300
        assert len(servers.tried) >= 11, "once more after the store failed"
        await world.line.wait_empty()
        (letter,) = world.dead.letters
        assert (letter.kind, letter.reason, letter.partition_key) == ("partition", "CassandraReadError", b"bad")
        assert letter.detail == {"message": "too many tombstones"}

        # It is tried once for whoever changes it or asks for it, as soon as others show that it is no outage.
        tried, asked = len(servers.tried), Waiting()
        world.pipeline.request([Signal(TABLE, b"bad", Scope.STATIC)], asked)
        while not asked.done.is_set():
            await world.change(b"good")
            await asyncio.sleep(0.1)
        assert len(servers.tried) - tried == 2
        assert [(each.outcome, each.reason) for each in asked.told] == [(Outcome.DEAD, "too many tombstones")]

        servers.healed = True
        await world.change(b"bad")
        await world.line.wait_empty()
        assert not world.dead.keys


async def partitions_during_an_outage() -> None:
    servers = FailingServers()
    async with working(servers) as world:
        await world.change(*(b"good%d" % at for at in range(20)))
        await world.line.wait_empty()
        servers.away = True
        await world.change(*(b"good%d" % at for at in range(20)))
        await asyncio.sleep(1800)
        servers.away = False
        await world.line.wait_empty()
        assert world.dead.letters == []


def test_a_partition_that_cannot_be_read_holds_up_no_other() -> None:
    with virtual_time() as run:
        run(others_beside_partitions_that_cannot_be_read())


def test_a_partition_that_can_never_be_read_becomes_a_dead_letter() -> None:
    with virtual_time() as run:
        run(a_partition_that_can_never_be_read())


def test_an_outage_makes_no_dead_letter() -> None:
    with virtual_time() as run:
        run(partitions_during_an_outage())
