"""Rows are signalled when one of their values has expired, and again while Cassandra still returns it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from cdc_daemon.model.reading import Lifetime
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.sources.unlogged_removals.expiry import ExpiryTracker, ExpiryWatch
from cdc_daemon.store import Store

TABLE, OTHER = TableName("k", "t"), TableName("k", "other")


class Schema:
    def __init__(self) -> None:
        self.expected: set[TableName] = set()

    def tracks(self, name: TableName) -> bool:
        return name in self.expected

    def expect_ttl(self, names: Iterable[TableName]) -> None:
        self.expected |= set(names)


class Sink:
    """Reads rows at once, by a server's clock that is behind: the rows are there until 1003."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = 1000.0
        self.signals: list[Signal] = []

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        receipt.hold()
        self.signals += signals
        self.store.expiries.keep(
            [Lifetime(Key.of(signal), None if self.now >= 1003 else int(self.now) + 1, ()) for signal in signals]
        )
        asyncio.get_running_loop().call_soon(receipt.release)


async def test_a_row_is_signalled_until_it_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sink = Sink(store)
    watch = ExpiryWatch(store.expiries, sink=sink, gate=Gate(Coalescer()), now=lambda: sink.now)
    keys = [Key(TABLE, bytes([number]), (b"c",)) for number in range(3)]
    store.expiries.keep([Lifetime(key, 1000, ()) for key in keys])
    for now, signalled in ((1000.5, 0), (1001, 3), (1001.5, 3), (1003, 6), (1010, 6)):
        sink.now = now
        await watch.process_due()
        assert len(sink.signals) == signalled
    assert {signal.suspected for signal in sink.signals} == {1_000_000_000, 1_002_000_000}
    assert store.expiries.count == 0
    store.close()


async def test_a_closed_gate_holds_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sink = Sink(store)
    gate = Gate(Coalescer())
    watch = ExpiryWatch(store.expiries, sink=sink, gate=gate, now=lambda: 2000.0)
    store.expiries.keep([Lifetime(Key(TABLE, b"p", ()), 1000, ())])
    gate.close()
    looking = asyncio.create_task(watch.process_due())
    await asyncio.sleep(0.05)
    assert sink.signals == []
    gate.open()
    await looking
    assert len(sink.signals) == 1
    store.close()


def test_which_tables_are_read_with_lives(tmp_path: Path) -> None:
    store = Store(tmp_path)
    schema = Schema()
    expirations = ExpiryTracker(store.expiries, schema, declared=[OTHER])
    assert schema.expected == {OTHER}
    expirations.expect(TABLE)
    assert expirations.tracks(TABLE)
    later = Schema()
    ExpiryTracker(store.expiries, later)
    assert later.expected == {TABLE}
    store.close()
