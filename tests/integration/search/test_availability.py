"""A real Elasticsearch that is overloaded, killed, frozen and started again in mid-write."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest
from elasticsearch import AsyncElasticsearch
from structlog.testing import capture_logs

from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.search import BulkWriter, Outcome, RetryReason, SearchEngine, SilentObserver
from sandbox import Sandbox
from sandbox.search_client import make_async_search_client
from tests.integration.search.conftest import QUICK, Index, connected
from tests.servers import make_sandbox


@pytest.fixture(scope="module")
def lone() -> Iterator[Sandbox]:
    """An Elasticsearch that has little room for writes under way, and may be killed."""
    with make_sandbox(cassandra=None, elasticsearch_yaml={"indexing_pressure.memory.limit": "400kb"}) as box:
        yield box


@pytest.fixture
async def client(lone: Sandbox) -> AsyncIterator[AsyncElasticsearch]:
    async with make_async_search_client(lone.elasticsearch.url) as client:
        yield client


@pytest.fixture
async def engine(lone: Sandbox) -> AsyncIterator[SearchEngine]:
    async with connected(lone) as engine:
        yield engine


@pytest.fixture
async def index(client: AsyncElasticsearch, engine: SearchEngine) -> AsyncIterator[Index]:
    index = Index(client, engine, "users", "users-1")
    await index.ensure()
    yield index
    await client.indices.delete(index=index.name)


class Counted(SilentObserver):
    def __init__(self) -> None:
        self.retries: Counter[RetryReason] = Counter()

    def retried(self, reason: RetryReason, count: int) -> None:
        self.retries[reason] += count


async def keep_writing(
    writer: BulkWriter, index: Index, clock: HybridClock, keys: list[str], stop: asyncio.Event
) -> int:
    """Write the keys as the pipeline does: read again what comes back, after waiting for Elasticsearch."""
    rounds = 0
    while True:
        last = stop.is_set()
        pending = keys
        while pending:
            await writer.wait_available()
            rounds += 1
            operations = [index.write(key, clock.next(), age=rounds) for key in pending]
            results = await writer.write(operations)
            assert {result.outcome for result in results} <= {Outcome.INDEXED, Outcome.REREAD}
            pending = [key for key, result in zip(pending, results, strict=True) if result.outcome is Outcome.REREAD]
        if last:
            return rounds


async def test_overload_is_waited_out(
    index: Index, engine: SearchEngine, make_writer: Callable[..., BulkWriter]
) -> None:
    observer = Counted()
    writer = make_writer(
        engine, replace(QUICK, documents=50, retry_pause=0.02, longest_retry_pause=0.2), observer=observer
    )
    operations = [index.write(str(number), 5, name="x" * 2000) for number in range(3000)]

    results = await writer.write(operations)

    assert {result.outcome for result in results} == {Outcome.INDEXED}
    assert observer.retries[RetryReason.OVERLOAD] > 0
    assert await index.keys() == {str(number) for number in range(3000)}
    assert writer.available


async def test_a_kill_in_mid_write_loses_nothing(
    lone: Sandbox, index: Index, engine: SearchEngine, make_writer: Callable[..., BulkWriter]
) -> None:
    writer = make_writer(engine, replace(QUICK, documents=20))
    clock, stop = HybridClock(), asyncio.Event()
    keys = [str(number) for number in range(200)]

    with capture_logs() as logs:
        writing = asyncio.create_task(keep_writing(writer, index, clock, keys, stop))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(lone.elasticsearch.kill)
        await asyncio.sleep(1)
        assert not writer.available
        lone.elasticsearch.start()
        await asyncio.to_thread(lone.elasticsearch.wait_ready)
        await asyncio.wait_for(writer.wait_available(), 30)
        stop.set()
        rounds = await asyncio.wait_for(writing, 60)

    told = [entry for entry in logs if entry["event"].startswith("elasticsearch.")]
    assert told[0]["event"] == "elasticsearch.unavailable"
    assert told[-1]["event"] == "elasticsearch.available"
    assert sum(entry.get("seconds", 0) for entry in told) > 1
    documents = [await index.get(key) for key in keys]
    assert {source["age"] for _, source in filter(None, documents)} <= set(range(1, rounds + 1))
    assert None not in documents
    assert await index.keys() == set(keys)


async def test_a_frozen_server_is_given_up_and_found_again(
    lone: Sandbox, index: Index, engine: SearchEngine, make_writer: Callable[..., BulkWriter]
) -> None:
    writer = make_writer(engine, replace(QUICK, request_timeout=2.0))
    await writer.write([index.write("a", 1)])
    lone.elasticsearch.pause()
    try:
        (frozen,) = await writer.write([index.write("a", 2)])
        assert (frozen.outcome, frozen.error_type) == (Outcome.REREAD, "connection_timeout")
    finally:
        lone.elasticsearch.resume()
    await asyncio.wait_for(writer.wait_available(), 30)

    (again,) = await writer.write([index.write("a", 3, name="fresh")])

    assert again.outcome is Outcome.INDEXED
    assert await index.get("a") == (3, {"name": "fresh"})


async def test_a_restart_forgets_deletions_so_no_body_is_sent_across_it(
    lone: Sandbox,
    index: Index,
    client: AsyncElasticsearch,
    engine: SearchEngine,
    make_writer: Callable[..., BulkWriter],
) -> None:
    ours, other = make_writer(engine), make_writer(engine)
    stale = index.write("a", 5, name="stale")
    await other.write([index.delete("a", 6)])
    await client.indices.flush(index=index.alias)  # unflushed, the replayed translog would still know the deletion
    await asyncio.to_thread(lone.elasticsearch.kill)
    (lost,) = await ours.write([index.write("b", 7)])
    assert lost.outcome is Outcome.REREAD
    lone.elasticsearch.start()
    await asyncio.to_thread(lone.elasticsearch.wait_ready)
    await asyncio.wait_for(ours.wait_available(), 30)

    (result,) = await ours.write([stale])

    assert (result.outcome, result.error_type) == (Outcome.REREAD, "body_too_old")
    assert await index.get("a") is None
    # That is what would have happened: the deletion's version is forgotten, the older state is taken.
    await client.index(index=index.alias, id="a", document={"name": "stale"}, version=5, version_type="external_gte")
    assert await index.get("a") == (5, {"name": "stale"})


async def test_a_block_of_the_whole_cluster_is_no_trouble_of_one_index(
    index: Index, client: AsyncElasticsearch, engine: SearchEngine, make_writer: Callable[..., BulkWriter]
) -> None:
    other = Index(client, engine, "orders", "orders-1")
    await other.ensure()
    writer = make_writer(engine)
    await client.cluster.put_settings(persistent={"cluster.blocks.read_only": True})
    try:
        results = await writer.write([index.write("a"), other.write("b"), other.delete("c")])
        assert {result.outcome for result in results} == {Outcome.REREAD}
        assert not writer.available
        assert not writer.troubled
        assert writer.failure is not None
        assert writer.failure.error_type == "cluster_block_exception"
    finally:
        await client.cluster.put_settings(persistent={"cluster.blocks.read_only": None})
    async with asyncio.timeout(30):
        outcomes = {Outcome.REREAD}
        while outcomes != {Outcome.INDEXED}:  # a shard may still refuse for a moment when the block is lifted
            await writer.wait_available()
            outcomes = {result.outcome for result in await writer.write([index.write("a"), other.write("b")])}
            await asyncio.sleep(0.05)
    await client.indices.delete(index=other.name)
