from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from cdc_daemon.cassandra import schema as schema_module
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.schema_rows import Rows, SchemaReader
from cdc_daemon.model.errors import CassandraRefusedError, CassandraUnavailableError, StoreError
from cdc_daemon.model.signal import TableName
from cdc_daemon.store import Store
from cdc_daemon.store.table_history import TableDefinition
from tests.unit.cassandra.schema.conftest import joined, nothing, rows

USERS = TableName("shop", "users")


class Cluster:
    """What a node tells of its schema; `down` makes it silent."""

    def __init__(self, content: Rows) -> None:
        self.version = uuid4()
        self.content = content
        self.down = False
        self.asked = 0
        self.release = "5.0.6"

    def change(self, content: Rows) -> None:
        self.content = content
        self.version = uuid4()


class Reader:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def release(self) -> str:
        return self._cluster.release

    async def version(self) -> UUID:
        if self._cluster.down:
            raise CassandraUnavailableError("expected an answer, found none")
        return self._cluster.version

    async def rows(self) -> tuple[UUID, Rows]:
        version = await self.version()
        self._cluster.asked += 1
        return version, self._cluster.content


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SchemaSource]:
    def make(cluster: Cluster, history: Any = None) -> SchemaSource:
        monkeypatch.setattr(schema_module, "SchemaReader", lambda _session: Reader(cluster))
        return SchemaSource(SimpleNamespace(), history=history)

    return make


async def test_what_is_there_now(make: Callable[..., SchemaSource]) -> None:
    source = make(Cluster(rows(1, ("a", "int"))))
    await source.refresh()
    assert source.table(USERS).id == UUID(int=1).bytes
    assert source.replication_factor("shop") == 3
    with pytest.raises(CassandraRefusedError, match="no such table"):
        source.table(TableName("shop", "nothing"))


async def test_a_dropped_table_is_known_to_the_log_and_to_nobody_else(make: Callable[..., SchemaSource]) -> None:
    cluster = Cluster(rows(1, ("a", "int")))
    source = make(cluster)
    await source.refresh()
    cluster.change(nothing())
    await source.refresh()
    assert source.get(UUID(int=1).bytes) is not None
    with pytest.raises(CassandraRefusedError):
        source.table(USERS)
    cluster.change(rows(2, ("a", "text")))
    await source.refresh()
    assert source.table(USERS).id == UUID(int=2).bytes
    assert source.get(UUID(int=1).bytes) is not None


async def test_a_restart_knows_what_was_before_it(make: Callable[..., SchemaSource], tmp_path: Path) -> None:
    cluster = Cluster(joined(rows(1, ("a", "int"), ("b", "text")), rows(7, table="gone")))
    store = Store(tmp_path)
    await make(cluster, store.schema_history).refresh()
    store.close()
    cluster.change(rows(2, ("b", "text")))
    store = Store(tmp_path)
    source = make(cluster, store.schema_history)
    await source.refresh()
    first, gone = source.get(UUID(int=1).bytes), source.get(UUID(int=7).bytes)
    assert first is not None
    assert gone is not None
    assert set(first.columns) == {b"a", b"b"}
    assert source.table(USERS).id == UUID(int=2).bytes
    with pytest.raises(CassandraRefusedError):
        source.table(TableName("shop", "gone"))


async def test_the_same_schema_stays_the_same_object(make: Callable[..., SchemaSource]) -> None:
    cluster = Cluster(rows(1))
    source = make(cluster)
    await source.refresh()
    before = source.current
    cluster.change(rows(1))
    await source.refresh()
    assert source.current is before


async def test_watching_refreshes_when_the_version_changes_and_only_then(make: Callable[..., SchemaSource]) -> None:
    cluster = Cluster(rows(1, ("a", "int")))
    source = make(cluster)
    await source.refresh()
    watching = asyncio.create_task(source.watch(interval=0.001))
    await asyncio.sleep(0.05)
    assert cluster.asked == 1
    cluster.down = True
    await asyncio.sleep(0.02)
    cluster.down = False
    cluster.change(joined(rows(1, ("a", "int")), rows(2, table="brief")))
    await _until(lambda: source.get(UUID(int=2).bytes) is not None)
    cluster.change(rows(1, ("a", "int")))
    await _until(lambda: cluster.asked == 3)
    assert source.get(UUID(int=2).bytes) is not None
    assert not watching.done()
    watching.cancel()


class Broken:
    """A history whose disk is full for a while."""

    def __init__(self) -> None:
        self.broken = True
        self.recorded: list[TableDefinition] = []

    def load(self) -> Sequence[TableDefinition]:
        if self.broken:
            raise StoreError("the disk is full")
        return ()

    def record(self, current: Iterable[TableDefinition]) -> int:
        if self.broken:
            raise StoreError("the disk is full")
        self.recorded = list(current)
        return len(self.recorded)


async def test_a_history_that_fails_is_made_up_for(make: Callable[..., SchemaSource]) -> None:
    history = Broken()
    source = make(Cluster(rows(1)), history)
    await source.refresh()
    assert source.get(UUID(int=1).bytes) is not None
    watching = asyncio.create_task(source.watch(interval=0.001))
    history.broken = False
    await _until(lambda: bool(history.recorded))
    watching.cancel()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- nobody sets an event for a test
            await asyncio.sleep(0.001)


class TestReadingAtOneMoment:
    @pytest.fixture
    def reader(self) -> SchemaReader:
        session = SimpleNamespace(execution_profile_clone_update=lambda *_, **__: None)
        return SchemaReader(session)

    async def test_rows_of_two_moments_do_not_count(
        self, reader: SchemaReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        versions = [UUID(int=1), UUID(int=2), UUID(int=2)]
        reads = 0

        async def ask(query: str) -> list[dict[str, Any]]:
            nonlocal reads
            if "schema_version" in query:
                return [{"schema_version": versions.pop(0)}]
            reads += 1
            return [{"of": reads}]

        monkeypatch.setattr(reader, "_ask", ask)
        version, found = await reader.rows()
        assert version == UUID(int=2)
        assert reads == 12
        assert all(each[0]["of"] > 6 for each in found.values())

    async def test_a_schema_that_never_rests_is_taken_as_it_is_and_looked_at_again(
        self, reader: SchemaReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        current = UUID(int=1)

        async def ask(query: str) -> list[dict[str, Any]]:
            nonlocal current
            current = UUID(int=current.int + 1)
            return [{"schema_version": current}]

        monkeypatch.setattr(reader, "_ask", ask)
        version, _ = await reader.rows()
        assert version != current, "so that the next look finds a change"
