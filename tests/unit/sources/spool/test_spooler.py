"""Pending keys against a real coalescer, a real gate and a real store: only the pipeline's workers are missing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.sources.spool.spooler import CdcSpace, Spooler
from cdc_daemon.store import Store
from cdc_daemon.store.spool import SpooledKey, SpooledRow

TABLE = TableName("shop", "orders")
MIB = 1024 * 1024


class Counts:
    def __init__(self) -> None:
        self.out = self.back = 0

    def spooled(self, count: int) -> None:
        self.out += count

    def unspooled(self, count: int) -> None:
        self.back += count


class World:
    """A coalescer that only the test empties, and a cdc_raw whose size the test sets."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.coalescer = Coalescer(limit=4)
        self.gate = Gate(self.coalescer)
        self.space = CdcSpace(limit=100 * MIB, segment_size=MIB)
        self.counts = Counts()
        self.ready = False
        self.spooler = Spooler(
            store.spool,
            coalescer=self.coalescer,
            gate=self.gate,
            space=self.space,
            ready=lambda: self.ready,
            observer=self.counts,
        )

    def fill(self) -> None:
        self.space.listed(60 * MIB)

    def empty(self) -> None:
        self.space.listed(MIB)

    async def submit(self, *signals: Signal) -> Receipt:
        receipt = Receipt(lambda: None)
        await self.gate.submit(signals, receipt)
        receipt.release()
        return receipt


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def world(store: Store) -> AsyncIterator[World]:
    world = World(store)
    task = asyncio.create_task(world.spooler.run())
    yield world
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def row(name: str, written: int = 1) -> Signal:
    return Signal(TABLE, name.encode(), Scope.ROW, (), written=written)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.01)


async def test_pending_keys_go_to_disk_and_are_acknowledged_when_space_runs_out(world: World) -> None:
    receipts = [await world.submit(row("a")), await world.submit(row("b", 5), row("a", 7))]
    assert not any(receipt.done for receipt in receipts)
    world.fill()
    await until(lambda: all(receipt.done for receipt in receipts))
    assert [each.spooled for each in world.store.spool.oldest(9)] == [
        SpooledKey(Key(TABLE, b"a", ()), written=7),
        SpooledKey(Key(TABLE, b"b", ()), written=5),
    ]
    assert len(world.coalescer) == 0
    assert world.spooler.waiting == 2


@pytest.mark.slow
async def test_a_full_pipeline_makes_room_and_the_source_goes_on(world: World) -> None:
    world.fill()
    receipt = await world.submit(*(row(str(number)) for number in range(40)))
    await until(lambda: receipt.done)
    assert len(world.store.spool) == 40


async def test_what_comes_back_is_taken_out_when_it_is_settled(world: World) -> None:
    await world.submit(row("a"), row("b"))
    world.fill()
    await until(lambda: world.spooler.waiting == 2)
    world.empty()
    await asyncio.sleep(0.6)
    assert len(world.coalescer) == 0, "documents cannot be written yet"
    world.ready = True
    entries = await world.coalescer.take_rows(9)
    while len(entries) < 2:
        entries += await world.coalescer.take_rows(9)
    assert len(world.store.spool) == 2
    for entry in entries:
        world.coalescer.settle(entry)
    await until(lambda: world.counts.back == 2)
    assert len(world.store.spool) == 0


@pytest.mark.slow
async def test_a_store_that_fails_for_a_while_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([StoreError("SQLite says: database or disk is full")])
    remove = world.store.spool.remove

    def fail_once(rows: Iterable[SpooledRow]) -> None:
        for failure in failures:
            raise failure
        remove(rows)

    monkeypatch.setattr(world.store.spool, "remove", fail_once)
    await world.submit(row("a"))
    world.fill()
    await until(lambda: world.spooler.waiting == 1)
    world.empty()
    world.ready = True
    async with asyncio.timeout(30):
        for _ in range(2):
            (entry,) = await world.coalescer.take_rows(9)
            world.coalescer.settle(entry)
    await until(lambda: world.spooler.waiting == 0)
    assert len(world.store.spool) == 0


async def test_a_key_of_which_more_is_said_meanwhile_stays(world: World) -> None:
    await world.submit(row("a", 1))
    world.fill()
    await until(lambda: world.spooler.waiting == 1)
    world.empty()
    world.ready = True
    (entry,) = await world.coalescer.take_rows(9)
    world.ready = False
    await world.submit(row("a", 9))
    world.fill()
    await until(lambda: world.store.spool.oldest(1)[0].generation == 1)
    world.coalescer.settle(entry)
    await until(lambda: world.counts.back == 1)
    assert world.store.spool.oldest(9)[0].spooled.written == 9


