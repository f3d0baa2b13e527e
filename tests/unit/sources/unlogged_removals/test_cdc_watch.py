"""Which alterations of a table may hide a period without CDC, and which cannot."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from structlog.testing import capture_logs

from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.unlogged_removals.cdc_watch import SHORT, CdcWatch
from cdc_daemon.sources.unlogged_removals.system_tables import SchemaRecord, SchemaWriteTimes
from cdc_daemon.store.reconcile_requests import ReconcileReason
from cdc_daemon.store.table_history import TableState

TABLE = TableName("k", "t")
FIRST, SECOND = b"1" * 16, b"2" * 16
KNOWN = TableState(FIRST, altered=100)


class Node:
    """A table that was created at 100 and is altered, its watch, and the requested reconciles."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.parts = SchemaWriteTimes(100, 100)
        self.asked: list[tuple[TableName, ReconcileReason, int | None]] = []
        self.watch = self.new_watch()

    def new_watch(self) -> CdcWatch:
        return CdcWatch(self, self.reconcile, now=lambda: self.now)

    async def read(self, keyspaces: Collection[str]) -> Mapping[TableName, SchemaRecord]:
        assert set(keyspaces) == {"k"}
        return {}

    async def write_times(self, table: TableName) -> SchemaWriteTimes:
        assert table == TABLE
        return self.parts

    async def reconcile(self, table: TableName, reason: ReconcileReason, since: int | None) -> None:
        self.asked.append((table, reason, since))

    async def look(self, mark: TableState | None, seen: TableState, *, after: float = 2.0) -> bool:
        self.now += after
        await self.watch.read([TABLE])
        return await self.watch.compare(TABLE, mark, seen)


@pytest.fixture
def node() -> Node:
    return Node()


ASKED = [(TABLE, ReconcileReason.ALTERED, 100)]


async def test_a_table_that_is_seen_first_or_was_not_altered_is_not_doubted(node: Node) -> None:
    await node.look(None, KNOWN)
    await node.look(KNOWN, KNOWN)
    await node.look(TableState(FIRST), KNOWN)  # a store from before such times were kept
    assert node.asked == []


async def test_a_column_altered_between_two_looks_is_not_doubted(node: Node) -> None:
    await node.look(KNOWN, KNOWN)
    node.parts = SchemaWriteTimes(100, 200)
    await node.look(KNOWN, TableState(FIRST, altered=200))
    assert node.asked == []


async def test_a_table_that_is_altered_again_while_it_is_looked_at_is_judged_by_the_next_look(node: Node) -> None:
    assert await node.look(KNOWN, KNOWN)
    node.parts = SchemaWriteTimes(100, 300)
    assert not await node.look(KNOWN, TableState(FIRST, altered=200))
    assert await node.look(KNOWN, TableState(FIRST, altered=300))
    assert node.asked == []


async def test_a_table_whose_columns_stay_newer_than_itself_is_doubted_in_the_end(node: Node) -> None:
    assert await node.look(KNOWN, KNOWN)
    node.parts = SchemaWriteTimes(100, 300)
    seen = TableState(FIRST, altered=200)
    assert not await node.look(KNOWN, seen, after=SHORT)
    assert await node.look(KNOWN, seen)
    assert node.asked == ASKED


@pytest.mark.parametrize("newest", [100, 199], ids=["options alone", "a column, and options after it"])
async def test_an_alteration_that_may_have_been_of_cdc_is_doubted(node: Node, newest: int) -> None:
    await node.look(KNOWN, KNOWN)
    node.parts = SchemaWriteTimes(100, newest)
    with capture_logs() as logs:
        await node.look(KNOWN, TableState(FIRST, altered=200))
    assert node.asked == ASKED
    (said,) = logs
    assert said["event"] == "removal.altered_unseen"
    assert said["table"] == "k.t"


@pytest.mark.parametrize("after", [SHORT + 1, -5.0], ids=["a long time", "a clock that went back"])
async def test_anything_may_have_been_altered_between_looks_far_apart(node: Node, after: float) -> None:
    await node.look(KNOWN, KNOWN)
    node.parts = SchemaWriteTimes(100, 200)
    await node.look(KNOWN, TableState(FIRST, altered=200), after=after)
    assert node.asked == ASKED


async def test_anything_may_have_been_altered_while_no_daemon_was_there(node: Node) -> None:
    node.parts = SchemaWriteTimes(100, 200)
    await node.look(KNOWN, TableState(FIRST, altered=200))
    assert node.asked == ASKED


async def test_a_table_created_again_is_doubted_when_it_was_altered_since(node: Node) -> None:
    node.parts = SchemaWriteTimes(300, 300)
    await node.look(KNOWN, TableState(SECOND, altered=300))
    assert node.asked == []
    await node.look(KNOWN, TableState(SECOND, altered=301))
    assert node.asked == ASKED


async def test_cdc_that_is_seen_off_is_said_and_made_up_for_when_it_is_on(node: Node) -> None:
    off = TableState(FIRST, altered=200, cdc=False)
    with capture_logs() as logs:
        await node.look(KNOWN, off)
        await node.look(off, TableState(FIRST, altered=201, cdc=False))
    assert [said["event"] for said in logs] == ["removal.cdc_off"]
    assert node.asked == []
    await node.look(off, TableState(FIRST, altered=300))
    assert node.asked == [(TABLE, ReconcileReason.CDC_OFF, 200)]
