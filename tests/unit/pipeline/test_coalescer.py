from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.model.signal import Clustering, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry

TABLE = TableName("keyspace", "table")


def row(partition: bytes, clustering: Clustering = (), *, written: int = 1, removed: int = 0) -> Signal:
    return Signal(TABLE, partition, Scope.ROW, clustering, written=written, removed=removed)


def partition_removal(partition: bytes, removed: int) -> Signal:
    return Signal(TABLE, partition, Scope.PARTITION, removed=removed)


@pytest.fixture
def line() -> AcknowledgementLine[int]:
    return AcknowledgementLine(0)


async def hand_over(
    coalescer: Coalescer, line: AcknowledgementLine[int], position: int, signals: Sequence[Signal]
) -> Receipt:
    receipt = await line.open(position)
    await coalescer.submit(signals, receipt)
    receipt.release()
    return receipt


async def nothing_comes(waiting: asyncio.Task[list[Entry]] | asyncio.Task[Entry]) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return not waiting.done()


async def test_a_key_that_changes_often_is_handed_out_once(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"a", written=3), row(b"b", written=4), row(b"a", written=9)])
    await hand_over(coalescer, line, 2, [row(b"a", written=7)])
    entries = await coalescer.take_rows(10)
    assert [(entry.key.partition_key, entry.written, entry.oldest) for entry in entries] == [
        (b"a", 9, 3),
        (b"b", 4, 4),
    ]
    coalescer.settle(entries[1])
    assert line.acknowledged == 0
    coalescer.settle(entries[0])
    assert line.acknowledged == 2


async def test_a_change_during_the_flight_waits_for_its_end(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"a")])
    (first,) = await coalescer.take_rows(10)
    await hand_over(coalescer, line, 2, [row(b"a", written=5)])
    waiting = asyncio.create_task(coalescer.take_rows(10))
    assert await nothing_comes(waiting)
    coalescer.settle(first)
    assert line.acknowledged == 1
    (second,) = await asyncio.wait_for(waiting, 1)
    assert second.written == 5
    coalescer.settle(second)
    assert line.acknowledged == 2
    assert len(coalescer) == 0


async def test_submit_waits_while_the_pipeline_is_full(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer(limit=2)
    await hand_over(coalescer, line, 1, [row(b"a"), row(b"b")])
    more = asyncio.create_task(hand_over(coalescer, line, 2, [row(b"c")]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not more.done()
    (entry,) = await coalescer.take_rows(1)
    coalescer.settle(entry)
    await asyncio.wait_for(more, 1)
    assert len(coalescer) == 2


async def test_what_is_retried_keeps_its_receipts_and_takes_in_what_came_meanwhile(
    line: AcknowledgementLine[int],
) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"a", written=1)])
    (entry,) = await coalescer.take_rows(10)
    await hand_over(coalescer, line, 2, [row(b"a", written=8)])
    entry.minimum_version = 77
    coalescer.retry(entry, 0.0)
    (again,) = await asyncio.wait_for(coalescer.take_rows(10), 1)
    assert (again.written, again.minimum_version, again.attempts) == (8, 77, 1)
    assert line.acknowledged == 0
    coalescer.settle(again)
    assert line.acknowledged == 2


async def test_a_retry_is_handed_out_after_its_delay(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"a")])
    (entry,) = await coalescer.take_rows(10)
    coalescer.retry(entry, 0.01)
    assert coalescer.in_flight == 0
    assert [again.key for again in await asyncio.wait_for(coalescer.take_rows(10), 1)] == [entry.key]


async def test_a_partition_waits_for_its_rows_in_flight_and_for_no_others(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"p", (b"1",)), row(b"q", (b"1",))])
    of_p, of_q = await coalescer.take_rows(10)
    await hand_over(coalescer, line, 2, [partition_removal(b"p", 5), partition_removal(b"r", 5)])
    assert (await coalescer.take_partition()).key.partition_key == b"r"
    waiting = asyncio.create_task(coalescer.take_partition())
    assert await nothing_comes(waiting)
    coalescer.settle(of_q)
    assert await nothing_comes(waiting)
    coalescer.settle(of_p)
    assert (await asyncio.wait_for(waiting, 1)).key.partition_key == b"p"


async def test_a_row_read_after_its_partition_s_removal_suspects_it(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"p", (b"1",), written=3)])
    await hand_over(coalescer, line, 2, [partition_removal(b"p", 5)])
    (entry,) = await coalescer.take_rows(10)
    assert (entry.written, entry.removed, entry.suspected) == (3, 0, 5)


async def test_rows_that_start_later_do_not_hold_a_removal_up(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"p", (b"1",)), row(b"p", (b"2",))])
    (before,) = await coalescer.take_rows(1)
    await hand_over(coalescer, line, 2, [partition_removal(b"p", 5)])
    (since,) = await coalescer.take_rows(1)
    waiting = asyncio.create_task(coalescer.take_partition())
    coalescer.settle(before)
    removal = await asyncio.wait_for(waiting, 1)
    for entry in (removal, since):
        coalescer.settle(entry)
    assert line.acknowledged == 2
    assert len(coalescer) == 0


async def test_a_second_removal_waits_for_rows_that_started_after_the_first(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"p", (b"1",))])
    (one,) = await coalescer.take_rows(1)
    await hand_over(coalescer, line, 2, [partition_removal(b"p", 5), row(b"p", (b"2",), written=6)])
    (two,) = await coalescer.take_rows(1)
    await hand_over(coalescer, line, 3, [partition_removal(b"p", 7)])
    waiting = asyncio.create_task(coalescer.take_partition())
    coalescer.settle(one)
    assert await nothing_comes(waiting)
    coalescer.settle(two)
    removal = await asyncio.wait_for(waiting, 1)
    assert removal.removed == 7
    coalescer.settle(removal)
    assert line.acknowledged == 3


async def test_closing_forgets_delays(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"a")])
    (entry,) = await coalescer.take_rows(1)
    coalescer.retry(entry, 0.001)
    coalescer.close()
    waiting = asyncio.create_task(coalescer.take_rows(1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()


async def test_what_is_abandoned_is_forgotten_and_the_counts_add_up(line: AcknowledgementLine[int]) -> None:
    coalescer = Coalescer()
    await hand_over(coalescer, line, 1, [row(b"a"), row(b"b"), row(b"b"), row(b"c")])
    settled, _in_flight = await coalescer.take_rows(2)
    coalescer.settle(settled)
    coalescer.close()
    coalescer.abandon()
    taken, coalesced, rows, partitions, forgotten = coalescer.flow
    assert (taken, coalesced, rows, partitions, forgotten, len(coalescer)) == (4, 1, 1, 0, 2, 0)
    assert line.acknowledged == 0
