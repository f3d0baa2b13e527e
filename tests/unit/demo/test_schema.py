from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from cdc_daemon.config.loading import parse
from cdc_daemon.pipeline.signal import TableName
from sandbox.demo.schema import _SCHEMA, ALIAS, make_config, statements

_SANDBOX: dict[str, Any] = {
    "cassandra": {
        "contact_points": ["127.0.0.1"],
        "port": 9142,
        "nodes": [{"cdc_raw_directory": "/data/cdc_raw"}],
    },
    "elasticsearch": {"url": "http://127.0.0.1:9250"},
}


def test_statements_of_a_file() -> None:
    assert statements("-- a; comment\nCREATE x;\n\nCREATE y (\n  -- inner\n  a int\n);\n") == [
        "CREATE x",
        "CREATE y (\n  a int\n)",
    ]


def test_the_schema_is_a_keyspace_and_a_table_with_cdc() -> None:
    keyspace, table = statements(_SCHEMA.read_text(encoding="utf-8"))

    assert keyspace.startswith("CREATE KEYSPACE sunbird ")
    assert table.startswith("CREATE TABLE sunbird.user (")
    assert table.endswith("WITH cdc = true")


def test_the_configuration_is_one_that_the_daemon_takes(tmp_path: Path) -> None:
    config = make_config(_SANDBOX, state_directory=tmp_path / "state", port=8123)

    settings = parse(yaml.safe_dump(config), file=tmp_path / "config.yaml", environment={})

    assert settings.cassandra.port == 9142
    assert settings.commit_log.cdc_raw_directory == Path("/data/cdc_raw")
    assert settings.elasticsearch.hosts == ("http://127.0.0.1:9250",)
    assert settings.state.directory == tmp_path / "state"
    assert settings.http.port == 8123
    mapping = settings.mappings["user"]
    assert mapping.alias == ALIAS
    assert mapping.table == TableName("sunbird", "user")
    assert mapping.settings == {"number_of_shards": 1, "number_of_replicas": 0}


def test_the_mapping_names_columns_of_the_table_only(tmp_path: Path) -> None:
    columns = set(re.findall(r"^    (\w+) ", _SCHEMA.read_text(encoding="utf-8"), re.MULTILINE))
    config = make_config(_SANDBOX, state_directory=tmp_path, port=1)

    assert len(columns) == 41
    assert set(config["mappings"]["user"]["fields"]) <= columns
    assert config["mappings"]["user"]["fields"]["flagsvalue"] == "flagsValue"
