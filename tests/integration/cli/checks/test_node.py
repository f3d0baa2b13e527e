"""`cdc-daemon check` against nodes whose settings cost something, with servers that need a login or are down."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from cassandra.cluster import Session
from pydantic import SecretStr

from cdc_daemon.app.startup import persist, read_node_settings
from cdc_daemon.cassandra.ring import Ring
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
from cdc_daemon.model.errors import CassandraUnavailableError
from cdc_daemon.model.signal import TableName
from sandbox import Sandbox

README = Path(__file__).resolve().parents[4] / "k8s" / "README.md"


def _settings(box: Sandbox, tmp_path: Path, **login: Any) -> Settings:
    return Settings(
        cassandra=CassandraSettings(contact_points=tuple(box.contact_points), port=box.cassandra.port, **login),
        commit_log=CommitLogSettings(cdc_raw_directory=box.cassandra.cdc_raw_directory),
        elasticsearch=ElasticsearchSettings(hosts=("http://127.0.0.1:1",), request_timeout=1),
        state=StateSettings(directory=tmp_path / "state"),
        mappings={"t": MappingSettings(table=TableName("k", "t"), alias="t")},
    )


def _connect_at_last(options: CassandraSettings) -> Session:
    """Connect as soon as the node knows its first role, which it makes after it begins to answer."""

    async def attempt() -> Session:
        return await asyncio.to_thread(connect, options)

    return asyncio.run(persist("cassandra", attempt))


def _check(settings: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in run_checks(settings)}


def test_settings_that_cost_something(tmp_path: Path) -> None:
    yaml = {
        "cdc_enabled": False,
        "cdc_block_writes": False,
        "commitlog_compression": [{"class_name": "LZ4Compressor"}],
    }
    with Sandbox(elasticsearch=False, yaml=yaml) as box:
        findings = _check(_settings(box, tmp_path))
    assert findings["cdc.enabled"].status == "fail"
    assert findings["cdc.when_full"].status == "warn"
    assert findings["cdc.segment_format"].found == "segments are compressed by LZ4Compressor"
    assert findings["cdc.freshness"].status == "warn"
    assert "up to 10s late" in findings["cdc.freshness"].found
    assert findings["table.t"].found == "there is no keyspace k"
    assert findings["elasticsearch.reachable"].status == "fail"


def test_a_role_and_what_it_may_read(tmp_path: Path) -> None:
    yaml = {
        "authenticator": "PasswordAuthenticator",
        "authorizer": "CassandraAuthorizer",
        "permissions_validity": "0ms",  # a grant counts at once
    }
    with Sandbox(elasticsearch=False, yaml=yaml) as box:
        administrator = _connect_at_last(
            _settings(box, tmp_path, username="cassandra", password=SecretStr("cassandra")).cassandra
        )
        try:
            administrator.execute(
                "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
            )
            administrator.execute("CREATE TABLE k.t (id text PRIMARY KEY) WITH cdc = true")
            administrator.execute("CREATE ROLE daemon WITH PASSWORD = 'hunter2' AND LOGIN = true")

            with pytest.raises(CassandraUnavailableError) as caught:
                connect(_settings(box, tmp_path, username="daemon", password=SecretStr("hunter3")).cassandra)
            assert "cassandra.username" in str(caught.value.hint)
            assert "hunter" not in str(caught.value)

            login = _settings(box, tmp_path, username="daemon", password=SecretStr("hunter2"))
            findings = _check(login)
            assert findings["cassandra.settings"].status == "warn"
            assert findings["read.t"].status == "fail"
            for name in ("cassandra.settings", "read.t"):
                administrator.execute(str(findings[name].mend))

            findings = _check(login)
            assert "cassandra.settings" not in findings
            assert findings["cdc.enabled"].status == "ok"
            assert findings["read.t"].status == "ok"

            administrator.execute(
                "CREATE KEYSPACE sunbird WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
            )
            administrator.execute("CREATE TABLE sunbird.heartbeat (node text PRIMARY KEY, at timestamp)")
            (statements,) = re.findall(r"```sql\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
            for statement in re.sub(r"--.*", "", statements).strip().split(";")[:-1]:
                administrator.execute(statement)
            documented = _settings(box, tmp_path, username="cdc_daemon", password=SecretStr("…"))
            assert "cassandra.settings" not in _check(documented)
            with _connect_at_last(documented.cassandra) as session:
                assert asyncio.run(read_node_settings(session, documented)).size("cdc_total_space")
                assert asyncio.run(Ring(session).pieces(TableName("sunbird", "heartbeat")))
                session.execute("UPDATE sunbird.heartbeat SET at = toTimestamp(now()) WHERE node = 'a'")
                assert session.execute("SELECT node FROM sunbird.heartbeat").one().node == "a"
        finally:
            administrator.cluster.shutdown()


def test_a_node_that_is_gone(tmp_path: Path) -> None:
    with Sandbox(elasticsearch=False) as box:
        settings = _settings(box, tmp_path)
        assert _check(settings)["cassandra.reachable"].status == "ok"
        box.cassandra.kill()
        findings = _check(settings)
    assert findings["cassandra.reachable"].status == "fail"
    assert not any(name.startswith(("cdc.", "table.")) for name in findings)
    assert findings["cdc_raw.access"].status == "ok"
