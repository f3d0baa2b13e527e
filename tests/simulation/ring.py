"""Three replicas with a log each, and a daemon beside each: they hang, lag, die, lose messages, and are cut off."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cdc_daemon.commitlog.key_update import KeyUpdate, RowKey
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.document_operation import Operation, Result
from cdc_daemon.model.errors import CassandraUnavailableError, PeerError
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Clustering, Key, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.sources.log.signals import signals_of
from cdc_daemon.sources.ring.confirmation import Confirmation
from cdc_daemon.sources.ring.division import ChangeDivision
from cdc_daemon.sources.ring.left import LeftChanges
from cdc_daemon.sources.ring.owned import OwnedChanges
from tests.simulation.parts import Counts, pipeline_of, row_processor_of
from tests.simulation.servers import COLUMNS, Cassandra, Documents, Index

NODES = ("a", "b", "c")
TABLE = TableMetadata(b"t" * 16, "keyspace", "table", partition_key=(), clustering=(), static=(), regular=())
START = 1_000_000_000_000_000
"""Microseconds since epoch at which the simulated clocks begin."""


@dataclass
class LogEntry:
    update: KeyUpdate
    checksum: int


class Rows(Cassandra):
    """Of two values with one write time the greater one wins, on each replica and in each read."""

    def write(self, partition: bytes, clustering: Clustering, value: str, time: int) -> None:
        kept = self.rows.get((partition, clustering))
        if kept is None or (time, value) > kept[::-1]:
            self.rows[partition, clustering] = (value, time)


class Replica:
    """A node: its rows and its log. While it is down it takes nothing and answers nothing."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.log: list[LogEntry] = []
        self.up = True
        self.came = asyncio.Event()

    def apply(self, key: bytes, value: str, time: int) -> None:
        self.rows.write(key, (), value, time)
        update = KeyUpdate(TABLE, key, len(self.log), time, (), None, False, (RowKey((), deleted=False),), ())
        # The checksum covers the value: two mutations may bear one write time.
        self.log.append(LogEntry(update, zlib.crc32(b"%b %b %d" % (key, value.encode(), time))))
        self.came.set()


@dataclass
class World:
    """The three nodes, the search index, and who is cut off from whom."""

    chance: random.Random
    replicas: dict[str, Replica] = field(default_factory=lambda: {node: Replica() for node in NODES})
    cut: set[frozenset[str]] = field(default_factory=set)
    daemons: dict[str, RingDaemon] = field(default_factory=dict)
    truth: Cassandra = field(default_factory=Rows)
    hints: list[asyncio.Task[None]] = field(default_factory=list)
    writes: int = 0
    make: Callable[[World, str], RingDaemon] = field(default_factory=lambda: RingDaemon)

    def __post_init__(self) -> None:
        self.index = SlowIndex(self.chance)
        for node in NODES:
            self.daemons[node] = self.make(self, node)

    def reaches(self, one: str, other: str) -> bool:
        return one == other or frozenset((one, other)) not in self.cut

    def write(self, coordinator: str, key: bytes, value: str, time: int, *, dropped: str | None, hint: float) -> None:
        """Write at QUORUM: the mutation reaches each live replica, except one that drops it; a hint may follow."""
        takers = [
            node
            for node, replica in self.replicas.items()
            if replica.up and node != dropped and self.reaches(coordinator, node)
        ]
        if len(takers) < 2:
            return
        self.writes += 1
        self.truth.write(key, (), value, time)
        for node in NODES:
            if node in takers:
                self.replicas[node].apply(key, value, time)
            elif hint:
                self.hints.append(asyncio.create_task(self._hint(node, key, value, time, hint)))

    async def _hint(self, node: str, key: bytes, value: str, time: int, delay: float) -> None:
        await asyncio.sleep(delay)
        while not self.replicas[node].up:  # noqa: ASYNC110 -- virtual time costs nothing
            await asyncio.sleep(1)
        self.replicas[node].apply(key, value, time)

    def heal(self) -> None:
        self.cut.clear()
        self.index.open.set()
        for replica in self.replicas.values():
            replica.up = True


