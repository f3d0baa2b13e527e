"""A change whose dead letter cannot be stored is not acknowledged; it is retried after a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.store.dead_letters import DeadLetter
from tests.simulation.virtual_time import virtual_time
from tests.unit.pipeline.servers import Servers, processor_of

TABLE = TableName("k", "t")


class RefusingServers(Servers):
    """An Elasticsearch that refuses each document for good."""

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        return [Result(Outcome.DEAD, "mapper_parsing_exception", "no date", status=400)] * len(operations)


class FullStore:
    """Takes letters in as soon as there is room."""

    def __init__(self) -> None:
        self.full = True
        self.letters: list[DeadLetter] = []

    def set_aside(self, letters: Sequence[DeadLetter]) -> None:
        if self.full:
            raise StoreError("SQLite says: database or disk is full")
        self.letters += letters


async def try_until_there_is_room() -> None:
    store, coalescer = FullStore(), Coalescer()
    processor = processor_of(RefusingServers(), coalescer, set_aside=store.set_aside)
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    receipt = await line.open(1)
    coalescer.add(Signal(TABLE, b"key", Scope.ROW), receipt)
    receipt.release()
    now = asyncio.get_running_loop().time
    for _ in range(5):
        entries = await coalescer.take_rows(1)
        began = now()
        with pytest.raises(StoreError):
            await processor.process(entries)
        assert line.acknowledged == 0
        entries = await coalescer.take_rows(1)
        assert now() > began, "another worker would have it at once"
        coalescer.retry(entries[0], 0.0)
    store.full = False
    await processor.process(await coalescer.take_rows(1))
    assert line.acknowledged == 1
    assert [letter.partition_key for letter in store.letters] == [b"key"]


def test_a_letter_that_cannot_be_kept_holds_its_change_up_and_is_tried_again_after_a_pause() -> None:
    with virtual_time() as run:
        run(try_until_there_is_room())
