"""A requested partition that no caller waits for any more blocks no other, whatever its rows wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

import pytest

from cdc_daemon.model.document_operation import DocumentOutcome, Operation, Result
from cdc_daemon.model.errors import ElasticsearchUnavailableError, Trouble
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Clustering, Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.pipeline import Pipeline
from tests.simulation.parts import unreadable_of
from tests.unit.pipeline.servers import Servers, processor_of

BLOCKED, OTHER = TableName("keyspace", "blocked"), TableName("keyspace", "other")


class BlockedServers(Servers):
    """Partitions of two pages each, and an index that takes nothing while it is blocked."""

    def __init__(self) -> None:
        self.blocked = True
        self.refused = asyncio.Event()
        self.open_pages = 0

    async def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        assert (table.keyspace, partition_key) == ("keyspace", b"p")
        with self._counted():
            for page in ([(b"1",), (b"2",)], [(b"3",)]):
                await asyncio.sleep(0)
                yield page

    async def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        assert (table.keyspace, partition_key) == ("keyspace", b"p")
        with self._counted():
            await asyncio.sleep(0)
            yield [(b"4",)]

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        if self.blocked and any(operation.alias == str(BLOCKED) for operation in operations):
            self.refused.set()
            raise ElasticsearchUnavailableError("the index is blocked")
        return await super().write(operations)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.open_pages += 1
        try:
            yield
        finally:
            self.open_pages -= 1


class Waiting:
    def __init__(self) -> None:
        self.closed = False
        self.done = asyncio.Event()
        self.rows: set[Clustering | None] = set()

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        assert documents or key.clustering is None
        self.rows.add(key.clustering)
        if key.clustering is None:
            self.done.set()

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        raise AssertionError((key, troubles, documents))

    def delayed(self, key: Key, trouble: Trouble) -> None:
        assert key.table == BLOCKED
        assert trouble.service == "elasticsearch"


def whole(table: TableName) -> Signal:
    return Signal(table, b"p", Scope.STATIC)


@asynccontextmanager
async def working(servers: BlockedServers, coalescer: Coalescer) -> AsyncIterator[Pipeline]:
    pipeline = Pipeline(
        coalescer=coalescer,
        rows=processor_of(servers, coalescer),
        expansion=Expansion(coalescer=coalescer, reader=servers, finder=servers),  # type: ignore[arg-type]
        unreadable=unreadable_of(coalescer),
        writer=servers,
    )
    work = asyncio.create_task(pipeline.run())
    try:
        async with asyncio.timeout(30):
            yield pipeline
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.model.backoff.Backoff.next", lambda _self: 0.001)


def leave(pipeline: Pipeline, watches: Iterable[Waiting]) -> None:
    for watch in watches:
        watch.closed = True
    pipeline.withdraw([Key.of(whole(BLOCKED))])


async def test_others_have_their_turn() -> None:
    servers, coalescer = BlockedServers(), Coalescer()
    async with working(servers, coalescer) as pipeline:
        leaves, stays = Waiting(), Waiting()
        pipeline.request([whole(BLOCKED)], leaves)
        await servers.refused.wait()
        leave(pipeline, [leaves])
        pipeline.request([whole(OTHER)], stays)
        await stays.done.wait()
        assert stays.rows == {(b"1",), (b"2",), (b"3",), (b"4",), None}
        while len(coalescer):  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.001)
    assert servers.open_pages == 0
    flow = coalescer.flow
    assert flow.taken == flow.coalesced + flow.rows + flow.partitions + flow.forgotten
    assert flow.forgotten == 3


async def test_it_goes_on_for_who_stays() -> None:
    servers, coalescer = BlockedServers(), Coalescer()
    async with working(servers, coalescer) as pipeline:
        leaves, stays = Waiting(), Waiting()
        pipeline.request([whole(BLOCKED)], leaves)
        pipeline.request([whole(BLOCKED)], stays)
        await servers.refused.wait()
        leave(pipeline, [leaves])
        servers.blocked = False
        await stays.done.wait()
        assert stays.rows == {(b"1",), (b"2",), (b"3",), (b"4",), None}
    assert servers.open_pages == 0


async def test_it_goes_on_where_a_change_needs_it() -> None:
    servers, coalescer = BlockedServers(), Coalescer()
    async with working(servers, coalescer) as pipeline:
        leaves, acknowledged = Waiting(), asyncio.Event()
        receipt = Receipt(acknowledged.set)
        await coalescer.submit([whole(BLOCKED)], receipt)
        receipt.release()
        pipeline.request([whole(BLOCKED)], leaves)
        await servers.refused.wait()
        leave(pipeline, [leaves])
        servers.blocked = False
        await acknowledged.wait()
    assert coalescer.flow.forgotten == 0
