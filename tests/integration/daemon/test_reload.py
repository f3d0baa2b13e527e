"""The configuration is reloaded under load: mappings come, change and go, mistakes are refused, nothing is lost."""

from __future__ import annotations

import os
import signal
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from bench.load import TABLES, MixedLoad
from cdc_daemon.cli.main import app
from cdc_daemon.model.errors import ConfigError
from tests.integration.daemon.harness import wait_for
from tests.integration.daemon.stage import Stage

ADDED, *FIRST = TABLES


def reload(stage: Stage) -> Result:
    """Reload by the command, through the control socket."""
    return CliRunner().invoke(app, ["reload", "--config", str(stage.daemon.config_path)])


def write(stage: Stage, **changes: Any) -> None:
    """Write the configuration file of the running daemon, without starting it."""
    stage.daemon.config_path.write_text(yaml.safe_dump({**stage.daemon.written_config(), **changes}))


def test_mappings_come_change_and_go_under_load(stage: Stage) -> None:
    for name in FIRST:
        stage.table(name, TABLES[name])
    stage.create(ADDED, TABLES[ADDED])
    stage.table("gone", "id int PRIMARY KEY, v int")
    stage.table("altered", "id int PRIMARY KEY, v int")
    daemon = stage.daemon.run()
    stage.execute("INSERT INTO {ks}.gone (id, v) VALUES (1, 1)")
    stage.execute("INSERT INTO {ks}.altered (id, v) VALUES (1, 1)")
    stage.settle()
    with MixedLoad(stage.cql, stage.keyspace, rate=400) as load:
        load.wait_total(300)
        # The daemon creates the index of the new mapping, and copies the rows that were there before.
        stage.map(ADDED, snapshot="initial")
        stage.mappings["altered"]["fields"] = {"v": "value"}
        del stage.mappings["gone"]
        write(stage)
        result = reload(stage)
        assert result.exit_code == 0, result.output
        assert f"mappings added: {ADDED}" in result.stdout
        assert "mappings changed: altered" in result.stdout
        assert "mappings removed: gone" in result.stdout
        assert "`cdc-daemon backfill altered` renews all" in result.stdout
        load.wait_total(load.total + 300)

        # A mapping that does not fit its table is refused, and so are mistakes in the file. The daemon goes on.
        misfit = {"table": f"{stage.keyspace}.gone", "alias": "x", "id": "{nothing}"}
        write(stage, mappings={**stage.mappings, "new": misfit})
        refused = reload(stage)
        assert isinstance(refused.exception, ConfigError)
        assert "mappings.new: " in refused.exception.message
        write(stage, pipeline={"no_such_key": 1}, jobs={"rate": "fast"})
        refused = reload(stage)
        assert isinstance(refused.exception, ConfigError)
        assert "2 mistakes" in refused.exception.message
        assert daemon.metric("config_last_reload_successful") == 0
        assert daemon.status()["config"]["generation"] == 2
        assert [each["by"] for each in daemon.events("config.refused")] == ["local operator"] * 2
        load.wait_total(load.total + 300)

        # Another section, by the signal.
        write(stage, pipeline={"workers": 3})
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for("the third configuration", lambda: daemon.status()["config"]["generation"] == 3)
        load.wait_total(load.total + 300)
        load.stop()
    assert load.failed == 0
    stage.execute("INSERT INTO {ks}.gone (id, v) VALUES (2, 1)")
    stage.execute("INSERT INTO {ks}.altered (id, v) VALUES (2, 2)")
    stage.settle()
    wait_for("the first copy", lambda: not daemon.status()["open_jobs"])
    stage.settle()
    stage.assert_equal(*TABLES)
    assert stage.documents("altered") == {"1": {"id": 1, "v": 1}, "2": {"id": 2, "value": 2}}
    assert set(stage.documents("gone")) == {"1"}
    assert {each["name"] for each in daemon.status()["mappings"]} == {*TABLES, "altered", "sentinel"}
    assert daemon.alive
    assert daemon.stop() == 0
