from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cdc_daemon.config.loading import parse
from cdc_daemon.model.signal import TableName
from sandbox.demo.schema import _SCHEMA, ALIAS, make_config, statements

_SANDBOX: dict[str, Any] = {
    "cassandra": {
        "version": "5.0.6",
        "contact_points": ["127.0.0.1"],
        "port": 9142,
        "nodes": [{"cdc_raw_directory": "/data/cdc_raw", "commitlog_directory": "/data/commitlog"}],
    },
    "elasticsearch": {"url": "http://127.0.0.1:9250"},
}


def test_statements_of_a_file() -> None:
    assert statements("-- a; comment\nCREATE x;\n\nCREATE y (\n  -- inner\n  a int\n);\n") == [
        "CREATE x",
        "CREATE y (\n  a int\n)",
    ]


def test_the_schema_is_two_keyspaces_and_tables_with_cdc() -> None:
    found = statements(_SCHEMA.read_text(encoding="utf-8"))
    keyspaces = [statement for statement in found if statement.startswith("CREATE KEYSPACE")]
    tables = [statement for statement in found if statement not in keyspaces]

    assert len(keyspaces) == 2
    assert len(tables) == 7
    assert all(table.startswith("CREATE TABLE sunbird") and "WITH cdc = true" in table for table in tables)


def test_the_configuration_is_one_that_the_daemon_takes(tmp_path: Path) -> None:
    config = make_config(_SANDBOX, state_directory=tmp_path / "state", port=8123)

    settings = parse(yaml.safe_dump(config), file=tmp_path / "config.yaml", environment={})

    assert settings.cassandra.port == 9142
    assert settings.commit_log.cdc_raw_directory == Path("/data/cdc_raw")
    assert settings.commit_log.commitlog_directory is None
    assert settings.elasticsearch.hosts == ("http://127.0.0.1:9250",)
    assert settings.state.directory == tmp_path / "state"
    assert settings.http.port == 8123
    mapping = settings.mappings["user"]
    assert mapping.alias == ALIAS
    assert mapping.table == TableName("sunbird", "user")
    assert mapping.settings == {"number_of_shards": 1, "number_of_replicas": 0}
    assert sorted(settings.mappings) == ["batch", "location", "organisation", "user", "user_course"]
    assert all(each.mappings is not None for each in settings.mappings.values())


def test_with_cassandra_3_11_the_daemon_also_reads_the_commit_log_folder(tmp_path: Path) -> None:
    older = {**_SANDBOX, "cassandra": {**_SANDBOX["cassandra"], "version": "3.11.13"}}
    config = make_config(older, state_directory=tmp_path / "state", port=8123)
    settings = parse(yaml.safe_dump(config), file=tmp_path / "config.yaml", environment={})
    assert settings.commit_log.commitlog_directory == Path("/data/commitlog")
