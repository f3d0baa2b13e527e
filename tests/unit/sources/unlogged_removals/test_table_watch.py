"""What happens to documents when their table is truncated, dropped or re-created, and what is stored about it."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from cdc_daemon.model.errors import CassandraRefusedError, ElasticsearchUnavailableError, TableDroppedError
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.unlogged_removals import table_watch as tables_module
from cdc_daemon.sources.unlogged_removals.cdc_watch import CdcWatch
from cdc_daemon.sources.unlogged_removals.system_tables import SchemaRecord, SchemaWriteTimes, decode_truncations
from cdc_daemon.sources.unlogged_removals.table_watch import Policy, TableWatch
from cdc_daemon.store.reconcile_requests import ReconcileReason
from cdc_daemon.store.table_history import TableState

TABLE = TableName("k", "t")
PARENT = TableName("k", "parent")
FIRST, SECOND = b"1" * 16, b"2" * 16


class Node:
    """A node's schema records."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def read(self, keyspaces: Collection[str]) -> Mapping[TableName, SchemaRecord]:
        assert set(keyspaces) == {"k"}
        assert self.cluster.node is not None
        return {TABLE: self.cluster.node}

    async def write_times(self, table: TableName) -> SchemaWriteTimes:
        assert table == TABLE
        return self.cluster.write_times


class Cluster:
    """A table that may be gone, or only not known to the node asked; its truncations and its documents."""

    def __init__(self) -> None:
        self.table_id: bytes | None = FIRST
        self.lags = False
        self.truncated: dict[bytes, int] = {}
        self.nodes = 1
        self.node: SchemaRecord | None = None
        self.write_times = SchemaWriteTimes(0, 0)
        self.down = False
        self.mark: TableState | None = None
        self.done: list[str] = []

    def table(self, name: TableName) -> Any:
        assert name == TABLE
        if self.table_id is None or self.lags:
            raise CassandraRefusedError("there is no such table")
        return SimpleNamespace(id=self.table_id)

    async def look_again(self, name: TableName) -> None:
        assert name == TABLE
        if self.table_id is None:
            raise TableDroppedError("the table was dropped")

    async def read(self) -> Mapping[bytes, int]:
        return self.truncated

    def get(self, table: TableName) -> TableState | None:
        assert table == TABLE
        return self.mark

    def put(self, table: TableName, mark: TableState) -> None:
        assert table == TABLE
        self.mark = mark

    async def run(self, table: TableName, *, suspected: int = 0) -> int:
        if table == PARENT:
            self.done.append(f"sweep parents {suspected}")
            return 1
        if self.down:
            raise ElasticsearchUnavailableError("away")
        self.done.append(f"sweep {suspected}")
        return 3

    async def wait_landed(self, table: TableName, seconds: float) -> None:
        assert table in {TABLE, PARENT}
        assert seconds
        self.done.append("landed")

    async def rebuild(self, table: TableName, reason: ReconcileReason) -> None:
        assert table == TABLE
        self.done.append(f"reconcile {reason.value}")

    async def reconcile(self, table: TableName, reason: ReconcileReason, _since: int | None) -> None:
        await self.rebuild(table, reason)

    def cdc_watch(self) -> CdcWatch:
        return CdcWatch(Node(self), self.reconcile)

    async def look(
        self,
        on_truncate: str = "remove",
        on_drop: str = "keep",
        shown_in: tuple[TableName, ...] = (TABLE,),
        cdc: CdcWatch | None = None,
    ) -> list[str]:
        """Look once with a watch that has only just started, or with the CDC watch given; return what it did."""
        self.done = []
        watch = TableWatch(
            {TABLE: Policy(on_truncate, on_drop)},
            schema=self,
            records=self,
            states=self,
            sweep=self,
            flights=self,
            reconcile=self.rebuild,
            shown_in={TABLE: shown_in},
            cdc=None if self.node is None else cdc or self.cdc_watch(),
        )
        await watch.turn()
        return self.done


async def test_a_table_that_was_never_truncated_is_left_alone() -> None:
    cluster = Cluster()
    assert await cluster.look() == []
    assert cluster.mark == TableState(FIRST)
    assert await cluster.look() == []


@pytest.mark.parametrize(
    ("policy", "done"),
    [("remove", ["landed", "sweep 5000"]), ("keep", []), ("rebuild", ["landed", "sweep 5000", "reconcile table"])],
)
async def test_a_truncation_is_dealt_with_once(policy: str, done: list[str]) -> None:
    cluster = Cluster()
    await cluster.look(policy)
    cluster.truncated = {FIRST: 5, SECOND: 9}
    assert await cluster.look(policy) == done
    assert await cluster.look(policy) == []
    cluster.truncated = {FIRST: 4}  # an older record says nothing new
    assert await cluster.look(policy) == []


