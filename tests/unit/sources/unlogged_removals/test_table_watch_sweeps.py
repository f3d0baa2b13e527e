"""Concurrent sweeps: a long sweep blocks no other table, and no table is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from cdc_daemon.model.errors import CassandraUnavailableError, ElasticsearchUnavailableError
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.unlogged_removals import table_watch as tables_module
from cdc_daemon.sources.unlogged_removals.table_watch import AT_ONCE, Policy, TableWatch
from cdc_daemon.store.reconcile_requests import ReconcileReason
from cdc_daemon.store.table_history import TableState

TABLES = [TableName("k", f"t{number}") for number in range(AT_ONCE + 2)]
FIRST, SECOND = TABLES[0], TABLES[1]


def id_of(table: TableName) -> bytes:
    return str(table).encode().ljust(16)


class Cluster:
    """Tables, their truncations, and sweeps that end when a test lets them."""

    def __init__(self) -> None:
        self.truncated: dict[bytes, int] = {}
        self.nodes = 1
        self.marks: dict[TableName, TableState] = {table: TableState(id_of(table)) for table in TABLES}
        self.held: dict[TableName, asyncio.Event] = {}
        self.failures: dict[TableName, int] = {}
        self.down = False
        self.reads = 0
        self.begun: list[TableName] = []
        self.under_way: set[TableName] = set()

    def truncate(self, table: TableName, moment: int) -> None:
        self.truncated = {**self.truncated, id_of(table): moment}

    def table(self, name: TableName) -> Any:
        return SimpleNamespace(id=id_of(name))

    async def look_again(self, name: TableName) -> None:
        raise AssertionError(name)

    async def read(self) -> Mapping[bytes, int]:
        self.reads += 1
        if self.down:
            raise CassandraUnavailableError("away")
        return self.truncated

    def get(self, table: TableName) -> TableState | None:
        return self.marks.get(table)

    def put(self, table: TableName, mark: TableState) -> None:
        self.marks[table] = mark

    async def run(self, table: TableName, *, suspected: int = 0) -> int:
        assert suspected
        self.begun.append(table)
        self.under_way.add(table)
        try:
            if self.failures.get(table):
                self.failures[table] -= 1
                raise ElasticsearchUnavailableError("away")
            if table in self.held:
                await self.held[table].wait()
            return 3
        finally:
            self.under_way.discard(table)

    async def wait_landed(self, table: TableName, seconds: float) -> None:
        assert table in TABLES
        assert seconds

    async def rebuild(self, table: TableName, reason: ReconcileReason) -> None:
        raise AssertionError(table, reason)

    def watch(self) -> TableWatch:
        return TableWatch(
            dict.fromkeys(TABLES, Policy("remove", "keep")),
            schema=self,
            records=self,
            states=self,
            sweep=self,
            flights=self,
            reconcile=self.rebuild,
        )

    def is_dealt_with(self, table: TableName) -> bool:
        return self.marks[table].truncated == self.truncated.get(id_of(table), 0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(tables_module, "INTERVAL", 0.01)
    return Cluster()


@asynccontextmanager
async def turning(cluster: Cluster) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(cluster.watch().turn())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def test_a_long_sweep_holds_up_no_other_table(cluster: Cluster) -> None:
    cluster.held[FIRST] = asyncio.Event()
    cluster.truncate(FIRST, 5)
    async with turning(cluster) as task:
        await until(lambda: FIRST in cluster.under_way)
        cluster.truncate(SECOND, 6)
        await until(lambda: cluster.is_dealt_with(SECOND))
        assert not cluster.is_dealt_with(FIRST)
        # What happens to the table that is swept is not forgotten.
        cluster.truncate(FIRST, 7)
        cluster.held[FIRST].set()
        await task
    assert cluster.is_dealt_with(FIRST)
    assert cluster.begun == [FIRST, SECOND, FIRST]


async def test_a_sweep_that_is_broken_off_ends_with_the_watch_and_is_made_again(cluster: Cluster) -> None:
    cluster.held[FIRST] = asyncio.Event()
    cluster.truncate(FIRST, 5)
    async with turning(cluster):
        await until(lambda: FIRST in cluster.under_way)
    assert not cluster.under_way
    assert not cluster.is_dealt_with(FIRST)
    cluster.held[FIRST].set()
    await cluster.watch().turn()
    assert cluster.is_dealt_with(FIRST)


async def test_a_sweep_that_fails_ends_no_other_and_is_begun_again(cluster: Cluster) -> None:
    cluster.held[FIRST] = asyncio.Event()
    cluster.failures[SECOND] = 3
    for table in (FIRST, SECOND):
        cluster.truncate(table, 5)
    async with turning(cluster) as task:
        await until(lambda: cluster.is_dealt_with(SECOND))
        cluster.down = True  # nor does a look that fails
        reads = cluster.reads
        await until(lambda: cluster.reads > reads + 3)
        assert cluster.under_way == {FIRST}
        cluster.down = False
        cluster.held[FIRST].set()
        await task
    assert cluster.is_dealt_with(FIRST)
    assert cluster.begun.count(FIRST) == 1


async def test_so_many_tables_are_swept_at_once_and_no_more(cluster: Cluster) -> None:
    for moment, table in enumerate(TABLES, start=5):
        cluster.held[table] = asyncio.Event()
        cluster.truncate(table, moment)
    async with turning(cluster) as task:
        await until(lambda: len(cluster.under_way) == AT_ONCE)
        reads = cluster.reads
        await until(lambda: cluster.reads > reads + 3)
        assert len(cluster.begun) == AT_ONCE
        for held in cluster.held.values():
            held.set()
        await task
    assert all(cluster.is_dealt_with(table) for table in TABLES)
    assert sorted(cluster.begun) == TABLES
