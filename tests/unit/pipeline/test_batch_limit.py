"""Batches shrink where documents are large, so that memory does not depend on the table."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cdc_daemon.elastic.operation import Operation, Outcome, Result
from cdc_daemon.pipeline.clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.ports import Reading, Row, RowBuilder, RowReader, RowState, Write
from cdc_daemon.pipeline.receipt import AcknowledgementLine
from cdc_daemon.pipeline.settlement import BATCH_SIZE, Settlement
from cdc_daemon.pipeline.signal import Scope, Signal, TableName
from tests.simulation.test_pipeline import Counts, no_dead_letters

TABLE = TableName("k", "t")


class Servers:
    """Every row is there, and every document has the same size."""

    def __init__(self, size: int) -> None:
        self.size = size

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        assert not confirm
        return Reading(1, 0.0, ("p",), [RowState((str(table),), 10)] * len(keys))

    def clusterings(self, *_: object) -> None:
        raise AssertionError

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        assert columns == ("p",)

        def build(key: Key, row: Row | None) -> Sequence[Write]:
            assert row is not None
            return [Write(str(table), key.partition_key.hex(), b"x" * self.size)]

        return build

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        return [Result(Outcome.INDEXED)] * len(operations)

    async def wait_available(self) -> None:
        pass


@pytest.mark.parametrize("size", [100, 100_000, 2 * BATCH_SIZE])
async def test_a_batch_s_documents_stay_within_the_bound(size: int) -> None:
    servers = Servers(size)
    coalescer = Coalescer()
    reader: RowReader = servers  # type: ignore[assignment]
    settlement = Settlement(
        coalescer=coalescer,
        clock=HybridClock(),
        reader=reader,
        builder=servers,
        writer=servers,
        set_aside=no_dead_letters,
        observer=Counts(),
    )
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    for position in range(1, 40):
        receipt = await line.open(position)
        await coalescer.submit([Signal(TABLE, bytes([position]), Scope.ROW, written=1)], receipt)
        receipt.release()
        await settlement.settle(await coalescer.take_rows(1))
    assert line.acknowledged == 39
    assert settlement.batch_limit == 1 or settlement.batch_limit * size <= BATCH_SIZE
    assert settlement.batch_limit * (size + 1) * 2 >= BATCH_SIZE or settlement.batch_limit > 10_000
