"""What may wait: handed out after everything else, moved ahead when a change is known, and never starved."""

from __future__ import annotations

import asyncio

from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.pipeline import BACKGROUND, USUAL, USUAL_FIRST

TABLE = TableName("keyspace", "table")


def row(key: bytes, *, written: int = 0) -> Signal:
    return Signal(TABLE, key, Scope.ROW, written=written)


def keys(entries: list[Entry]) -> list[bytes]:
    return [entry.key.partition_key for entry in entries]


async def test_it_comes_after_everything_else() -> None:
    coalescer, line = Coalescer(), AcknowledgementLine(0)
    receipt = await line.open(1)
    await coalescer.submit([row(b"old-1"), row(b"old-2")], receipt, background=True)
    await coalescer.submit([row(b"new")], receipt)
    # Not in one batch: a change would wait until all that is read with it is written.
    assert keys(await coalescer.take_rows(10, USUAL_FIRST)) == [b"new"]
    assert keys(await coalescer.take_rows(10, USUAL_FIRST)) == [b"old-1", b"old-2"]


async def test_a_worker_for_changes_alone_does_not_get_it() -> None:
    coalescer = Coalescer()
    coalescer.add(row(b"old"), None, background=True)
    taking = asyncio.create_task(coalescer.take_rows(10, USUAL))
    await asyncio.sleep(0)
    assert not taking.done()
    coalescer.add(row(b"new"), None)
    assert keys(await asyncio.wait_for(taking, 1)) == [b"new"]


async def test_a_change_of_its_key_moves_it_ahead_once() -> None:
    coalescer, line = Coalescer(), AcknowledgementLine(0)
    receipt = await line.open(1)
    await coalescer.submit([row(b"a"), row(b"b")], receipt, background=True)
    receipt.release()
    coalescer.add(row(b"b", written=5), None)
    (moved,) = await coalescer.take_rows(10, USUAL)
    assert (moved.key.partition_key, moved.written) == (b"b", 5)
    others = await coalescer.take_rows(10, BACKGROUND)
    assert keys(others) == [b"a"]
    for entry in (moved, *others):
        coalescer.settle(entry)
    assert line.acknowledged == 1
    assert len(coalescer) == 0


async def test_it_does_not_slow_down_a_change_that_is_pending() -> None:
    coalescer = Coalescer()
    coalescer.add(row(b"a", written=5), None)
    coalescer.add(row(b"a"), None, background=True)
    assert keys(await coalescer.take_rows(10, USUAL)) == [b"a"]


async def test_a_worker_of_its_own_hears_of_it() -> None:
    coalescer = Coalescer()
    taking = asyncio.create_task(coalescer.take_rows(10, BACKGROUND))
    either = asyncio.create_task(coalescer.take_rows(10, USUAL_FIRST))
    await asyncio.sleep(0)
    coalescer.add(row(b"new"), None)
    assert keys(await asyncio.wait_for(either, 1)) == [b"new"]
    assert not taking.done()
    coalescer.add(row(b"old"), None, background=True)
    assert keys(await asyncio.wait_for(taking, 1)) == [b"old"]
