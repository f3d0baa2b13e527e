"""A table that cannot be read holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cdc_daemon.elastic.operation import Operation, Outcome, Result
from cdc_daemon.errors import CassandraRefusedError, CassandraUnavailableError, CdcError
from cdc_daemon.pipeline.clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.ports import Reading, Row, RowBuilder, RowReader, RowState, Write
from cdc_daemon.pipeline.receipt import AcknowledgementLine
from cdc_daemon.pipeline.settlement import Settlement
from cdc_daemon.pipeline.signal import Scope, Signal, TableName
from tests.simulation.test_pipeline import Counts, no_dead_letters

GONE, STAYS = TableName("k", "gone"), TableName("k", "stays")


class Servers:
    """One of the tables cannot be read."""

    def __init__(self, failure: CdcError) -> None:
        self.failure = failure
        self.written: list[str] = []

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        assert not confirm
        await asyncio.sleep(0)
        if table == GONE:
            raise self.failure
        return Reading(1, 0.0, ("p",), [RowState((str(table),), 10)] * len(keys))

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        assert columns == ("p",)

        def build(key: Key, row: Row | None) -> Sequence[Write]:
            assert row is not None
            return [Write(str(table), key.partition_key.hex(), b"{}")]

        return build

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        self.written += [operation.index for operation in operations]
        return [Result(Outcome.INDEXED)] * len(operations)

    async def wait_available(self) -> None:
        pass


async def settle_both(servers: Servers) -> Coalescer:
    """Settle a batch of a row of each table; the one that cannot be read comes first."""
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
    receipt = await line.open(1)
    await coalescer.submit([Signal(table, b"key", Scope.ROW, written=1) for table in (GONE, STAYS)], receipt)
    receipt.release()
    try:
        await settlement.settle(await coalescer.take_rows(10))
    finally:
        assert line.acknowledged == 0
        coalescer.close()
    return coalescer


async def test_a_table_that_is_refused_is_tried_again_later_and_holds_up_no_other() -> None:
    servers = Servers(CassandraRefusedError("unconfigured table"))
    coalescer = await settle_both(servers)
    assert servers.written == [str(STAYS)]
    assert (len(coalescer), coalescer.in_flight) == (1, 0)


async def test_a_server_that_is_away_is_told_and_what_could_be_read_is_written() -> None:
    servers = Servers(CassandraUnavailableError("no answer"))
    with pytest.raises(CassandraUnavailableError):
        await settle_both(servers)
    assert servers.written == [str(STAYS)]