def removal(*clustering: bytes) -> Signal:
    return Signal(TABLE, b"p", Scope.RANGE, clustering, removed=1)


@pytest.mark.parametrize("flying", [False, True])
async def test_what_is_said_while_its_key_goes_to_disk_is_acknowledged_when_it_is_there_too(
    world: World, monkeypatch: pytest.MonkeyPatch, *, flying: bool
) -> None:
    put, began, may_end = world.store.spool.put, asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow_put(keys: Iterable[SpooledKey]) -> int:
        new = put(keys)
        loop.call_soon_threadsafe(began.set)
        assert may_end.wait(30)
        return new

    monkeypatch.setattr(world.store.spool, "put", slow_put)
    receipt = Receipt(lambda: None)
    world.coalescer.add(removal(b"a"), receipt)
    flight = await world.coalescer.take_partition() if flying else None
    if flight is not None:
        world.coalescer.add(removal(b"b"), receipt)
    world.fill()
    await began.wait()
    # The portion goes on with another removal in the same partition; or one that was at work comes back.
    if flight is None:
        world.coalescer.add(removal(b"b"), receipt)
    else:
        world.coalescer.retry(flight, 60.0)
    receipt.release()
    assert not receipt.done
    may_end.set()
    await until(lambda: receipt.done)
    (kept,) = world.store.spool.oldest(9)
    assert kept.spooled.prefixes == {(b"a",), (b"b",)}


async def test_what_waits_at_a_closed_gate_goes_to_disk_and_waits_there(world: World) -> None:
    world.gate.close()
    world.fill()
    receipt = await world.submit(row("a"))
    assert receipt.done
    world.empty()
    world.ready = True
    await asyncio.sleep(0.6)
    assert len(world.coalescer) == 0
    world.gate.open()
    (entry,) = await world.coalescer.take_rows(9)
    assert entry.key.partition_key == b"a"


async def test_while_there_is_room_nothing_goes_to_disk(world: World) -> None:
    world.space.listed(40 * MIB)
    receipt = await world.submit(row("a"))
    await asyncio.sleep(0.6)
    assert not receipt.done
    assert len(world.store.spool) == 0


@pytest.mark.parametrize(
    ("limit", "used", "filling"),
    [(100, 51, True), (100, 50, False), (4, 2, True), (4, 1, False), (2, 1, True), (0, 10**9, False)],
)
def test_from_when_on_the_space_is_filling(limit: int, used: int, filling: bool) -> None:
    space = CdcSpace(limit=limit * MIB, segment_size=MIB)
    space.listed(used * MIB)
    assert space.filling is filling


@pytest.mark.parametrize(("used", "filling"), [(60, False), (80, False), (81, True)])
def test_segments_that_only_cassandra_can_free_leave_less_space(used: int, filling: bool) -> None:
    space = CdcSpace(limit=100 * MIB, segment_size=MIB)
    space.listed(used * MIB, 60 * MIB)
    assert space.filling is filling


values = st.none() | st.binary(max_size=3)
times = st.integers(0, 2**40)
signals = st.builds(
    Signal,
    table=st.sampled_from([TABLE, TableName("shop", "users")]),
    partition_key=st.sampled_from([b"p", b"q"]),
    scope=st.sampled_from(Scope),
    clustering=st.lists(values, min_size=1, max_size=2).map(tuple),
    written=times,
    removed=times,
    expires=st.lists(st.integers(0, 9), max_size=3, unique=True).map(sorted).map(tuple),
    suspected=times,
)


@pytest.mark.slow
@given(st.lists(signals, max_size=12), st.integers(1, 4))
def test_what_comes_back_says_what_went_in(
    tmp_path_factory: pytest.TempPathFactory, said: list[Signal], parts: int
) -> None:
    """Signals that went through the spool, in any number of parts, make the same entries as others."""
    store = Store(tmp_path_factory.mktemp("spool"))
    for at in range(parts):
        store.spool.put([SpooledKey.of(signal) for signal in said[at::parts]])
    back = [signal for each in store.spool.oldest(100) for signal in each.spooled.signals()]
    store.close()
    assert _entries(back) == _entries(said)


def _entries(said: list[Signal]) -> dict[Key, tuple[object, ...]]:
    entries: dict[Key, Entry] = {}
    for signal in said:
        entries.setdefault(Key.of(signal), Entry(Key.of(signal))).add(signal, None)
    return {
        key: (entry.written, entry.removed, entry.suspected, entry.expires, entry.refresh, entry.prefixes)
        for key, entry in entries.items()
    }
