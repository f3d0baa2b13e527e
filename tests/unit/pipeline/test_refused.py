"""A table that cannot be read blocks no other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cdc_daemon.model.document_operation import Operation, Result
from cdc_daemon.model.errors import CassandraRefusedError, CassandraUnavailableError, CdcError
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from tests.unit.pipeline.servers import Servers, processor_of

GONE, STAYS = TableName("k", "gone"), TableName("k", "stays")


class RefusingServers(Servers):
    """One of the tables cannot be read."""

    def __init__(self, failure: CdcError) -> None:
        self.failure = failure
        self.written: list[str] = []

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        reading = await super().read(table, keys, confirm=confirm)
        if table == GONE:
            raise self.failure
        return reading

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        self.written += [operation.alias for operation in operations]
        return await super().write(operations)


async def settle_both(servers: RefusingServers) -> Coalescer:
    """Settle a batch of a row of each table; the one that cannot be read comes first."""
    coalescer = Coalescer()
    processor = processor_of(servers, coalescer)
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    receipt = await line.open(1)
    await coalescer.submit([Signal(table, b"key", Scope.ROW, written=1) for table in (GONE, STAYS)], receipt)
    receipt.release()
    try:
        await processor.process(await coalescer.take_rows(10))
    finally:
        assert line.acknowledged == 0
        coalescer.close()
    return coalescer


async def test_a_table_that_is_refused_is_tried_again_later_and_holds_up_no_other() -> None:
    servers = RefusingServers(CassandraRefusedError("unconfigured table"))
    coalescer = await settle_both(servers)
    assert servers.written == [str(STAYS)]
    assert (len(coalescer), coalescer.in_flight) == (1, 0)


async def test_a_server_that_is_away_is_told_and_what_could_be_read_is_written() -> None:
    servers = RefusingServers(CassandraUnavailableError("no answer"))
    with pytest.raises(CassandraUnavailableError):
        await settle_both(servers)
    assert servers.written == [str(STAYS)]