async def test_documents_that_show_rows_of_a_truncated_table_follow() -> None:
    cluster = Cluster()
    cluster.truncated = {FIRST: 5}
    assert await cluster.look(shown_in=(PARENT,)) == ["landed", "sweep parents 0"]


async def test_a_truncation_that_could_not_be_dealt_with_is_dealt_with_later() -> None:
    cluster = Cluster()
    cluster.truncated = {FIRST: 5}
    cluster.down = True
    with pytest.raises(ElasticsearchUnavailableError):
        await cluster.look()
    assert cluster.mark is None
    cluster.down = False
    assert await cluster.look() == ["landed", "sweep 5000"]


async def test_other_nodes_are_given_time_to_truncate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "OTHER_NODES_SECONDS", 0.0)
    cluster = Cluster()
    cluster.nodes = 3
    cluster.truncated = {FIRST: 5}
    assert await cluster.look() == ["landed", "sweep 5000"] * 2


@pytest.mark.parametrize(("policy", "done"), [("remove", ["landed", "sweep 0"]), ("keep", [])])
async def test_a_dropped_table_is_dealt_with_once(policy: str, done: list[str]) -> None:
    cluster = Cluster()
    await cluster.look(on_drop=policy)
    cluster.table_id = None
    assert await cluster.look(on_drop=policy) == done
    assert await cluster.look(on_drop=policy) == []
    cluster.table_id = SECOND
    assert await cluster.look(on_drop=policy) == ["landed", "sweep 0"]
    assert await cluster.look(on_drop=policy) == []


async def test_a_table_is_not_believed_dropped_by_one_word() -> None:
    cluster = Cluster()
    await cluster.look()
    cluster.lags = True
    assert await cluster.look(on_drop="remove") == []
    cluster.lags = False
    assert await cluster.look() == []


async def test_a_table_that_was_not_to_be_found_for_a_while_is_read_anew() -> None:
    cluster = Cluster()
    await cluster.look()
    cluster.table_id = None
    await cluster.look()
    cluster.table_id = FIRST
    assert await cluster.look() == ["reconcile table"]
    assert await cluster.look() == []


async def test_the_state_of_cdc_is_kept_as_the_node_tells_it() -> None:
    cluster = Cluster()
    cluster.truncated = {FIRST: 5}
    cluster.node = SchemaRecord(FIRST, cdc=True, altered=7)
    await cluster.look()
    assert cluster.mark == TableState(FIRST, 5, altered=7)
    cluster.node = SchemaRecord(FIRST, cdc=False, altered=8)
    cluster.truncated = {}
    assert await cluster.look() == []
    assert cluster.mark == TableState(FIRST, 5, cdc=False, altered=8)
    cluster.node = SchemaRecord(FIRST, cdc=True, altered=9)
    assert await cluster.look() == ["reconcile cdc_off"]
    assert await cluster.look() == []
    assert cluster.mark == TableState(FIRST, 5, altered=9)


async def test_a_table_that_is_altered_while_it_is_looked_at_keeps_its_mark_until_it_is_judged() -> None:
    cluster = Cluster()
    cdc = cluster.cdc_watch()
    cluster.node = SchemaRecord(FIRST, cdc=True, altered=7)
    await cluster.look(cdc=cdc)
    cluster.node, cluster.write_times = SchemaRecord(FIRST, cdc=True, altered=8), SchemaWriteTimes(7, 9)
    assert await cluster.look(cdc=cdc) == []
    assert cluster.mark == TableState(FIRST, altered=7)
    cluster.node = SchemaRecord(FIRST, cdc=True, altered=9)
    assert await cluster.look(cdc=cdc) == []
    assert cluster.mark == TableState(FIRST, altered=9)


async def test_a_node_that_speaks_of_another_table_is_asked_again() -> None:
    cluster = Cluster()
    cluster.node = SchemaRecord(SECOND, cdc=True, altered=7)
    assert await cluster.look() == []
    assert cluster.mark is None


def test_truncation_records() -> None:
    table_id = UUID(int=7)
    record = struct.pack(">qiq", 1_700_000_000_000, 4711, 1_764_000_000_123)
    assert decode_truncations({table_id: record, UUID(int=8): b"?"}) == {table_id.bytes: 1_764_000_000_123}
    assert decode_truncations(None) == {}
