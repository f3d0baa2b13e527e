"""A partition that Cassandra fails on each time holds up no other, and costs the node ever less."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from cdc_daemon.errors import CassandraReadError
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.expansion import Expansion
from cdc_daemon.pipeline.pipeline import EXPANDERS, Pipeline
from cdc_daemon.pipeline.receipt import AcknowledgementLine
from cdc_daemon.pipeline.signal import Clustering, Scope, Signal, TableName
from cdc_daemon.pipeline.unreadable import LONGEST_PAUSE
from tests.simulation.virtual_time import virtual_time
from tests.unit.pipeline.servers import Servers, settlement_of

TABLE = TableName("k", "t")


class FailingServers(Servers):
    """Partitions of one row each; those whose keys begin with `bad` cannot be read."""

    def __init__(self) -> None:
        self.tried: list[float] = []

    async def clusterings(self, _table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        await asyncio.sleep(0.01)
        if partition_key.startswith(b"bad"):
            self.tried.append(asyncio.get_running_loop().time())
            raise CassandraReadError("too many tombstones")
        yield [(b"1",)]

    async def find(self, _table: TableName, _partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        for page in list[list[Clustering]]():
            yield page


async def others_beside_partitions_that_cannot_be_read() -> None:
    servers, coalescer = FailingServers(), Coalescer()
    pipeline = Pipeline(
        coalescer=coalescer,
        settlement=settlement_of(servers, coalescer),
        expansion=Expansion(coalescer=coalescer, reader=servers, siblings=servers),  # type: ignore[arg-type]
        writer=servers,
    )
    loop = asyncio.get_running_loop()
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    work = asyncio.create_task(pipeline.run())
    receipt = await line.open(1)
    await pipeline.submit([Signal(TABLE, b"bad%d" % at, Scope.STATIC) for at in range(EXPANDERS + 1)], receipt)
    receipt.release()
    took = []
    for number in range(300):
        before = loop.time()
        receipt = await line.open(number + 2)
        await pipeline.submit([Signal(TABLE, b"good%d" % number, Scope.STATIC)], receipt)
        receipt.release()
        while pipeline.pending > EXPANDERS + 1:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.01)
        took.append(loop.time() - before)
        await asyncio.sleep(1)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert line.acknowledged == 0, "what was not settled is not acknowledged"
    assert max(took) < 1
    late = [at for at in servers.tried if at > 200]
    assert 0 < len(late) <= (EXPANDERS + 1) * (1 + 100 / (LONGEST_PAUSE / 2))


def test_a_partition_that_can_never_be_read_holds_up_no_other() -> None:
    with virtual_time() as run:
        run(others_beside_partitions_that_cannot_be_read())