class SlowIndex(Index):
    """Counts the documents that were written. While `open` is not set, it does not answer."""

    written = 0

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance, failures=0.0)
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        await self.open.wait()
        results = await super().write(operations)
        self.written += len(operations)
        return results


@dataclass
class QuorumReader:
    """Reads two replicas that the daemon's node reaches, and waits while the daemon hangs."""

    world: World
    daemon: RingDaemon
    clock: HybridClock

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        assert (table.table, confirm) in {("table", True), ("table", False)}
        world, chance = self.world, self.world.chance
        await self.daemon.awake.wait()
        version, began = self.clock.next(), asyncio.get_running_loop().time()
        await asyncio.sleep(chance.random() * 0.005)
        near = [node for node in NODES if world.replicas[node].up and world.reaches(self.daemon.node, node)]
        if len(near) < 2:
            await asyncio.sleep(0.2)
            raise CassandraUnavailableError("no quorum")
        asked = chance.sample(near, 2)
        states = []
        for key in keys:
            found = [world.replicas[node].rows.row(key.partition_key, ()) for node in asked]
            newest = max(
                (each for each in found if each is not None), key=lambda each: (each[1], str(each[0][2])), default=None
            )
            states.append(RowState(None, None) if newest is None else RowState(*newest))
        await asyncio.sleep(chance.random() * 0.005)
        await self.daemon.awake.wait()
        return Reading(version, began, COLUMNS, states)

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        raise NotImplementedError

    def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        raise NotImplementedError


class RingOrder:
    """Each key has its replicas in an order of its own."""

    def __init__(self, world: World, node: str) -> None:
        self.world = world
        self.node = node

    def refresh(self) -> None:
        pass

    def token(self, partition_key: bytes) -> int:
        return partition_key[0] * 1_000_003

    def replicas(self, token: int) -> list[str]:
        first = token % 3
        return [*NODES[first:], *NODES[:first]]

    def owns(self, partition_key: bytes) -> bool:
        return self.replicas(self.token(partition_key))[0] == self.node

    def before(self, keyspace: str, token: int) -> Sequence[str]:
        assert keyspace == "keyspace"
        order = self.replicas(token)
        return tuple(order[: order.index(self.node)])


@dataclass
class AskedPeers:
    """Asks another daemon over a network that loses messages."""

    world: World
    node: str

    async def ask(self, node: str, name: str, body: bytes = b"") -> bytes:
        assert name == "changes"
        world, other = self.world, self.world.daemons[node]
        await world.daemons[self.node].awake.wait()
        await asyncio.sleep(world.chance.random() * 0.01)
        if not world.reaches(self.node, node) or not other.awake.is_set() or world.chance.random() < 0.02:
            await asyncio.sleep(2)
            raise PeerError("no answer")
        if other.owned is None:
            raise PeerError("closed")
        answer = other.owned.answer(body)
        await asyncio.sleep(world.chance.random() * 0.01)
        if not world.reaches(self.node, node):
            await asyncio.sleep(2)
            raise PeerError("no answer")
        return answer


