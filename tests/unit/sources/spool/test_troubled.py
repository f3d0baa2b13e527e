"""Keys of an alias that takes no writes are spooled although cdc_raw has room, so that others fit in the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.model.signal import Signal
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.sources.spool.spooler import CdcSpace, Spooler
from cdc_daemon.store import Store
from cdc_daemon.store.spool import SpooledKey
from tests.unit.pipeline.troubles import ALIASES, BOTH, ORDER, USER, BlockedAliases, partition, row, until, working

MIB = 1024 * 1024
LIMIT = 40


class Counts:
    def spooled(self, count: int) -> None:
        assert count

    def unspooled(self, count: int) -> None:
        assert count >= 0


class World:
    """A pipeline of a small limit, a spool beside it, and aliases that may be blocked."""

    def __init__(self, store: Store, servers: BlockedAliases, coalescer: Coalescer, pipeline: Pipeline) -> None:
        self.store = store
        self.servers = servers
        self.coalescer = coalescer
        self.pipeline = pipeline
        self.space = CdcSpace(limit=100 * MIB, segment_size=MIB)

    def spooler(self, *, patience: float = 0.0) -> Spooler:
        return Spooler(
            self.store.spool,
            coalescer=self.coalescer,
            gate=Gate(self.coalescer),
            space=self.space,
            ready=lambda: True,
            observer=Counts(),
            troubled=Troubled(self.servers, ALIASES),
            patience=patience,
        )

    async def submit(self, *signals: Signal) -> Receipt:
        receipt = Receipt(lambda: None)
        await self.coalescer.submit(signals, receipt)
        receipt.release()
        return receipt

    def keys(self) -> set[tuple[str, bytes]]:
        return {(each.spooled.key.table.table, each.spooled.key.partition_key) for each in self.store.spool.oldest(999)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    servers, coalescer = BlockedAliases("users", "blocked"), Coalescer(limit=LIMIT)
    async with working(servers, coalescer) as pipeline:
        yield World(store, servers, coalescer, pipeline)


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.slow
async def test_more_keys_than_the_pipeline_holds_stop_no_other(world: World) -> None:
    spooling = asyncio.create_task(world.spooler(patience=3600.0).run())
    with capture_logs() as logs:
        blocked = await world.submit(*(row(USER, f"u{number}") for number in range(5 * LIMIT)))
        others = await world.submit(*(row(ORDER, f"o{number}") for number in range(5 * LIMIT)))
        await until(lambda: others.done)
    assert len(world.servers.written) == 5 * LIMIT
    assert len(world.store.spool) >= 4 * LIMIT
    told = [entry for entry in logs if entry["event"] == "spool.alias_in_trouble"]
    assert told[0]["aliases"] == ["blocked", "users"]
    world.servers.repair()
    await until(lambda: blocked.done and len(world.store.spool) == 0)
    assert {identity for alias, identity in world.servers.written if alias == "users"} == {
        f"u{number}" for number in range(5 * LIMIT)
    }
    await end(spooling)


@pytest.mark.slow
async def test_what_is_acknowledged_in_order_does_not_wait_for_them(world: World) -> None:
    spooling = asyncio.create_task(world.spooler().run())
    line: AcknowledgementLine[int] = AcknowledgementLine(0, limit=3)
    for number in range(1, 31):
        receipt = await line.open(number)
        await world.coalescer.submit([row(USER, f"u{number}"), row(ORDER, f"o{number}")], receipt)
        receipt.release()
    await line.wait_empty()
    assert line.acknowledged == 30
    assert world.keys() == {("user", f"u{number}".encode()) for number in range(1, 31)}
    await end(spooling)


async def test_trouble_that_passes_soon_leaves_them_in_memory(world: World) -> None:
    spooling = asyncio.create_task(world.spooler(patience=3600.0).run())
    receipt = await world.submit(row(USER, "u"))
    await until(lambda: len(world.coalescer.parked()) == 1)
    await asyncio.sleep(0.6)
    assert len(world.store.spool) == 0
    world.servers.repair()
    await until(lambda: receipt.done)
    await end(spooling)


async def test_after_a_restart_they_wait_and_others_come_back(world: World) -> None:
    signals = [row(USER, "u"), row(ORDER, "o"), row(BOTH, "b"), partition(USER, "p"), partition(ORDER, "q")]
    world.store.spool.put([SpooledKey.of(signal) for signal in signals])
    spooling = asyncio.create_task(world.spooler().run())
    await until(lambda: len(world.store.spool) == 3)
    await until(lambda: ("open", "b") in world.servers.written)
    assert world.keys() == {("user", b"u"), ("user", b"p"), ("both", b"b")}
    assert not {alias for alias, _ in world.servers.written} & {"users", "blocked"}
    world.servers.repair()
    await until(lambda: len(world.store.spool) == 0)
    assert {("users", "u"), ("blocked", "b"), ("users", "p:1")} <= set(world.servers.written)
    await end(spooling)


async def test_what_is_said_of_them_meanwhile_is_written_in_the_end(world: World) -> None:
    spooling = asyncio.create_task(world.spooler().run())
    for change in range(1, 4):
        receipt = await world.submit(row(BOTH, "b", change))
        await until(lambda: receipt.done)  # noqa: B023
        assert world.servers.written.count(("open", "b")) >= change
    (kept,) = world.store.spool.oldest(9)
    assert kept.spooled.written == 3
    world.servers.repair()
    await until(lambda: len(world.store.spool) == 0)
    assert ("blocked", "b") in world.servers.written
    await end(spooling)


@pytest.mark.slow
async def test_new_keys_of_others_do_not_wait_for_the_repair(world: World) -> None:
    """Keys spooled because cdc_raw was filling come back although other spooled keys wait for an alias."""
    spooling = asyncio.create_task(world.spooler().run())
    receipt = await world.submit(row(USER, "u"))
    await until(lambda: receipt.done)
    await asyncio.sleep(0.6)  # it rests, as all that is left waits for the alias
    world.store.spool.put([SpooledKey.of(row(ORDER, "o"))])
    world.space.listed(60 * MIB)
    spooled = await world.submit(row(USER, "another"))
    await until(lambda: spooled.done)
    world.space.listed(MIB)
    await until(lambda: world.keys() == {("user", b"u"), ("user", b"another")})
    await end(spooling)
