"""Keys that callers request: processed separately and without delay, reported, and removed when no caller waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import CassandraUnavailableError, ElasticsearchRefusedError, StoreError, Trouble
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Clustering, Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.pipeline import URGENT

TABLE = TableName("keyspace", "table")


class Waiting:
    def __init__(self) -> None:
        self.closed = False
        self.told: list[bytes] = []
        self.documents: list[DocumentOutcome] = []
        self.troubles: list[Trouble] = []

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        self.told.append(key.partition_key)
        self.documents.extend(documents)

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        raise AssertionError((key, troubles, documents))

    def delayed(self, key: Key, trouble: Trouble) -> None:
        assert key.table == TABLE
        self.troubles.append(trouble)


def row(partition: bytes, clustering: Clustering = (), *, written: int = 0) -> Signal:
    return Signal(TABLE, partition, Scope.ROW, clustering, written=written)


def whole(partition: bytes) -> Signal:
    return Signal(TABLE, partition, Scope.STATIC)


def keys(entries: Sequence[Entry]) -> list[bytes]:
    return [entry.key.partition_key for entry in entries]


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_the_two_queues_are_handed_out_apart() -> None:
    coalescer, line = Coalescer(), AcknowledgementLine(0)
    receipt = await line.open(1)
    await coalescer.submit([row(b"a", written=1), row(b"b", written=1)], receipt)
    coalescer.add(row(b"c"), None, [Waiting()])
    assert keys(await coalescer.take_rows(10, URGENT)) == [b"c"]
    assert keys(await coalescer.take_rows(10)) == [b"a", b"b"]


async def test_a_pending_key_becomes_urgent_and_is_handed_out_once() -> None:
    coalescer, line, waiting = Coalescer(), AcknowledgementLine(0), Waiting()
    receipt = await line.open(1)
    await coalescer.submit([row(b"a", written=1), row(b"b", written=2), row(b"c", written=3)], receipt)
    receipt.release()
    coalescer.add(row(b"b"), None, [waiting])
    coalescer.add(row(b"b"), None, [waiting])
    (urgent,) = await coalescer.take_rows(10, URGENT)
    assert (urgent.key.partition_key, urgent.written) == (b"b", 2)
    others = await coalescer.take_rows(10)
    assert keys(others) == [b"a", b"c"]
    coalescer.settle(urgent, [DocumentOutcome("t", "b", Outcome.INDEXED)])
    assert waiting.told == [b"b"]
    assert waiting.documents == [DocumentOutcome("t", "b", Outcome.INDEXED)]
    assert line.acknowledged == 0
    for entry in others:
        coalescer.settle(entry)
    assert line.acknowledged == 1
    assert len(coalescer) == 0


async def test_a_key_asked_for_in_flight_is_read_once_more() -> None:
    coalescer, first, second = Coalescer(), Waiting(), Waiting()
    coalescer.add(row(b"a"), None, [first])
    (flying,) = await coalescer.take_rows(10, URGENT)
    coalescer.add(row(b"a"), None, [second])
    again = asyncio.create_task(coalescer.take_rows(10, URGENT))
    await turns()
    assert not again.done()
    coalescer.settle(flying)
    assert (first.told, second.told) == ([b"a"], [])
    (entry,) = await asyncio.wait_for(again, 1)
    coalescer.settle(entry)
    assert (first.told, second.told) == ([b"a"], [b"a"])


async def test_the_pending_limit_is_not_asked() -> None:
    coalescer, line = Coalescer(limit=1), AcknowledgementLine(0)
    await coalescer.submit([row(b"a", written=1)], await line.open(1))
    for name in (b"b", b"c"):
        coalescer.add(row(name), None, [Waiting()])
    assert len(await coalescer.take_rows(10, URGENT)) == 2


async def test_what_waits_to_be_tried_again_is_tried_at_once_when_somebody_asks() -> None:
    coalescer, line, waiting = Coalescer(), AcknowledgementLine(0), Waiting()
    await coalescer.submit([row(b"a", written=1)], await line.open(1))
    (entry,) = await coalescer.take_rows(10)
    coalescer.retry(entry, 3600.0)
    coalescer.add(row(b"a"), None, [waiting])
    (again,) = await asyncio.wait_for(coalescer.take_rows(10, URGENT), 1)
    assert (again.written, again.attempts) == (1, 1)
    coalescer.settle(again)
    assert waiting.told == [b"a"]


async def test_a_retry_stays_urgent() -> None:
    coalescer, waiting = Coalescer(), Waiting()
    coalescer.add(row(b"a"), None, [waiting])
    (entry,) = await coalescer.take_rows(10, URGENT)
    entry.delay(Trouble.of(CassandraUnavailableError("no answer")))
    coalescer.retry(entry, 0.0)
    assert keys(await asyncio.wait_for(coalescer.take_rows(10, URGENT), 1)) == [b"a"]
    assert waiting.troubles == [Trouble("cassandra", "no answer")]


async def test_what_nobody_waits_for_any_more_is_forgotten() -> None:
    coalescer, line, waiting = Coalescer(), AcknowledgementLine(0), Waiting()
    receipt = await line.open(1)
    await coalescer.submit([row(b"kept", written=1)], receipt)
    asked = [row(b"kept"), row(b"waits"), row(b"p", (b"1",)), row(b"delayed"), whole(b"p")]
    coalescer.add(row(b"delayed"), None, [waiting])
    (delayed,) = await coalescer.take_rows(1, URGENT)
    coalescer.retry(delayed, 3600.0)
    for signal in asked:
        coalescer.add(signal, None, [waiting])
    waiting.closed = True
    coalescer.withdraw([Key.of(signal) for signal in asked])
    assert len(coalescer) == 1
    (kept,) = await coalescer.take_rows(10, URGENT)
    coalescer.settle(kept)
    receipt.release()
    assert (len(coalescer), line.acknowledged) == (0, 1)


async def test_a_flight_that_nobody_waits_for_is_not_repeated() -> None:
    coalescer, waiting = Coalescer(), Waiting()
    coalescer.add(row(b"p", (b"1",)), None, [waiting])
    (entry,) = await coalescer.take_rows(10, URGENT)
    waiting.closed = True
    coalescer.withdraw([entry.key])
    coalescer.retry(entry, 0.0)
    assert len(coalescer) == 0


async def test_one_of_two_who_wait_may_leave() -> None:
    coalescer, leaves, stays = Coalescer(), Waiting(), Waiting()
    coalescer.add(row(b"a"), None, [leaves])
    coalescer.add(row(b"a"), None, [stays])
    leaves.closed = True
    coalescer.withdraw([Key.of(row(b"a"))])
    (entry,) = await coalescer.take_rows(10, URGENT)
    coalescer.settle(entry)
    assert stays.told == [b"a"]


async def test_a_whole_partition_is_handed_out_apart_and_waits_for_its_rows_in_flight() -> None:
    coalescer, line, waiting = Coalescer(), AcknowledgementLine(0), Waiting()
    await coalescer.submit([row(b"p", (b"1",), written=1)], await line.open(1))
    (flying,) = await coalescer.take_rows(10)
    coalescer.add(whole(b"p"), None, [waiting])
    taking = asyncio.create_task(coalescer.take_partition(URGENT))
    await turns()
    assert not taking.done()
    coalescer.settle(flying)
    entry = await asyncio.wait_for(taking, 1)
    assert entry.refresh
    coalescer.settle(entry)
    assert waiting.told == [b"p"]
    assert len(coalescer) == 0


def test_trouble_names_the_service() -> None:
    assert Trouble.of(ElasticsearchRefusedError("closed")) == Trouble("elasticsearch", "closed")
    assert Trouble.of(StoreError("full")).service == "daemon"