class Observed:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def left(self, count: int) -> None:
        self._add("left", count)

    def confirmed(self, count: int) -> None:
        self._add("confirmed", count)

    def settled_here(self, reason: str, count: int) -> None:
        self._add(reason, count)

    def _add(self, name: str, count: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + count


class RingDaemon:
    """A daemon: the real division, books, questions and pipeline, behind a simulated tail.

    It can be killed at any moment, and begins again from its checkpoint. `lag` is how long it takes to read on.
    """

    limit = 100_000

    def __init__(self, world: World, node: str) -> None:
        self.world = world
        self.node = node
        self.awake = asyncio.Event()
        self.awake.set()
        self.lag = 0.0
        self.skew = 0
        self.saved = 0
        self.bound = 0
        self.observed = Observed()
        self.owned: OwnedChanges | None = None
        self.line: AcknowledgementLine[int] | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def runs(self) -> bool:
        return bool(self._tasks)

    @property
    def behind(self) -> int:
        return len(self.world.replicas[self.node].log) - (self.saved if self.line is None else self.line.acknowledged)

    def make_owned(self) -> OwnedChanges:
        return OwnedChanges(now=asyncio.get_running_loop().time)

    def make_left(self) -> LeftChanges:
        return LeftChanges()

    def make_division(self, owned: OwnedChanges, left: LeftChanges) -> ChangeDivision:
        order = RingOrder(self.world, self.node)
        return ChangeDivision(order, owned=owned, left=left, observer=self.observed, limit=self.limit)

    def make_confirmation(self, owned: OwnedChanges, left: LeftChanges, coalescer: Coalescer) -> Confirmation:
        peers = AskedPeers(self.world, self.node)
        return Confirmation(left, owned=owned, peers=peers, sink=coalescer, observer=self.observed)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        clock = HybridClock(
            start=self.bound, now=lambda: START + self.skew + int(loop.time() * 1e6), reserve=self._keep_bound
        )
        coalescer = Coalescer(limit=50)
        reader = QuorumReader(self.world, self, clock)
        index = AwakeIndex(self)
        processor = row_processor_of(
            coalescer, clock=clock, reader=reader, builder=Documents(), writer=index, observer=Counts()
        )
        expansion = Expansion(coalescer=coalescer, reader=reader, finder=self.world.index)
        pipeline = pipeline_of(coalescer, processor, expansion, index, batch=10)
        owned, left = self.make_owned(), self.make_left()
        division = self.make_division(owned, left)
        confirmation = self.make_confirmation(owned, left, coalescer)
        self.owned = owned
        self.line = AcknowledgementLine(self.saved, limit=100_000)
        self._tasks = [
            loop.create_task(pipeline.run()),
            loop.create_task(confirmation.run()),
            loop.create_task(self._follow(self.line, division, coalescer)),
        ]

    def _keep_bound(self, bound: int) -> None:
        self.bound = bound

    async def terminate(self) -> None:
        """Stop as after SIGTERM: read no more, write for a while what is under way, and save the exact checkpoint."""
        if not self._tasks:
            return
        pipeline, *readers = self._tasks
        await _cancel(readers)
        await asyncio.sleep(self.world.chance.choice([0.0, 0.05, 2.0]))
        await _cancel([pipeline])
        self._tasks = []
        if self.line is not None:
            self.saved = self.line.acknowledged
        self.line = self.owned = None

    async def kill(self) -> None:
        await _cancel(self._tasks)
        self._tasks = []
        if self.line is not None:
            # A checkpoint is saved at most every 100 ms.
            self.saved = self.world.chance.choice([self.saved, self.line.acknowledged, self.line.acknowledged])
        self.line = self.owned = None

    async def _follow(self, line: AcknowledgementLine[int], division: ChangeDivision, coalescer: Coalescer) -> None:
        replica, position = self.world.replicas[self.node], self.saved
        while True:
            await self.awake.wait()
            if position == len(replica.log):
                replica.came.clear()
                await replica.came.wait()
            await asyncio.sleep(0.02 + self.lag * self.world.chance.random())
            await self.awake.wait()
            entries = replica.log[position : position + 20]
            position += len(entries)
            receipt = await line.open(position)
            divided = division.divide([each.update for each in entries], [each.checksum for each in entries])
            own = divided.accept(receipt)
            await coalescer.submit(list(signals_of(divided.own)), own)
            own.release()
            receipt.release()


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class AwakeIndex:
    """The index as one daemon writes to it: not while it hangs."""

    def __init__(self, daemon: RingDaemon) -> None:
        self._daemon = daemon
        self._index = daemon.world.index

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        await self._daemon.awake.wait()
        results = await self._index.write(operations)
        await self._daemon.awake.wait()
        return results

    async def wait_available(self) -> None:
        await self._daemon.awake.wait()


async def finish(world: World, seconds: float = 3600) -> None:
    """Heal everything, and wait until each daemon that runs and does not hang has acknowledged its whole log."""
    world.heal()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*world.hints)
    async with asyncio.timeout(seconds):
        while any(each.runs and each.awake.is_set() and each.behind for each in world.daemons.values()):  # noqa: ASYNC110
            await asyncio.sleep(1)
