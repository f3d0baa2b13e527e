"""A real Cassandra behind a model of Astra's proxy: metadata, client certificates and server names."""

from __future__ import annotations

from pathlib import Path

from cassandra.cluster import Session

from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import CassandraSettings
from sandbox import Sandbox
from tests.unit.cassandra.astra import AstraModel


def test_rows_are_read_by_a_bundle(box: Sandbox, cql: Session, tmp_path: Path) -> None:
    node = cql.execute("SELECT host_id, data_center FROM system.local").one()
    model = AstraModel(tmp_path / "astra", host_ids=[str(node.host_id)], datacenter=node.data_center)
    with model.metadata(), model.proxy("127.0.0.1", box.cassandra.port):
        path = model.bundle()
        session = connect(CassandraSettings.model_validate({"secure_connect_bundle": path}))
        try:
            assert session.execute("SELECT host_id FROM system.local").one().host_id == node.host_id
            assert [host.datacenter for host in session.cluster.metadata.all_hosts()] == [node.data_center]
        finally:
            session.cluster.shutdown()
    assert str(node.host_id) in model.names
