"""Keys of a table that was dropped are settled by what is to become of its documents; nothing waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from cdc_daemon.model.document_operation import DocumentOutcome, Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.errors import TableDroppedError, Trouble
from cdc_daemon.model.reading import Reading, Row, RowState
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.pipeline import URGENT, USUAL
from cdc_daemon.pipeline.ports import RowReader
from tests.simulation.parts import row_processor_of

TABLE = TableName("k", "gone")


class Servers:
    """The table is dropped; with `second` only when its rows are read once more."""

    def __init__(self, *, second: bool = False) -> None:
        self.second = second
        self.operations: list[Operation] = []
        self.outcomes: list[str] = []

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        await asyncio.sleep(0)
        if self.second and not confirm:
            return Reading(1, 0.0, ("p",), [RowState((str(table),), 1)] * len(keys))
        raise TableDroppedError("the table was dropped")

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        raise AssertionError((table, columns))

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        self.operations += operations
        return [Result(Outcome.DELETED)] * len(operations)

    async def wait_available(self) -> None:
        pass

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        assert alias in {"", "alias"}
        assert table == TABLE
        self.outcomes.append(outcome)

    def shown(self, table: TableName, oldest: int) -> None:
        raise AssertionError((table, oldest))

    def set_aside(self, reasons: Sequence[str]) -> None:
        raise AssertionError(reasons)

    def second_reads(self, count: int) -> None:
        assert count

    def retried(self, reason: str, count: int) -> None:
        raise AssertionError((reason, count))


class Dropped:
    def __init__(self, *, removes: bool) -> None:
        self.removes = removes

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        assert (table, columns) == (TABLE, ())

        def build(key: Key, row: Row | None, version: int, read_at: float) -> Sequence[Operation]:
            assert row is None
            return [Operation("alias", key.partition_key.hex(), version, None, read_at)] if self.removes else []

        return build


class Watch:
    closed = False

    def __init__(self) -> None:
        self.documents: list[DocumentOutcome] = []

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        assert key.table == TABLE
        self.documents += documents

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        raise AssertionError((key, troubles, documents))

    def delayed(self, key: Key, trouble: Trouble) -> None:
        raise AssertionError((key, trouble))


async def settle(servers: Servers, *, removes: bool, watch: Watch | None = None) -> None:
    coalescer = Coalescer()
    reader: RowReader = servers  # type: ignore[assignment]
    processor = row_processor_of(
        coalescer,
        clock=HybridClock(),
        reader=reader,
        builder=servers,
        writer=servers,
        observer=servers,
        dropped=Dropped(removes=removes),
        second_read_pause=0,
    )
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    receipt = await line.open(1)
    signal = Signal(TABLE, b"\1", Scope.ROW, written=5)
    await coalescer.submit([signal], receipt)
    if watch is not None:
        coalescer.add(signal, None, (watch,))
    receipt.release()
    await processor.process(await coalescer.take_rows(10, USUAL if watch is None else URGENT))
    assert (line.acknowledged, len(coalescer)) == (1, 0)


@pytest.mark.parametrize("second", [False, True])
async def test_documents_are_kept(*, second: bool) -> None:
    servers = Servers(second=second)
    await settle(servers, removes=False)
    assert servers.operations == []
    assert servers.outcomes == ["kept"]


@pytest.mark.parametrize("second", [False, True])
async def test_documents_are_removed(*, second: bool) -> None:
    servers = Servers(second=second)
    await settle(servers, removes=True)
    assert [(each.id, each.body) for each in servers.operations] == [("01", None)]
    assert servers.operations[0].version > 1
    assert servers.outcomes == ["deleted"]


async def test_who_asked_for_a_key_is_told() -> None:
    watch = Watch()
    await settle(Servers(), removes=False, watch=watch)
    assert [(each.outcome, each.error_type) for each in watch.documents] == [(Outcome.DEAD, "table_dropped")]
