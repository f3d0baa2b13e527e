from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
import structlog
from typer.testing import CliRunner

from cdc_daemon.cassandra.schema_rows import Rows, read_snapshot, snapshot
from cdc_daemon.cli import schema as command
from cdc_daemon.cli.main import app
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.model.errors import ConfigError
from tests.unit.cassandra.schema.conftest import joined, rows
from tests.unit.commitlog.samples import DATA

runner = CliRunner()
SAMPLE = json.loads((DATA / "cassandra-5.0" / "schema.json").read_text())


def _with_everything() -> Rows:
    content = rows(1, ("home", "frozen<address>"))
    content["types"] = [
        {"keyspace_name": "shop", "type_name": "address", "field_names": ["a"], "field_types": ["text"]}
    ]
    content["dropped_columns"] = [
        {"keyspace_name": "shop", "table_name": "users", "column_name": "old", "kind": "regular", "type": "int",
         "dropped_time": 1_795_461_450_171}
    ]  # fmt: skip
    return content


def test_it_is_in_the_shape_of_the_sample() -> None:
    written = json.loads(json.dumps(snapshot(_with_everything())))
    assert list(written) == list(SAMPLE)
    for part in ("columns", "types", "dropped_columns"):
        assert {*written[part][0]} == {*SAMPLE[part][0]}
        assert {name: type(value) for name, value in written[part][0].items()} == {
            name: type(value) for name, value in SAMPLE[part][0].items()
        }
    assert written["tables"][0]["id"] == str(UUID(int=1))
    assert written["tables"][0]["flags"] == ["compound"]
    assert written["columns"][0]["column_name_bytes"] == "0x6964"
    assert written["dropped_columns"][0]["dropped_time"] == "2026-11-23 19:17:30.171000"


def test_what_is_written_is_read_back() -> None:
    content = _with_everything()
    back = read_snapshot(json.dumps(snapshot(content)).encode(), file="x").get(UUID(int=1).bytes)
    live = Schema.from_rows(**content).get(UUID(int=1).bytes)
    assert back is not None
    assert live is not None
    assert back.__reduce__() == live.__reduce__()


@pytest.mark.parametrize("moment", [2**62, -(2**62), 0])
def test_a_time_that_no_calendar_has_is_read_back_too(moment: int) -> None:
    content = _with_everything()
    content["dropped_columns"][0]["dropped_time"] = moment
    back = read_snapshot(json.dumps(snapshot(content)).encode(), file="x").get(UUID(int=1).bytes)
    assert back is not None
    assert back.dropped_at == {b"old": moment * 1000}


def test_views_are_there_where_there_are_any() -> None:
    content = _with_everything()
    assert "views" not in snapshot(content)
    content["views"] = [{"keyspace_name": "shop", "view_name": "v", "id": UUID(int=2), "base_table_name": "users"}]
    assert snapshot(content)["views"][0]["id"] == str(UUID(int=2))


def test_only_some_keyspaces() -> None:
    other = rows(2)
    for found in other.values():
        for row in found:
            row["keyspace_name"] = "other"
    written = snapshot(joined(_with_everything(), other), ["other"])
    assert {row["keyspace_name"] for found in written.values() for row in found} == {"other"}


def test_values_of_every_kind() -> None:
    content = rows(1)
    content["tables"][0] |= {
        "at": datetime.fromisoformat("2026-01-02 03:04:05"),
        "extensions": {"a": b"\x01"},
        "nothing": None,
    }
    row = snapshot(content)["tables"][0]
    assert (row["at"], row["extensions"], row["nothing"]) == ("2026-01-02 03:04:05", {"a": "0x01"}, None)


class TestExport:
    @pytest.fixture(autouse=True)
    def _cluster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "load_settings", lambda _file: SimpleNamespace())
        monkeypatch.setattr(command, "_read", lambda _settings: _with_everything())
        monkeypatch.setattr("cdc_daemon.telemetry.logs.quiet_logs", lambda: None)
        structlog.reset_defaults()

    def test_to_standard_output(self) -> None:
        result = runner.invoke(app, ["schema", "export"])
        assert result.exit_code == 0
        assert json.loads(result.stdout) == snapshot(_with_everything())

    def test_to_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "schema.json"
        file.write_text("before")
        result = runner.invoke(app, ["schema", "export", "-o", str(file), "--keyspace", "shop"])
        assert (result.exit_code, result.stdout) == (0, "")
        assert json.loads(file.read_text()) == snapshot(_with_everything())
        assert [path.name for path in tmp_path.iterdir()] == ["schema.json"]

    def test_to_a_place_that_is_not_there(self, tmp_path: Path) -> None:
        result = runner.invoke(app, ["schema", "export", "-o", str(tmp_path / "absent" / "schema.json")])
        assert "cannot be written" in str(result.exception)

    def test_a_keyspace_that_is_not_there(self) -> None:
        result = runner.invoke(app, ["schema", "export", "--keyspace", "shopp"])
        assert isinstance(result.exception, ConfigError)
        assert "shopp" in result.exception.message
