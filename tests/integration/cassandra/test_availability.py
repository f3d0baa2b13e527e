"""The probe on a real Cassandra: it is answered with rows, and not refused."""

from __future__ import annotations

import pytest
from cassandra.cluster import Session
from structlog.testing import capture_logs

from cdc_daemon.cassandra.availability import make_probe
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import CassandraSettings
from cdc_daemon.model.signal import TableName
from sandbox import Sandbox


@pytest.mark.parametrize(
    "columns",
    ["id text PRIMARY KEY, v int", 'a int, b uuid, "C" date, v int, PRIMARY KEY ((a, b, "C"), v)'],
    ids=["one column", "several columns"],
)
async def test_a_token_of_any_table_can_be_asked_for(box: Sandbox, cql: Session, keyspace: str, columns: str) -> None:
    cql.execute(f"CREATE TABLE {keyspace}.t ({columns})")
    session = connect(CassandraSettings(contact_points=tuple(box.contact_points), port=box.cassandra.port))
    try:
        schema = SchemaSource(session)
        await schema.refresh()
        with capture_logs() as logged:
            for tables in ((TableName(keyspace, "t"),), ()):
                await make_probe(session, schema, tables)()
        assert not [line for line in logged if line["event"] == "cassandra.probe_refused"]
        cql.execute(f"DROP TABLE {keyspace}.t")
        with capture_logs() as logged:
            await make_probe(session, schema, (TableName(keyspace, "t"),))()
        assert [line for line in logged if line["event"] == "cassandra.probe_refused"]
    finally:
        session.cluster.shutdown()
