"""Batches shrink where documents are large, so that memory does not depend on the table."""

from __future__ import annotations

import pytest

from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.document_writer import BATCH_SIZE
from tests.unit.pipeline.servers import Servers, processor_of

TABLE = TableName("k", "t")


class EqualServers(Servers):
    """Every document has the same size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def body(self) -> bytes:
        return b"x" * self.size


@pytest.mark.parametrize("size", [100, 100_000, 2 * BATCH_SIZE])
async def test_a_batch_s_documents_stay_within_the_bound(size: int) -> None:
    servers = EqualServers(size)
    coalescer = Coalescer()
    processor = processor_of(servers, coalescer)
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    for position in range(1, 40):
        receipt = await line.open(position)
        await coalescer.submit([Signal(TABLE, b"%d" % position, Scope.ROW, written=1)], receipt)
        receipt.release()
        await processor.process(await coalescer.take_rows(1))
    assert line.acknowledged == 39
    assert processor.documents.batch_limit == 1 or processor.documents.batch_limit * size <= BATCH_SIZE
    assert processor.documents.batch_limit * (size + 1) * 2 >= BATCH_SIZE or processor.documents.batch_limit > 10_000
