"""Servers that take everything, for tests that change one thing of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from cdc_daemon.model.document_operation import Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.reading import Reading, Row, RowState
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.ports import RowReader
from cdc_daemon.pipeline.row_processor import RowProcessor
from tests.simulation.parts import row_processor_of


class Servers:
    """A Cassandra in which every row is there, and an Elasticsearch that takes every document."""

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        assert not confirm
        await asyncio.sleep(0)
        return Reading(1, 0.0, ("p",), [RowState((str(table),), 10)] * len(keys))

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        assert columns == ("p",)

        def build(key: Key, row: Row | None, version: int, read_at: float) -> Sequence[Operation]:
            assert row is not None
            return [Operation(str(table), key.partition_key.decode(), version, self.body(), read_at)]

        return build

    def body(self) -> bytes:
        return b"{}"

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        return [Result(Outcome.INDEXED)] * len(operations)

    async def wait_available(self) -> None:
        pass


def processor_of(servers: Servers, coalescer: Coalescer, **others: Any) -> RowProcessor:
    """Return a row processor that has these servers on both sides."""
    reader: RowReader = servers  # type: ignore[assignment]
    return row_processor_of(coalescer, reader=reader, builder=servers, writer=servers, **others)
