"""Databases that speak CQL and lack parts of Cassandra's system tables, by models of their documented ones."""

from __future__ import annotations

import asyncio

import pytest

from cdc_daemon.cassandra import schema as schema_module
from cdc_daemon.cassandra.dialect import ASTRA, BEFORE_4, CASSANDRA, KEYSPACES, YCQL, Dialect, detect
from cdc_daemon.cassandra.read_plan import ReadPlan
from cdc_daemon.cassandra.ring import WHOLE_RING, TokenRange
from cdc_daemon.cassandra.scan import _in_range, select_keys
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cli.checks.cassandra import check_dialect
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.errors import CassandraRefusedError, ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.poll.rows import PolledColumns
from tests.unit.cassandra.schema.conftest import column
from tests.unit.cassandra.schema.modelled import ModelledSession, keyspaces, yugabyte
from tests.unit.document.tables import table

USERS = TableName("shop", "users")
SCAN = {"table": "shop.users", "strategy": "scan", "every": "1m"}


async def _source(session: ModelledSession) -> SchemaSource:
    source = SchemaSource(session)
    await source.refresh()
    return source


@pytest.mark.parametrize(
    ("release", "found", "dialect"),
    [
        ("5.0.6", {"system"}, CASSANDRA),
        ("3.11.13", {"system"}, BEFORE_4),
        ("3.9-SNAPSHOT", {"system"}, YCQL),
        ("3.11.2", {"system", "system_schema_mcs"}, KEYSPACES),
        ("4.0.11", {"system", "datastax_sla"}, ASTRA),
    ],
)
def test_a_database_is_known_by_its_release_and_its_keyspaces(release: str, found: set[str], dialect: Dialect) -> None:
    assert detect(release, found) is dialect


async def test_the_schema_of_yugabyte_is_read_without_dropped_columns() -> None:
    source = await _source(yugabyte())
    assert source.dialect is YCQL
    assert [each.name for each in source.table(USERS).regular] == ["name", "tags"]
    assert not source.table(USERS).cdc
    assert source.replication_factor("shop") == 3
    assert await source.agreed()


async def test_a_missing_table_of_every_database_is_still_an_error() -> None:
    session = yugabyte()
    del session.tables["system_schema.columns"]
    with pytest.raises(CassandraRefusedError):
        await _source(session)


async def test_an_altered_table_is_noticed_though_the_schema_version_is_a_constant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schema_module, "UNVERSIONED_INTERVAL", 0.05)
    session = yugabyte()
    source = await _source(session)
    session.tables["system_schema.columns"].append(column("email", "regular"))
    watch = asyncio.create_task(source.watch(0.01))
    await asyncio.sleep(0.5)
    watch.cancel()
    assert "email" in {each.name for each in source.table(USERS).regular}


async def test_the_keys_of_yugabyte_are_read_as_values_and_its_lowest_token_is_read_too() -> None:
    source = await _source(yugabyte())
    users = source.table(USERS)
    where = _in_range(users, WHOLE_RING, source.dialect)
    assert where == 'token("id") >= ? AND token("id") <= ?'
    assert _in_range(users, TokenRange(0, 5), source.dialect) == 'token("id") > ? AND token("id") <= ?'
    assert _in_range(users, WHOLE_RING, CASSANDRA) == 'token("id") > ? AND token("id") <= ?'
    assert "asblob" not in select_keys(users, (), where=where, dialect=source.dialect)


async def test_write_times_are_read_where_the_database_has_them() -> None:
    timed = (await _source(keyspaces(timed=True))).plan(USERS)
    assert 'WRITETIME("name")' in timed.by_keys
    untimed = (await _source(keyspaces(timed=False))).plan(USERS)
    assert "WRITETIME" not in untimed.by_keys
    assert untimed.times == 0
    assert 'WRITETIME("name")' in (await _source(yugabyte())).plan(USERS).by_keys


async def test_a_poll_by_write_times_says_by_name_what_is_missing() -> None:
    untimed = (await _source(keyspaces(timed=False))).plan(USERS)
    with pytest.raises(ConfigError, match="Amazon Keyspaces has no write times for this table"):
        PolledColumns(untimed, PollSettings.model_validate(SCAN))
    dated = PolledColumns(untimed, PollSettings.model_validate({**SCAN, "column": "name", "format": "yyyy-MM-dd"}))
    assert dated.others == ('"name"',)


def test_a_limit_of_rows_in_a_partition_is_left_to_the_reader() -> None:
    child = table(("a", "text", "partition_key"), ("b", "int", "clustering"), ("v", "int", "regular"))
    assert "PER PARTITION LIMIT 11" in ReadPlan(child, depth=0, only=["v"], limit=11).by_keys
    assert "PER PARTITION" not in ReadPlan(child, depth=0, only=["v"], limit=11, dialect=YCQL).by_keys


@pytest.mark.parametrize("dialect", [YCQL, KEYSPACES, ASTRA])
def test_the_check_lists_what_is_missing_and_refuses_the_log(dialect: Dialect) -> None:
    polled = list(check_dialect(dialect, tail=False))
    assert {finding.status for finding in polled} == {"ok"}
    assert len(polled) == 1 + len(dialect.lacks)
    followed = next(check_dialect(dialect, tail=True))
    assert followed.status == "fail"
    assert dialect.name in followed.found
    assert "tail: off" in (followed.mend or "")


def test_cassandra_lacks_nothing() -> None:
    assert not list(check_dialect(CASSANDRA, tail=True))
