"""Cassandra 3.11: its protocol, its schema, and what `check` says about it."""

from __future__ import annotations

import itertools
import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cassandra.cluster import Session

from cdc_daemon.app.startup import check_log, read_node_settings
from cdc_daemon.cassandra.reader import CassandraRowReader
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.cli.checks import Finding, run_checks
from cdc_daemon.config import (
    CassandraSettings,
    CommitLogSettings,
    ElasticsearchSettings,
    MappingSettings,
    Settings,
    StateSettings,
)
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.model.version_clock import HybridClock
from sandbox import FAST_START, Sandbox


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(cassandra="3.11", elasticsearch=False, java_options=FAST_START) as box:
        yield box


@pytest.fixture
def session(box: Sandbox) -> Iterator[Session]:
    session = connect(_options(box))
    try:
        yield session
    finally:
        session.cluster.shutdown()


def _options(box: Sandbox) -> CassandraSettings:
    return CassandraSettings(contact_points=tuple(box.contact_points), port=box.cassandra.port, consistency="LOCAL_ONE")


def test_version_4_of_the_protocol_is_chosen_without_a_warning(box: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        session = connect(_options(box))
    try:
        assert session.cluster.protocol_version == 4
        assert session.execute("SELECT release_version FROM system.local").one().release_version.startswith("3.11.")
    finally:
        session.cluster.shutdown()
    assert not [record for record in caplog.records if "protocol" in record.getMessage().lower()]


async def test_the_schema_is_read_with_dropped_columns(session: Session) -> None:
    session.execute("CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    session.execute("CREATE TYPE shop.address (street text)")
    session.execute(
        "CREATE TABLE shop.users (id int, c text, s int static, a frozen<address>, old set<int>, PRIMARY KEY (id, c)) "
        "WITH cdc = true"
    )
    session.execute("ALTER TABLE shop.users DROP old")
    schema = SchemaSource(session)
    await schema.refresh()
    table = schema.table(TableName("shop", "users"))
    assert table.cdc
    assert [each.column.name for each in table.dropped] == ["old"]
    assert [each.name for each in table.static] == ["s"]
    assert not schema.newest_of_collections
    assert await schema.agreed()


async def test_settings_of_the_node_are_unknown(box: Sandbox, session: Session) -> None:
    settings: Any = SimpleNamespace(cassandra=_options(box))
    node = await read_node_settings(session, settings)
    assert node.flag("cdc_enabled") is None


def test_its_log_is_refused_without_the_commit_log_folder(box: Sandbox, session: Session) -> None:
    log = SimpleNamespace(commitlog_directory=None)
    settings: Any = SimpleNamespace(cassandra=_options(box), tail=True, commit_log=log)
    with pytest.raises(ConfigError, match=r"commitlog_directory for the log of Cassandra 3\.11"):
        check_log(session, settings)
    settings.tail = False
    check_log(session, settings)
    settings.tail = True
    log.commitlog_directory = box.cassandra.commitlog_directory
    check_log(session, settings)


def test_check_asks_for_the_commit_log_folder_and_looks_at_it(box: Sandbox, tmp_path: Path) -> None:
    node = box.cassandra
    settings = Settings(
        cassandra=_options(box),
        commit_log=CommitLogSettings(cdc_raw_directory=node.cdc_raw_directory),
        elasticsearch=ElasticsearchSettings(hosts=("http://127.0.0.1:1",), request_timeout=1),
        state=StateSettings(directory=tmp_path / "state"),
        mappings={"t": MappingSettings(table=TableName("k", "t"), alias="t")},
    )

    def check(**log: Any) -> dict[str, Finding]:
        changed = settings.model_copy(update={"commit_log": settings.commit_log.model_copy(update=log)})
        return {finding.name: finding for finding in run_checks(changed)}

    findings = check()
    assert findings["commitlog.directory"].status == "fail"
    assert "commitlog_directory" in str(findings["commitlog.directory"].mend)
    findings = check(commitlog_directory=node.commitlog_directory)
    assert "commitlog.directory" not in findings
    assert {findings[name].status for name in ("commitlog.access", "commitlog.node")} == {"ok"}
    assert findings["cassandra.settings"].status == "warn"
    assert "cdc_total_space" in str(findings["cassandra.settings"].mend)
    findings = check(commitlog_directory=node.data_directory)
    assert findings["commitlog.node"].status == "warn"


async def test_rows_with_clusterings_and_collections_are_read(box: Sandbox, session: Session) -> None:
    with box.connect() as cql:
        cql.execute("CREATE KEYSPACE rows WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        cql.execute(
            "CREATE TABLE rows.t (p text, c int, d text, s text static, v int, tags set<text>, PRIMARY KEY (p, c, d))"
        )
        for p, c in itertools.product("ab", range(3)):
            cql.execute("INSERT INTO rows.t (p, c, d, s, v, tags) VALUES (%s, %s, 'd', 's', %s, {'x'})", [p, c, c * 10])
    schema = SchemaSource(session)
    await schema.refresh()
    reader = CassandraRowReader(session, schema, HybridClock(), keys_per_query=3)
    table = TableName("rows", "t")
    wanted = [("a", 2), ("b", 0), ("a", 7), ("c", 0), ("a", 0)]
    found = await reader.read(table, [Key(table, p.encode(), (struct.pack(">i", c), b"d")) for p, c in wanted])
    at = {name: place for place, name in enumerate(found.columns)}
    rows = [None if state.row is None else (state.row[at["p"]], state.row[at["c"]]) for state in found.states]
    assert rows == [("a", 2), ("b", 0), None, None, ("a", 0)]
    assert all(set(state.row[at["tags"]]) == {"x"} for state in found.states if state.row is not None)


async def test_rows_with_frozen_collections_are_read(box: Sandbox, session: Session) -> None:
    """3.11 cannot return the write time or the TTL of a frozen collection."""
    with box.connect() as cql:
        cql.execute("CREATE KEYSPACE frozen WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        cql.execute("CREATE TYPE frozen.address (street text)")
        cql.execute(
            "CREATE TABLE frozen.t (p text PRIMARY KEY, "
            "l frozen<list<int>>, s frozen<set<int>>, m frozen<map<int, int>>, u frozen<address>, "
            "a address, t tuple<int, int>, v int)"
        )
        cql.execute(
            "INSERT INTO frozen.t (p, l, s, m, u, a, t, v) VALUES "
            "('a', [1], {2}, {3: 4}, {street: 'x'}, {street: 'y'}, (5, 6), 7) USING TTL 1000"
        )
    schema = SchemaSource(session)
    await schema.refresh()
    table = TableName("frozen", "t")
    schema.expect_ttl([table])
    found = await CassandraRowReader(session, schema, HybridClock()).read(table, [Key(table, b"a", ())])
    (state,) = found.states
    assert state.row is not None
    row = dict(zip(found.columns, state.row, strict=True))
    assert (row["l"], set(row["s"]), dict(row["m"]), row["t"], row["v"]) == ([1], {2}, {3: 4}, (5, 6), 7)
    assert state.expires
