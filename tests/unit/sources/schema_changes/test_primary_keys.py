"""Tables re-created with another primary key are detected before any row is read, and suspended if necessary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import CassandraRefusedError, ConfigError, TableRekeyedError
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.sources.schema_changes.primary_keys import PrimaryKeyWatch
from cdc_daemon.sources.schema_changes.suspended_mappings import SuspendedMappings, reset_rekeyed_tables
from cdc_daemon.store import Store
from cdc_daemon.store.dependents import ChangedRow
from cdc_daemon.store.reconcile_requests import ReconcileReason
from cdc_daemon.store.spool import SpooledKey
from cdc_daemon.store.table_history import TableState

TABLE, PARENT = TableName("k", "t"), TableName("k", "parent")
SETTINGS = {
    "cassandra": {"contact_points": ["127.0.0.1"]},
    "commit_log": {"cdc_raw_directory": "/cdc_raw"},
    "elasticsearch": {"hosts": ["http://localhost:9200"]},
    "state": {"directory": "/state"},
    "mappings": {
        "plain": {"table": "k.t", "alias": "plain"},
        "other": {"table": "k.t", "alias": "other"},
        "parent": {
            "table": "k.parent",
            "alias": "parents",
            "joins": {"children": {"table": "k.t", "on": {"id": "id"}}},
        },
    },
    "poll": [],
}


def table(number: int, *key: str, name: str = "t", kind: str = "int") -> TableMetadata:
    identity = str(UUID(int=number))
    columns: list[dict[str, Any]] = [
        {
            "keyspace_name": "k",
            "table_name": name,
            "column_name": column,
            "kind": "clustering" if position else "partition_key",
            "position": max(position - 1, 0),
            "type": kind,
            "clustering_order": "none",
        }
        for position, column in enumerate(key)
    ]
    schema = Schema.from_rows(
        tables=[{"keyspace_name": "k", "table_name": name, "id": identity, "cdc": True}], columns=columns
    )
    found = schema.find("k", name)
    assert found is not None
    return found


class Cluster:
    """Tables that are dropped and created again, with every generation remembered."""

    def __init__(self) -> None:
        self.tables: dict[TableName, TableMetadata] = {}
        self.every: dict[bytes, TableMetadata] = {}

    def create(self, created: TableMetadata) -> TableMetadata:
        self.tables[TableName(created.keyspace, created.name)] = created
        self.every[created.id] = created
        return created

    def generation(self, name: TableName) -> str | None:
        found = self.tables.get(name)
        return None if found is None else found.id.hex()

    def table(self, name: TableName) -> TableMetadata:
        if name not in self.tables:
            raise CassandraRefusedError("there is no such table")
        return self.tables[name]

    def get(self, table_id: bytes) -> TableMetadata | None:
        return self.every.get(table_id)


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.create(table(1, "id"))
    made.create(table(2, "id", name="parent"))
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("now", "same"),
    [
        (table(3, "id"), True),
        (table(3, "id", "c"), False),
        (table(3, "other"), False),
        (table(3, "id", kind="text"), False),
    ],
    ids=["alike", "a clustering column more", "another name", "another type"],
)
def test_a_table_created_again_is_compared_by_its_key(cluster: Cluster, now: TableMetadata, *, same: bool) -> None:
    watch = PrimaryKeyWatch({TABLE: cluster.table(TABLE)}, cluster)
    watch.check(TABLE)
    del cluster.tables[TABLE]
    watch.check(TABLE)  # a table that is gone has no other key
    cluster.create(now)
    assert watch.is_rekeyed(TABLE) is not same
    if not same:
        with pytest.raises(TableRekeyedError, match=r"k\.t"):
            watch.check(TABLE)


async def test_all_is_put_together_anew_for_another_key_and_for_what_was_held(cluster: Cluster) -> None:
    for suspended in (False, True):
        watch = PrimaryKeyWatch(
            {} if suspended else {TABLE: cluster.table(TABLE)}, cluster, suspended=[TABLE] if suspended else []
        )
        looking = asyncio.create_task(watch.run(0.01))
        changed = asyncio.create_task(watch.wait_changed())
        await asyncio.sleep(0.05)
        assert not changed.done()
        cluster.create(table(7 + suspended, "id", "c" if not suspended else "d"))
        await asyncio.wait_for(changed, 10)
        looking.cancel()


def test_keys_are_taken_for_what_they_can_be() -> None:
    number, text = table(1, "id", "c"), table(1, "id", "c", kind="text")
    assert number.takes_key(bytes(4), [bytes(4)])
    assert not number.takes_key(b"abc", [bytes(4)])
    assert not number.takes_key(bytes(4), [])
    assert not number.takes_key(bytes(4), [b"a"])
    assert text.takes_key(b"abc", [b"d"])
    assert not text.takes_key(b"\xff\xfe", [b"d"])


async def test_what_was_known_of_an_old_key_is_forgotten_and_a_comparison_stands_for_it(
    cluster: Cluster, store: Store
) -> None:
    settings = Settings.model_validate(SETTINGS)
    for name, number in ((TABLE, 1), (PARENT, 2)):
        store.table_states.put(name, TableState(UUID(int=number).bytes, altered=5))
    key = Key(TABLE, bytes(4), ())
    store.spool.put([SpooledKey.of(Signal(TABLE, bytes(4), Scope.ROW))])
    store.dependents.add([ChangedRow(key, 1)])
    reset_rekeyed_tables(settings, cluster, store, suspended=[])  # type: ignore[arg-type]
    assert store.reconcile_requests.open() == []

    cluster.create(table(3, "id"))  # again, with the same key: that is the sweep's
    reset_rekeyed_tables(settings, cluster, store, suspended=[])  # type: ignore[arg-type]
    assert len(store.spool) == 1

    cluster.create(table(4, "id", "c"))
    with capture_logs() as logs:
        reset_rekeyed_tables(settings, cluster, store, suspended=[])  # type: ignore[arg-type]
    assert [(said["event"], said["before"], said["now"]) for said in logs] == [
        ("mapping.key_changed", ["id"], ["id", "c"])
    ]
    assert sorted(str(each) for each in store.reconcile_requests.open()) == ["key of k.parent", "key of k.t"]
    assert len(store.spool) == store.dependents.count == 0
    assert store.table_states.get(TABLE) == TableState(UUID(int=4).bytes)
    assert store.table_states.get(PARENT) == TableState(UUID(int=2).bytes, altered=5)


async def test_a_mapping_that_fitted_once_waits_and_one_that_never_did_is_a_mistake(
    cluster: Cluster, store: Store
) -> None:
    settings = Settings.model_validate(SETTINGS)
    error = ConfigError("no such column", hint="did you mean 'id'?")

    async def load() -> SuspendedMappings:
        return await SuspendedMappings.load(store, cluster, settings)  # type: ignore[arg-type]

    assert not (await load()).suspends("plain", settings.mappings["plain"], error)
    store.table_states.put(TABLE, TableState(UUID(int=1).bytes))
    assert not (await load()).suspends("plain", settings.mappings["plain"], error)
    cluster.create(table(4, "id", "c"))
    suspended = await load()
    assert suspended.suspends("plain", settings.mappings["plain"], error)
    assert suspended.tables == {TABLE}
    with capture_logs() as logs:
        suspended.log_all()
    assert [(said["event"], said["mapping"], said["hint"]) for said in logs] == [
        ("mapping.held", "plain", "did you mean 'id'?")
    ]
    assert suspended.without(settings).mappings.keys() == {"parent"}
    assert suspended.object_types(settings) == {"plain": "no such column", "other": "no such column"}
    reset_rekeyed_tables(settings, cluster, store, suspended=suspended.tables)  # type: ignore[arg-type]
    assert {each.reason for each in store.reconcile_requests.open()} == {ReconcileReason.KEY}

    # The mark has moved; the open request still tells that it has to wait, whatever the table is.
    suspended = await load()
    assert suspended.suspends("plain", settings.mappings["plain"], error)
    suspended.clear()
    assert suspended.tables == frozenset()
