"""A receipt knows whether part of its work is only in this daemon's state directory, where no other daemon sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.routing import Followed, Router
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.store.dependents import ChangedRow
from tests.unit.pipeline.servers import Servers, processor_of

TABLE, OTHER = TableName("k", "t"), TableName("k", "other")


def change(table: TableName = TABLE) -> Signal:
    return Signal(table, b"key", Scope.ROW, written=1)


def marks(receipt: Receipt) -> tuple[bool, bool]:
    return receipt.stored, receipt.set_aside


class RefusingServers(Servers):
    """An Elasticsearch that refuses each document for good."""

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        return [Result(Outcome.DEAD, "mapper_parsing_exception", "no date", status=400)] * len(operations)


async def written_by(servers: Servers) -> Receipt:
    letters: list[DeadLetter] = []
    coalescer, receipt = Coalescer(), Receipt(lambda: None)
    processor = processor_of(servers, coalescer, set_aside=letters.extend)
    coalescer.add(change(), receipt)
    receipt.release()
    await processor.process(await coalescer.take_rows(1))
    assert receipt.done
    return receipt


async def test_a_written_document_leaves_no_mark_and_a_dead_letter_does() -> None:
    assert marks(await written_by(Servers())) == (False, False)
    assert marks(await written_by(RefusingServers())) == (False, True)


async def test_a_spooled_key_is_marked() -> None:
    coalescer, receipt = Coalescer(), Receipt(lambda: None)
    entry = coalescer.add(change(), receipt)
    receipt.release()
    entry.give_back(dict(entry.receipts))
    assert receipt.done
    assert marks(receipt) == (True, False)


async def test_a_key_that_is_spooled_at_the_closed_gate_is_marked() -> None:
    gate, receipt = Gate(Coalescer()), Receipt(lambda: None)

    async def spool(signals: Sequence[Signal]) -> None:
        await asyncio.sleep(0)
        assert signals

    gate.close()
    gate.divert(spool)
    await gate.submit([change()], receipt)
    assert marks(receipt) == (True, False)


async def test_a_row_with_dependents_is_marked_before_it_is_settled() -> None:
    coalescer, kept = Coalescer(), list[ChangedRow]()
    leading, plain = Receipt(lambda: None), Receipt(lambda: None)

    async def keep(rows: Sequence[ChangedRow]) -> None:
        await asyncio.sleep(0)
        kept.extend(rows)

    router = Router(coalescer, {}, mapped=[OTHER], followed=Followed(frozenset([TABLE]), keep, HybridClock()))
    entries = [coalescer.add(change(), leading), coalescer.add(change(OTHER), plain)]
    await router.record_changes(entries)
    assert [row.key.table for row in kept] == [TABLE]
    assert (marks(leading), marks(plain)) == ((True, False), (False, False))
